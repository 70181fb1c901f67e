"""Checkpoint files: which version, safe reading, conversion."""
