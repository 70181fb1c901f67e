"""Chinese text normalisation: written text to characters that can be read aloud, with origins.

``normalize`` serves Mandarin; ``normalize_sentences`` is its first half, before punctuation is
mapped, which Cantonese shares. Knows nothing of pinyin, words or phonemes.
"""

from sovits_serve.frontend.chinese.normalization.pipeline import normalize, normalize_sentences

__all__ = ["normalize", "normalize_sentences"]
