"""The notations that readings are written in, and how to tell which one a reading is in.

Only the form is looked at; whether a reading fits its word is for the frontend of the language.
"""

import re
from collections.abc import Mapping

# Syllables with tones are pinyin or jyutping: their form alone does not tell.
TONES = "tones"
LANGUAGES: Mapping[str, str] = {
    "pinyin": "zh",
    "jyutping": "yue",
    "arpabet": "en",
    "kana": "ja",
    "hangul": "ko",
}
EXAMPLES: Mapping[str, str] = {
    "pinyin": "yin2 hang2",
    "jyutping": "ngan4 hong4",
    "arpabet": "T AH0 M EY1 T OW0",
    "kana": "トーキョー",
    "hangul": "익따",
    TONES: "yin2 hang2",
}

_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
_VOWEL = f"(?:{'|'.join(_VOWELS)})"
_ARPABET = re.compile(f"\\A(?:(?:{'|'.join(_CONSONANTS)}|{_VOWEL}[012]?)(?:[ ]++|\\Z))++\\Z")
_STRESSED = re.compile(f"(?:\\A|[ ]){_VOWEL}[012](?:[ ]|\\Z)")
_INITIAL = "(?:zh|ch|sh|ng|gw|kw|[bpmfdtnlgkhjqxrzcsyw])"
_FINAL = "(?:y?(?:[aeiouvü]|u:){1,4}(?:ng|[nmptkr])?r?|h?ng|m|n)"
_SYLLABLE = re.compile(f"(?:{_INITIAL}?{_FINAL}|hm)[1-6](?:[ ]++|\\Z)")
_KANA = re.compile(r"\A[\u3041-\u3096\u30a1-\u30fa][\u3041-\u3096\u30a1-\u30fc '’]*+\Z")
_HANGUL = re.compile(r"\A[\uac00-\ud7a3][\uac00-\ud7a3 ]*+\Z")


def notation_of(reading: str) -> str | None:
    """Return the notation that a reading is well formed in: ``TONES``, arpabet, kana or hangul."""
    if _KANA.match(reading):
        return "kana"
    if _HANGUL.match(reading):
        return "hangul"
    if _ARPABET.match(reading) and _STRESSED.search(reading):
        return "arpabet"
    return TONES if _is_syllables(reading) else None


def is_well_formed(reading: str, notation: str) -> bool:
    """Return whether a reading has the form of a notation."""
    found = notation_of(reading)
    return found == notation or (found == TONES and notation in {"pinyin", "jyutping"})


def _is_syllables(reading: str) -> bool:
    position = 0
    while match := _SYLLABLE.match(reading, position):
        position = match.end()
    return 0 < position == len(reading)
