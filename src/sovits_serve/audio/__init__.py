"""Audio bytes and arrays: decoding, resampling, joining, encoding. No torch."""
