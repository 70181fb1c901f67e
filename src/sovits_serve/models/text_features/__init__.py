"""Features of normalised text that the T2S model reads beside the phonemes."""
