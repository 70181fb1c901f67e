"""Kana: which morae there are, which phonemes each has, and how a reading is written.

A mora is one or two katakana ("シャ"). Its phonemes are a consonant, if any, and a vowel; "ン" is
"N" and "ッ" is "cl". Everything here follows from the rows of the kana table.

Source: the mora list of OpenJTalk 1.11 (jpcommon), as GPT-SoVITS 48b1a01 reads its labels.
Differs: a table made from rules; "ヵ" is one more.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from sovits_serve.errors import InvalidRequest

LONG_VOWEL = "ー"
# Written after the last high mora of a reading: the pitch falls behind it.
ACCENT = "'"
_MAX_READING = 100  # kana
_ROWS = {  # the five kana of a row: the consonant of all, or of each
    "アイウエオ": "",
    "ァィゥェォ": "",
    "カキクケコ": "k",
    "ガギグゲゴ": "g",
    "サシスセソ": "s sh s s s",
    "ザジズゼゾ": "z j z z z",
    "タチツテト": "t ch ts t t",
    "ダヂヅデド": "d j z d d",
    "ナニヌネノ": "n",
    "ハヒフヘホ": "h h f h h",
    "バビブベボ": "b",
    "パピプペポ": "p",
    "マミムメモ": "m",
    "ラリルレロ": "r",
}
_ALONE = "ヤya ユyu ヨyo ャya ュyu ョyo ワwa ヮwa ヰi ヱe ヲo ヴvu ヵka ヶke"
_SMALL = {"ァ": "a", "ィ": "i", "ゥ": "u", "ェ": "e", "ォ": "o"}
_SMALL |= {"ャ": "a", "ュ": "u", "ョ": "o", "ヮ": "a"}
_PALATAL = {"sh", "j", "ch"}  # these are palatal as they are; others get a "y"
_PAIRS = {  # a kana and its consonant: the small kana that it has it before
    "ヴv": "ァィェォ",
    "フf": "ァィェォ",
    "ツts": "ァィェォ",
    "ウw": "ィェォ",
    "イy": "ェ",
    "クkw": "ヮ",
    "グgw": "ヮ",
    "スs": "ィ",
    "ズz": "ィ",
    "テt": "ィ",
    "デd": "ィ",
    "トt": "ゥ",
    "ドd": "ゥ",
    "テty": "ャュョ",
    "デdy": "ャュョ",
    "ヴby": "ャュョ",
}
_HIRAGANA = re.compile("[ぁ-ゖ]")
_READING = re.compile("[ぁ-ゖァ-ヶー']+")


@dataclass(frozen=True, slots=True)
class KanaReading:
    """A reading in katakana, and the mora after which the pitch falls (None: not said)."""

    kana: str
    accent: int | None = None

    @classmethod
    def parse(cls, reading: str) -> "KanaReading":
        """Read the notation: hiragana or katakana as it sounds, "'" after the accented mora.

        Raises:
            InvalidRequest: names the reading and what is wrong with it.
        """
        kana = katakana(reading)
        wrong = next((c for c in kana if not _READING.fullmatch(c)), None)
        if wrong is not None:
            raise InvalidRequest(
                f"reading: {reading!r} holds {wrong!r}; allowed are hiragana, katakana, the long "
                f"mark {LONG_VOWEL!r} and one {ACCENT!r} after the accented mora"
            )
        if len(kana) > _MAX_READING:
            raise InvalidRequest(f"reading: {len(kana)} characters; the limit is {_MAX_READING}")
        before, accent, after = kana.partition(ACCENT)
        if kana[:1] in {"", LONG_VOWEL, ACCENT} or ACCENT in after:
            raise InvalidRequest(
                f"reading: {reading!r} must begin with a kana that sounds, and may hold one "
                f"{ACCENT!r}, as in ト'ーキョー"
            )
        if accent and len(morae(before)) + len(morae(after)) != len(morae(before + after)):
            raise InvalidRequest(f"reading: {reading!r}: {ACCENT!r} stands inside a mora")
        return cls(before + after, len(morae(before)) if accent else None)


def katakana(text: str) -> str:
    """Turn hiragana into katakana; everything else stays."""
    return _HIRAGANA.sub(lambda match: chr(ord(match.group()) + 0x60), text)


@cache
def _phonemes_of_morae() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {"ン": ("N",), "ッ": ("cl",)}
    table |= {entry[0]: tuple(entry[1:]) for entry in _ALONE.split()}
    for row, names in _ROWS.items():
        consonants = names.split() if " " in names else [names] * 5
        for kana, consonant, vowel in zip(row, consonants, "aiueo", strict=True):
            table[kana] = (consonant, vowel) if consonant else (vowel,)
    for kana in "キギシジチニヒビピミリ":
        consonant = table[kana][0]
        palatal = consonant if consonant in _PALATAL else f"{consonant}y"
        table |= {kana + small: (palatal, _SMALL[small]) for small in "ャュョェ"}
    for entry, smalls in _PAIRS.items():
        table |= {entry[0] + small: (entry[1:], _SMALL[small]) for small in smalls}
    return table


@cache
def _mora_pattern() -> re.Pattern[str]:
    table = _phonemes_of_morae()
    pairs = "|".join(sorted(mora for mora in table if len(mora) > 1))
    # "’" says that the vowel before it is unvoiced, which upstream does not keep.
    return re.compile(f"({pairs}|[{''.join(mora for mora in table if len(mora) == 1)}ー])’*")


@lru_cache(maxsize=8192)
def morae(pronunciation: str) -> tuple[str, ...]:
    """Split a pronunciation into morae, up to the first character that is none."""
    found: list[str] = []
    pattern, position = _mora_pattern(), 0
    while match := pattern.match(pronunciation, position):
        found.append(match.group(1))
        position = match.end()
    return tuple(found)


def mora_phonemes(mora: str) -> tuple[str, ...]:
    """Return the phonemes of a mora other than the long vowel, whose phoneme is the one before."""
    return _phonemes_of_morae()[mora]
