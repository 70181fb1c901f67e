"""Cut text where the kind of script changes, as a first step to languages. Knows no language.

Source: split-lang 2.1.1, split/splitter.py, LangSplitter.pre_split and split/utils.py.
"""

import re
import string
from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache

# Only the main block counts as Han; its extensions and kana of half width are OTHER.
_HAN_OR_KANA = re.compile("[一-鿿\u3040-ヿ々]")
_KANA = re.compile("[\u3040-ヿ々]")
_HANGUL = re.compile("[가-\ud7af]")
_MARKS = frozenset(string.punctuation) - {"/"} | frozenset(
    "〜，。！？；：、·（【《〈「『“‘）】》〉」』”’—…￥"
)


class Kind(Enum):
    """What the characters of a section are."""

    HAN_OR_KANA = auto()
    HANGUL = auto()
    DIGIT = auto()
    MARK = auto()
    NEWLINE = auto()
    OTHER = auto()


def has_kana(text: str, start: int = 0, end: int | None = None) -> bool:
    """Return whether a range of the text holds kana, or the mark that repeats a character."""
    return _KANA.search(text, start, len(text) if end is None else end) is not None


def split_scripts(text: str) -> Iterator[tuple[Kind, int, int]]:
    """Yield kind, start and end of every section of a text that begins with no blank.

    Blanks, and apostrophes within a word, stay with what precedes them. Every mark and every
    newline is a section of its own.
    """
    current, begin = Kind.OTHER, 0
    for position, character in enumerate(text):
        kind = _kind(character)
        if kind is None or (character == "'" and position and not text[position - 1].isspace()):
            continue
        if kind is current and kind not in (Kind.MARK, Kind.NEWLINE):
            continue
        if begin < position:
            yield current, begin, position
        current, begin = kind, position
    yield current, begin, len(text)


@lru_cache(maxsize=8192)
def _kind(character: str) -> Kind | None:
    """Return the kind of a character, None for a blank."""
    if _HAN_OR_KANA.match(character):
        return Kind.HAN_OR_KANA
    if _HANGUL.match(character):
        return Kind.HANGUL
    if character.isdigit():
        return Kind.DIGIT
    if character in _MARKS:
        return Kind.MARK
    if character in "\r\n":
        return Kind.NEWLINE
    return None if character.isspace() else Kind.OTHER
