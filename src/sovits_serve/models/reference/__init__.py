"""What is computed from a reference recording: spectrogram, style, SSL and speaker features."""
