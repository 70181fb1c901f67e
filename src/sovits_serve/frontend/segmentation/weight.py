"""How long text takes to say, in syllables: the unit in which segments are measured.

An estimate made character by character, so that the weight of a text is the sum of the weights of
its parts wherever it is cut. Mandarin, English and Korean are spoken at four to six syllables a
second, Japanese at seven to eight kana.
"""

import unicodedata
from functools import lru_cache
from itertools import accumulate

# A vowel with its share of consonants comes to about one syllable, some vowels being silent or
# written double: "international" has six vowels, seven other letters and five syllables.
# The numbers are binary fractions, so that sums are exact.
_VOWEL = 0.625
_CONSONANT = 0.25
# "1234" is seven syllables in Mandarin and nine in English, but "2024" can be four.
_DIGIT = 1.5
# Read out in most languages, at least between numbers.
_SPOKEN_SYMBOLS = frozenset("#%&*/@^\\‰％＃＆＠")
# Squared words and letters in circles: Japanese "㌔" is two kana, "㈱" four.
_SQUARED = 3.0
_VOWELS = frozenset("aeiouy")
_IDEOGRAPHS = (
    (0x3005, 0x3007),
    (0x3041, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_HANGUL = ((0xAC00, 0xD7A3), (0x3131, 0x318E))
_KANA = ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))


def is_east_asian(character: str) -> bool:
    """Return whether a character is an ideograph or kana: scripts written without blanks."""
    return _within(character, _IDEOGRAPHS) or is_kana(character)


def is_kana(character: str) -> bool:
    """Return whether a character is hiragana or katakana."""
    return _within(character, _KANA)


def is_hangul(character: str) -> bool:
    """Return whether a character is a Hangul syllable or letter."""
    return _within(character, _HANGUL)


def spoken_weight(text: str) -> float:
    """Return about how many syllables a text has when it is read out."""
    return sum(map(_weight, text))


def cumulative_weights(text: str) -> list[float]:
    """Return the weight of ``text[:i]`` for every i from 0 to the length."""
    return list(accumulate(map(_weight, text), initial=0.0))


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in ranges)


@lru_cache(maxsize=1 << 14)
def _weight(character: str) -> float:
    """Return the weight of one character; marks, blanks and emoji weigh nothing."""
    if character.isalnum():
        return _letter_weight(character)
    if character in _SPOKEN_SYMBOLS or unicodedata.category(character) in {"Sc", "Sm"}:
        return 0.0 if character in "~～|" else 1.0
    return _SQUARED if 0x3200 <= ord(character) <= 0x33FF else 0.0


def _letter_weight(character: str) -> float:
    if is_east_asian(character) or is_hangul(character):
        return 1.0
    if character.isnumeric():
        return _DIGIT
    if 0x1100 <= ord(character) <= 0x11FF:  # conjoining jamo: a syllable for each first consonant
        return 1.0 if ord(character) < 0x1160 else 0.0
    if 0xFDF0 <= ord(character) <= 0xFDFF:  # an Arabic word or phrase in one character
        return _SQUARED
    base = unicodedata.normalize("NFD", character)[0].lower()
    return _VOWEL if base in _VOWELS else _CONSONANT
