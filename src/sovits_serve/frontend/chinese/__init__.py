"""Mandarin Chinese: normalisation, pinyin, tone sandhi, phonemes."""
