"""Where in a text the words of an analysis stand.

OpenJTalk rewrites what it reads: half width becomes full width, digits become numerals with their
places ("２０" becomes "二" and "十"), silent zeros vanish. Words are found again by their spelling,
in order; what is not found lies between its found neighbours.
"""

import unicodedata
from collections.abc import Sequence

_NUMERALS = frozenset(
    "〇一二三四五六七八九十百千万億兆京垓秭穣溝澗正載極恒河沙阿僧祇那由他不可思議"
)
# Further than this after the last word found, a spelling is taken for another word's.
_MAX_GAP = 24


def full_width(text: str) -> str:
    """Return a text of Japanese characters as OpenJTalk spells it, character by character."""
    return "".join(map(_full_width, text))


def word_ranges(spellings: Sequence[str], text: str) -> list[tuple[int, int]]:
    """Return the range of each word in the text: in order, and none of them empty."""
    ranges: list[tuple[int, int]] = []
    end = 0
    for spelling in spellings:
        start = _find(spelling, text, end)
        if start is None:
            ranges.append((end, end))
            continue
        _widen(ranges, end, start)
        end = start + len(spelling)
        ranges.append((start, end))
    _widen(ranges, end, len(text))
    return _without_empty(ranges, len(text))


def _find(spelling: str, text: str, start: int) -> int | None:
    if text.startswith(spelling, start):
        return start
    if all(character in _NUMERALS for character in spelling):
        return None  # a digit, or a place without one
    found = text.find(spelling, start, start + _MAX_GAP + len(spelling))
    return None if found < 0 else found


def _widen(ranges: list[tuple[int, int]], start: int, end: int) -> None:
    """Give the words that were not found, the last ones so far, the text up to the next found."""
    for i in range(len(ranges) - 1, -1, -1):
        if ranges[i] != (start, start):
            return
        ranges[i] = (start, end)


def _without_empty(ranges: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Give words without text of their own that of the word before, else of the word after."""
    result: list[tuple[int, int]] = []
    for start, end in ranges:
        if start < end:
            result.append((start, end))
        else:
            result.append(result[-1] if result else (0, min(1, size)))
    return result


def _full_width(character: str) -> str:
    if "0" <= character <= "z":
        return chr(ord(character) + 0xFEE0)
    if "｡" <= character <= "ﾝ":
        return unicodedata.normalize("NFKC", character)
    return character
