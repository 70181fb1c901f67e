"""The notations that readings are written in, and how to tell which one a reading is in.

Only the form is looked at; whether a reading fits its word is for the frontend of the language.
"""

import re
import unicodedata
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
_SYLLABLE_JOINT = re.compile(r"(?<=[1-6])(?=[^\s1-6])")
_HAN = re.compile("[㐀-鿿]")
_LATIN = re.compile("[A-Za-z]")
_TONE_MARKS = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}
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


def canonical(word: str, reading: str) -> str:
    """Return a reading as its notation has it, if it is written nearly so; else as it is.

    For Chinese words: syllables in capitals, without blanks between, or with tone marks (yín háng);
    for words in Latin letters: ARPAbet in small letters.
    """
    plain = " ".join(reading.split())
    if notation_of(plain):
        return plain
    if _HAN.search(word):
        syllables = _SYLLABLE_JOINT.sub(" ", _with_tone_digits(plain.lower()))
        if _is_syllables(syllables):
            return syllables
    elif _LATIN.search(word) and notation_of(plain.upper()) == "arpabet":
        return plain.upper()
    return reading


def is_plain_choice(word: str, reading: str) -> bool:
    """Return whether ``[word|reading]`` looks like two words of one language, not like a reading.

    A word in kana needs no reading in kana ([はい|いいえ]); a word in hangul sounds like its reading
    ([읽다|익따], but not [예|아니오]).
    """
    if _KANA.match(word) and _KANA.match(reading):
        return True
    if not (_HANGUL.match(word) and _HANGUL.match(reading)):
        return False
    written, said = ([_vowel(s) for s in text if s != " "] for text in (word, reading))
    if len(written) != len(said):
        return True
    return 2 * sum(a == b for a, b in zip(written, said, strict=True)) < len(said)


def _vowel(syllable: str) -> int:
    """Return the number of a hangul syllable's vowel, as Unicode orders them."""
    return (ord(syllable) - 0xAC00) // 28 % 21


def _with_tone_digits(text: str) -> str:
    """Write tone marks as digits after their syllables; without any mark the text is unchanged."""
    marked = unicodedata.normalize("NFD", text)
    if not any(mark in marked for mark in _TONE_MARKS):
        return text
    return " ".join(_digits_of(syllable) for syllable in marked.split())


def _digits_of(syllable: str) -> str:
    tone = next((digit for mark, digit in _TONE_MARKS.items() if mark in syllable), "5")
    letters = "".join(character for character in syllable if character not in _TONE_MARKS)
    return unicodedata.normalize("NFC", letters) + tone


def is_well_formed(reading: str, notation: str) -> bool:
    """Return whether a reading has the form of a notation."""
    found = notation_of(reading)
    return found == notation or (found == TONES and notation in {"pinyin", "jyutping"})


def _is_syllables(reading: str) -> bool:
    position = 0
    while match := _SYLLABLE.match(reading, position):
        position = match.end()
    return 0 < position == len(reading)
