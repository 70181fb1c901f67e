"""Semantic tokens to a waveform: text encoder, flow and generator."""
