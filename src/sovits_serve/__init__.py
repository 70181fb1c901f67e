"""Serve GPT-SoVITS voices to many people at once."""

__version__ = "0.1.0.dev0"
