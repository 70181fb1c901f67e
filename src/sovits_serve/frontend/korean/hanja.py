"""Korean readings of single Han characters, for those that the dictionary of the analysis lacks.

The character set KS X 1001 lists its 4888 Han characters in the order of their readings, and the
dictionary knows a third of them: what stands between two characters of one reading has it, too.
That gives about 3300 readings. What stands between two readings stays unknown.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

from sovits_serve.frontend.korean.annotation import words
from sovits_serve.frontend.korean.hangul import is_syllable

_ROWS = range(0xCA, 0xFE)
_COLUMNS = range(0xA1, 0xFF)


@cache
def single_readings() -> dict[str, str]:
    """Return the reading of each character that one is known for, not as a word's first."""
    listed = [bytes((row, column)).decode("euc_kr") for row in _ROWS for column in _COLUMNS]
    characters = [unicodedata.normalize("NFKC", character) for character in listed]
    known = _from_dictionary(characters)
    anchors = _in_order((place, known[c]) for place, c in enumerate(characters) if c in known)
    found: dict[str, str] = {}
    for (first, said), (last, also) in pairwise(anchors):
        end = last if said == also else first + 1
        for character in characters[first:end]:  # listed twice: the first is the usual reading
            found.setdefault(character, said)
    return found


def _from_dictionary(characters: list[str]) -> dict[str, str]:
    """Return readings that the dictionary has; blanks keep it from seeing words."""
    return {
        word.text: word.reading
        for word in words(" ".join(characters))
        if len(word.text) == 1 and len(word.reading) == 1 and is_syllable(word.reading)
    }


def _in_order(places: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the longest row of places whose readings come in order: others are not the listed."""
    ends: list[str] = []
    rows: list[tuple[tuple[int, str], int]] = []  # a place, and the row that it goes on with
    last: list[int] = []
    for place, said in places:
        size = bisect_right(ends, said)
        rows.append(((place, said), last[size - 1] if size else -1))
        ends[size : size + 1] = [said]
        last[size : size + 1] = [len(rows) - 1]
    longest = []
    row = last[-1] if last else -1
    while row >= 0:
        longest.append(rows[row][0])
        row = rows[row][1]
    return longest[::-1]
