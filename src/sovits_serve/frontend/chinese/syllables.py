"""Pinyin syllables and the two phonemes each is made of.

A reading is a syllable with its tone as a last digit, 1 to 5 (5 is neutral), ü written "v":
"lv3", "de5". Knows no characters and no words.

Source: GPT-SoVITS 48b1a01, text/opencpop-strict.txt. Differs: generated from the table of
initials and finals.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

_FINALS = {
    "a": "b p m f d t n l g k h zh ch sh z c s",
    "o": "b p m f l",
    "e": "m d t n l g k h zh ch sh r z c s",
    "ai": "b p m d t n l g k h zh ch sh z c s",
    "ei": "b p m f d t n l g k h zh sh z c",
    "ao": "b p m d t n l g k h zh ch sh r z c s",
    "ou": "p m f d t n l g k h zh ch sh r z c s",
    "an": "b p m f d t n l g k h zh ch sh r z c s",
    "en": "b p m f d n g k h zh ch sh r z c s",
    "ang": "b p m f d t n l g k h zh ch sh r z c s",
    "eng": "b p m f d t n l g k h zh ch sh r z c s",
    "ong": "d t n l g k h zh ch r z c s",
    "i": "b p m d t n l j q x zh ch sh r z c s",
    "ia": "d l j q x",
    "ie": "b p m d t n l j q x",
    "iao": "b p m d t n l j q x",
    "iu": "m d n l j q x",
    "ian": "b p m d t n l j q x",
    "in": "b p m n l j q x",
    "iang": "n l j q x",
    "ing": "b p m d t n l j q x",
    "iong": "j q x",
    "u": "b p m f d t n l g k h zh ch sh r z c s",
    "ua": "g k h zh ch sh r",
    "uo": "d t n l g k h zh ch sh r z c s",
    "uai": "g k h zh ch sh",
    "ui": "d t g k h zh ch sh r z c s",
    "uan": "d t n l g k h zh ch sh r z c s",
    "un": "d t n l g k h zh ch sh r z c s",
    "uang": "g k h zh ch sh",
    "v": "n l j q x",
    "ve": "n l j q x",
    "van": "j q x",
    "vn": "j q x",
}
_BARE = {"a": "a ai an ang ao", "e": "e ei en eng er", "o": "o ou"}
_AFTER_W = "a ai an ang ei en eng o u"
_AFTER_Y = "a an ang ao e i in ing o ong ou v ve van vn"
_Y_PHONEMES = {"an": "En", "e": "E"}
_I_PHONEMES = {"zh": "ir", "ch": "ir", "sh": "ir", "r": "ir", "z": "i0", "c": "i0", "s": "i0"}
_TONE_MARKS = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}
_UNSPOKEN = {
    "m": "mu",
    "n": "en",
    "ng": "en",
    "hm": "heng",
    "hng": "heng",
    "ê": "ei",
    "fiao": "biao",
}
_TRAINED_AS = {"yo": "o"}  # the checkpoints never saw the phonemes that the table has for it
_READING = re.compile(r"[a-z]{1,6}[1-5]")


def _spellings(initial: str, final: str) -> Iterator[str]:
    """Yield how pinyin writes a syllable: ü loses its dots after j, q, x and y, but may keep them."""
    yield initial + final
    if final.startswith("v") and initial in {"j", "q", "x", "y"}:
        yield initial + "u" + final[1:]


def _syllables() -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Yield initial and final as written, and the two phonemes."""
    for final, initials in _FINALS.items():
        for initial in initials.split():
            spoken = _I_PHONEMES.get(initial, final) if final == "i" else final
            yield initial, final, (initial, spoken)
    for vowel, finals in _BARE.items():
        for final in finals.split():
            yield "", final, (vowel.upper() * 2, final)
    for final in _AFTER_W.split():
        yield "w", final, ("w", final)
    for final in _AFTER_Y.split():
        yield "y", final, ("y", _Y_PHONEMES.get(final, final))


@cache
def syllable_table() -> Mapping[str, tuple[str, str]]:
    """Return toneless syllable -> its two phonemes (the second takes the tone)."""
    return MappingProxyType(
        {
            spelling: phonemes
            for initial, final, phonemes in _syllables()
            for spelling in _spellings(initial, final)
        }
    )


def is_reading(text: str) -> bool:
    """Tell whether text is a syllable of the table with a tone digit."""
    return bool(_READING.fullmatch(text)) and text[:-1] in syllable_table()


def phonemes_of(reading: str) -> tuple[str, ...]:
    """Return the two phonemes of a reading; what is no reading (a mark) is its own phoneme."""
    if not is_reading(reading):
        return (reading,)
    syllable = _TRAINED_AS.get(reading[:-1], reading[:-1])
    initial, final = syllable_table()[syllable]
    return initial, final + reading[-1]


def reading_of_marked(syllable: str) -> str:
    """Turn pinyin with a tone mark, as dictionaries write it, into a reading: "lǜ" is "lv4".

    What the table lacks (interjections: "ń", "hm") becomes the nearest syllable that it has.
    """
    tone, letters = "5", ""
    for character in unicodedata.normalize("NFD", syllable):
        if character in _TONE_MARKS:
            tone = _TONE_MARKS[character]
        else:
            letters += character
    letters = unicodedata.normalize("NFC", letters).replace("ü", "v")
    return _UNSPOKEN.get(letters, letters) + tone
