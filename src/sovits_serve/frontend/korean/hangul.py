"""Hangul syllables, taken apart into letters and put together, and the phonemes of letters.

Letters are compatibility jamo ("ㄱ", "ㅏ"), the same for onsets and codas; no coda is "".
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from sovits_serve.frontend.aligned_text import AlignedText

ONSETS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
CODAS: tuple[str, ...] = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
TENSE = dict(zip("ㄱㄷㅂㅅㅈ", "ㄲㄸㅃㅆㅉ", strict=True))

_FIRST = ord("가")
_ONSET_JAMO = "".join(map(chr, range(0x1100, 0x1113)))
_VOWEL_JAMO = "".join(map(chr, range(0x1161, 0x1176)))
_CODA_JAMO = "".join(map(chr, range(0x11A8, 0x11C3)))
_CONJOINING = re.compile(
    f"[{_ONSET_JAMO}][{_VOWEL_JAMO}][{_CODA_JAMO}]?|[{_ONSET_JAMO}{_VOWEL_JAMO}{_CODA_JAMO}]"
)
# The models' alphabet has eight vowels: a glide is said as the vowel it starts from.
_TWO_VOWELS = dict(
    zip(
        "ㅘㅙㅚㅝㅞㅟㅢㅑㅒㅕㅖㅛㅠ",
        "ㅗㅏ ㅗㅐ ㅗㅣ ㅜㅓ ㅜㅔ ㅜㅣ ㅡㅣ ㅣㅏ ㅣㅐ ㅣㅓ ㅣㅔ ㅣㅗ ㅣㅜ".split(),
        strict=True,
    )
)


@dataclass(frozen=True, slots=True)
class Syllable:
    """One syllable: onset, vowel and coda."""

    onset: str
    vowel: str
    coda: str

    def __str__(self) -> str:
        place = ONSETS.index(self.onset) * len(VOWELS) + VOWELS.index(self.vowel)
        return chr(_FIRST + place * len(CODAS) + CODAS.index(self.coda))


def is_syllable(character: str) -> bool:
    """Return whether a character is a composed Hangul syllable."""
    return "가" <= character <= "힣"


@cache
def parse(character: str) -> Syllable:
    """Take a composed syllable apart."""
    place, coda = divmod(ord(character) - _FIRST, len(CODAS))
    onset, vowel = divmod(place, len(VOWELS))
    return Syllable(ONSETS[onset], VOWELS[vowel], CODAS[coda])


def spell(text: str) -> str:
    """Spell letters with the eight vowels of the models' alphabet."""
    return "".join(_TWO_VOWELS.get(letter, letter) for letter in text)


def compose(text: AlignedText) -> AlignedText:
    """Put syllables together that are written in conjoining jamo; lone ones become letters."""
    return text.sub(_CONJOINING, _composed)


def _composed(match: re.Match[str]) -> str:
    jamo = match.group()
    if len(jamo) > 1:
        return unicodedata.normalize("NFC", jamo)
    if jamo in _VOWEL_JAMO:
        return str(Syllable("ㅇ", VOWELS[ord(jamo) - ord(_VOWEL_JAMO[0])], ""))
    if jamo in _CODA_JAMO:
        return CODAS[1 + ord(jamo) - ord(_CODA_JAMO[0])]
    return ONSETS[ord(jamo) - ord(_ONSET_JAMO[0])]
