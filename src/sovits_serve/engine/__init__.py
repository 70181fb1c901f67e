"""One engine per device: scheduling, batching, sampling and audio decoding."""
