"""Abbreviations and Roman numerals written out. Steps of ``repairs.py``."""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.english import numbers

# Before a name; the full stop is no end of a sentence.
_TITLES = {
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Ms",
    "Dr": "Doctor",
    "Prof": "Professor",
    "St": "Saint",
    "Mt": "Mount",
    "Gen": "General",
    "Capt": "Captain",
    "Sgt": "Sergeant",
    "Lt": "Lieutenant",
    "Col": "Colonel",
    "Rev": "Reverend",
    "Sen": "Senator",
    "Gov": "Governor",
    "Pres": "President",
}
_TITLE = re.compile(rf"\b({'|'.join(_TITLES)})\.?(?=\s+[A-Z])")
_WITHOUT_STOP = frozenset({"Mr", "Mrs", "Ms", "Dr", "Prof"})
_WORDS = {
    "vs": "versus",
    "etc": "et cetera",
    "approx": "approximately",
    "Dept": "department",
    "Inc": "incorporated",
    "Corp": "corporation",
    "Ltd": "limited",
    "Co": "company",
    "Jr": "junior",
    "Sr": "senior",
    "Ave": "avenue",
    "Blvd": "boulevard",
    "Rd": "road",
    "St": "street",
}
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\.(\s*$|\s+[A-Z])?")
_NEVER_LAST = frozenset({"vs", "approx"})
_NUMBER = re.compile(r"\b(?:[Nn]o|[Nn]r)\.(?=\s?\d)")
_NUMBERED = (
    "chapter part volume act scene book section war phase type stage appendix figure table article "
    "title round level class grade episode season bowl mark world"
)
_ROMAN = re.compile(
    rf"\b({'|'.join(f'[{word[0].upper()}{word[0]}]{word[1:]}' for word in _NUMBERED.split())}) "
    r"(?=[IVXLC])(X{0,3}|XL|LX{0,3}|XC|C)(IX|IV|V?I{0,3})\b"
)
_REIGNING = (
    "Alexander Benedict Catherine Charles Christian Edward Elizabeth Ferdinand Francis Frederick George "
    "Gregory Gustav Henry Innocent Ivan James Leo Louis Mary Napoleon Nicholas Paul Peter Philip Pius "
    "Ptolemy Ramesses Ramses Richard Urban Wilhelm William"
)
_REGNAL = re.compile(
    rf"\b({'|'.join(_REIGNING.split())}) (?=[IVX]{{2}}|V\b)(X{{0,2}}(?:IX|IV|V?I{{0,3}}))\b"
)
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def expand_abbreviations(text: AlignedText) -> AlignedText:
    """Write out titles and common abbreviations."""
    text = text.sub(_TITLE, _title).sub(_WORD, _word)
    return text.sub(_NUMBER, "number")


def read_roman_numerals(text: AlignedText) -> AlignedText:
    """Read Roman numerals behind words that numbers follow: "Chapter IV", "World War II"."""
    text = text.sub(
        _REGNAL, lambda match: f"{match[1]} the {numbers.ordinal(str(_value(match[2])))}"
    )
    return text.sub(_ROMAN, lambda match: f"{match[1]} {_value(match[2] + match[3])}")


def _title(match: re.Match[str]) -> str:
    has_stop = match[0].endswith(".")
    return _TITLES[match[1]] if has_stop or match[1] in _WITHOUT_STOP else match[0]


def _word(match: re.Match[str]) -> str:
    ends_sentence = match[2] is not None and match[1] not in _NEVER_LAST
    return f"{_WORDS[match[1]]}{'.' if ends_sentence else ''}{match[2] or ''}"


def _value(numeral: str) -> int:
    values = [_VALUES[letter] for letter in numeral]
    return sum(
        -value if value < max(values[index:]) else value for index, value in enumerate(values)
    )
