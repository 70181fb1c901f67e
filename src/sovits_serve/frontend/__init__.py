"""Text to phonemes. CPU only, no torch."""
