"""Phonemes and prompt to semantic tokens (the autoregressive stage)."""
