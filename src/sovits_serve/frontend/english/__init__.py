"""English text to phonemes: normalisation, dictionary, homographs, words that no dictionary has."""
