"""Letters and signs outside plain ASCII text: what each is written as. Step of ``repairs.py``."""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from sovits_serve.frontend.aligned_text import AlignedText

_LETTERS = {
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "đ": "d",
    "ð": "d",
    "þ": "th",
    "ł": "l",
    "ħ": "h",
    "ı": "i",
    "ŋ": "ng",
    "ŧ": "t",
    "’": "'",
    "‘": "'",
    "ʼ": "'",
    "′": "'",
    "…": "...",
    "²": " squared ",
    "³": " cubed ",
    "№": " number ",
    "℃": "°C",
    "℉": "°F",
}
_GREEK_NAME = re.compile(r"GREEK (?:SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)$")
# What may stand for operands of arithmetic on both sides of a lonely hyphen.
_OPERAND_BEFORE = re.compile(r"(?:\d|(?<![A-Za-z'])[A-Za-z])$")
_OPERAND_AFTER = re.compile(r"(?:\d|[A-Za-z](?![A-Za-z']))")
_SHARP = re.compile(r"(?<=\b[A-GJ])#")
_PLUS_PLUS = re.compile(r"(?<=[A-Za-z])\+\+")
_COMPARISONS = {
    "<": "is less than",
    ">": "is greater than",
    "<=": "is at most",
    "≤": "is at most",
    ">=": "is at least",
    "≥": "is at least",
    "!=": "is not equal to",
    "≠": "is not equal to",
    "≈": "is about",
}


def _comparison(match: re.Match[str]) -> str:
    return f" {_COMPARISONS[match[0].strip()]} "


_WORDS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"&amp;|&"), " and "),
    (re.compile(r"@"), " at "),
    (_SHARP, " sharp "),
    (re.compile(r"#(?=\d)"), " number "),
    (_PLUS_PLUS, " plus plus "),
    (re.compile(r"(?<=[A-Za-z0-9])\+(?=[\s.,!?]|$)"), " plus "),
    (re.compile(r"\+(?=[A-Za-z0-9])"), " plus "),
    (re.compile(r"(?<!\s)\s*+(?:[<>!]=|[≤≥≠≈])\s*+(?=[A-Za-z0-9.√∞-])"), _comparison),
    (re.compile(r"(?<![^\s])<3+(?![\w.])"), " "),  # a heart
    (re.compile(r"(?<=[A-Za-z0-9)]) [<>] (?=[A-Za-z0-9(-])"), _comparison),
    (re.compile(r"(?<=[A-Za-z0-9)]) {0,3}=(?=[A-Za-z0-9(√∞-])"), " equals "),
    (re.compile(r"√"), " square root of "),
    (re.compile(r"∞"), " infinity "),
    (re.compile(r"(?<=\d)\s?÷\s?(?=\d)"), " divided by "),
    (re.compile(r"(?<=\d)¢"), " cents"),
    (re.compile(r"(?<=[A-Za-z0-9])\^(?=[A-Za-z0-9])"), " to the power of "),
    (re.compile(r"(?<=\d)\s?[x×](?=\s?\d)"), " by "),
    (re.compile(r"°(?![CF]\b)"), " degrees "),
    (re.compile(r"§"), " section "),
    (re.compile(r"~(?=\d)"), " about "),
    (re.compile(r"(?:^|(?<!\s)\s++)-(?=[0-9])"), " negative "),
    (re.compile(r"(?<=\d)[–—](?=\d)"), " to "),
    (re.compile(r"(?<=\d):(?=\d)"), " to "),
)
# What parts words without being read, a slash outside fractions, and every sign not known below.
_APART = re.compile(
    r"[\s\\|_<>(){}\[\]*~^`]+|(?<!\d)/|/(?!\d)"
    r"|[^\sA-Za-z0-9'.,?!\-$£%°/+×÷=:;：；，、。！？\"“”«»„\u00c0-\u024f\u0300-\u036f\u1e00-\u1eff–—⁰-ⁿˣʸ]+"
)
_DASH = re.compile(r"(?<![\s\-–—])\s*+[-–—]++\s*+")
_CLAUSE = re.compile(r"(?<!\s)\s*+(?:[;：；，、]|:(?=\D|$)|(?<=[A-Za-z]):)")
_BLANK_BEFORE_MARK = re.compile(r"(?<=\w) +(?=[,.!?])")
_DOTS = re.compile(r"\.{2,}")


def plain_letters(text: AlignedText) -> AlignedText:
    """Write letters of other alphabets of Europe, and wide ones, with plain ones."""
    return text if text.text.isascii() else text.map_characters(_plain_letter)


def read_signs(text: AlignedText) -> AlignedText:
    """Write signs that are read aloud as words; those that only part words become blanks."""
    for pattern, word in _WORDS:
        text = text.sub(pattern, word)
    return text.sub(_APART, " ")


def pause_at_marks(text: AlignedText) -> AlignedText:
    """Make commas of the marks and dashes that upstream drops or takes for a minus."""
    return text.sub(_CLAUSE, ",").sub(_DASH, _dash).sub(_DOTS, ".").sub(_BLANK_BEFORE_MARK, "")


@lru_cache(maxsize=4096)
def _plain_letter(character: str) -> str:
    if character.isascii():
        return character
    lower = character.lower()
    if lower in _LETTERS:
        plain = _LETTERS[lower]
        return plain.capitalize() if lower != character and len(lower) == 1 else plain
    name = _GREEK_NAME.match(unicodedata.name(character, ""))
    if name:
        return f" {name[1].lower()} "
    compatible = unicodedata.normalize("NFKC", character)
    is_fraction = "⁄" in compatible
    return f" {compatible.replace('⁄', '/')} " if is_fraction else _wide(character, compatible)


def _wide(character: str, compatible: str) -> str:
    return compatible if compatible.isascii() and len(compatible) == 1 else character


def _dash(match: re.Match[str]) -> str:
    dash = match[0]
    if dash == "-":  # within a word, or before one: "well-known", "-tion"
        return dash
    text, is_spaced = match.string, dash[-1].isspace() and dash[0].isspace()
    if is_spaced and "-" in dash:
        before = _OPERAND_BEFORE.search(text, max(0, match.start() - 2), match.start())
        if before and _OPERAND_AFTER.match(text, match.end()):
            return " - "
    if dash.strip() == "-" and not is_spaced:
        return dash
    return ", "
