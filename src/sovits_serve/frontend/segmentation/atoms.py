"""What must not be cut: words, numbers, addresses, initials with names, quotes, brackets.

A border is a place between two characters: border ``i`` is before character ``i``.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from sovits_serve.frontend.segmentation.marks import AMBIGUOUS, CLOSERS, NEWLINES, OPENERS, PAIRS
from sovits_serve.frontend.segmentation.weight import is_east_asian

Span = tuple[int, int]

# A letter or digit of a script that writes blanks between words, with its accents.
_LETTER = (
    r"(?:[^\W_\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0003ffff][\u0300-\u036f]*+)"
)
# "3.14", "1,234.56", "12:30", "10~20", "192.168.0.1", "v2.0", "don't", "read_me.txt", "a/b", "AT&T",
# but not "the end.Next": a blank was left out there.
_WORD = (
    rf"{_LETTER}++(?:(?!(?<=[a-z]{{2}})\.[A-Z][a-z])"
    rf"(?:[._/\-'’&+]|(?<=\d)[,:~～–—：．](?=\d)){_LETTER}++)*+"
)
_ADDRESS_REST = r"[!#-;=?-~]*+"
_ATOM = re.compile(
    rf"(?:https?|ftp|file)://{_ADDRESS_REST}"
    r"|(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]++@[A-Za-z0-9\-]++(?:\.[A-Za-z0-9\-]++)++"
    r"|(?<![A-Za-z0-9.\-])[A-Za-z0-9\-]++(?:\.[A-Za-z0-9\-]++)++(?::\d{1,5})?/"
    + _ADDRESS_REST
    + rf"|{_WORD}"
)
_AFTER_ADDRESS = ".,!?;:'\")]}"
_PAIR_MARK = re.compile(f"[{re.escape(''.join(sorted(OPENERS | CLOSERS)) + NEWLINES)}]")
_JOINER = "\u200d"


def atoms(text: str) -> Iterator[Span]:
    """Yield words, numbers, file names and addresses."""
    for match in _ATOM.finditer(text):
        size = len(match[0].rstrip(_AFTER_ADDRESS))
        yield match.start(), match.start() + size


def pairs(text: str, is_border: Sequence[bool] | bytearray) -> list[Span]:
    """Return quotes and brackets with what they enclose, each within one paragraph.

    ``is_border[i]`` says whether a newline at ``i`` ends a paragraph.
    """
    found: list[Span] = []
    opened: list[Span] = []  # place of the opening mark, code of the closing one
    waiting: Counter[int] = Counter()
    for match in _PAIR_MARK.finditer(text):
        i, mark = match.start(), match[0]
        if mark in NEWLINES:
            if is_border[i]:
                opened.clear()
                waiting.clear()
        elif waiting[ord(mark)] and _may_close(text, i):
            found.append((_close(opened, waiting, ord(mark)), i + 1))
        elif mark in PAIRS and _may_open(text, i):
            opened.append((i, ord(PAIRS[mark])))
            waiting[ord(PAIRS[mark])] += 1
    return found


def blocked_borders(size: int, spans: Iterable[Span]) -> bytearray:
    """Return for each border whether it lies inside one of the spans."""
    changes = [0] * (size + 2)
    for start, end in spans:
        if start + 1 < end:
            changes[start + 1] += 1
            changes[end] -= 1
    return bytearray(map(bool, accumulate(changes[: size + 1])))


def splits_character(text: str, i: int) -> bool:
    """Return whether a cut before ``i`` would part what is seen as one character."""
    before, after = text[i - 1], text[i]
    if before.isascii() and after.isascii():
        return before == "\r" and after == "\n"
    code = ord(after)
    return (
        _JOINER in {before, after}
        or unicodedata.category(after) in {"Mn", "Mc", "Me"}
        or after in "ﾞﾟ"
        or 0x1160 <= code <= 0x11FF  # conjoining vowels and final consonants
        or 0x1F3FB <= code <= 0x1F3FF  # skin tones
        or 0xE0020 <= code <= 0xE007F  # tags of subdivision flags
        or (0x1F1E6 <= ord(before) <= 0x1F1FF and 0x1F1E6 <= code <= 0x1F1FF)  # flags
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
    )


def _close(opened: list[Span], waiting: Counter[int], closer: int) -> int:
    """Take the pair that a mark closes, and unclosed ones within it, from the stack."""
    while True:
        start, expected = opened.pop()
        waiting[expected] -= 1
        if expected == closer:
            return start


def _may_close(text: str, i: int) -> bool:
    """Tell a closing quote from an apostrophe."""
    if text[i] not in "'’":
        return True
    following = text[i + 1 : i + 2]
    return not following.isalnum() or is_east_asian(following)


def _may_open(text: str, i: int) -> bool:
    """Tell an opening quote from an apostrophe, a sign for inches, or a stray closing one."""
    if text[i] not in AMBIGUOUS:
        return True
    before, following = text[i - 1 : i] if i else "", text[i + 1 : i + 2]
    if not following or following.isspace():
        return False
    if text[i] == "'":
        return not before.isalnum() or is_east_asian(before)
    return not before.isdigit()
