"""Rewriting parts of an aligned text: what a pattern's named groups match is read by a reader.

Patterns here take linear time on any text. A pattern that would try a long run of digits again
from each of its digits ends in ``OR_DIGITS``: where it does not match at the beginning of a run
it cannot match inside it either, so the run is skipped as a whole.
"""

import re
from collections.abc import Callable

from sovits_serve.frontend.aligned_text import AlignedText

Reader = str | Callable[[AlignedText], AlignedText]

OR_DIGITS = "|[0-9]++"
NUMBER = r"[0-9]++(?:\.[0-9]++)?+"  # without a sign


def reworded(piece: AlignedText, new: str) -> AlignedText:
    """Return other words, each character of which came from all of ``piece``."""
    return AlignedText.from_range(new, *piece.origin(0, len(piece)))


def rewrite(text: AlignedText, pattern: re.Pattern[str], **readers: Reader) -> AlignedText:
    """Replace each match's named groups by what their readers make of them.

    What lies outside of named groups stays, and so does a match without any. Named groups must
    follow each other; a reader that is a string replaces its group by that string.
    """
    # Lists instead of texts to join: a text of 100 kB can have 50,000 matches.
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in pattern.finditer(text.text):
        if match.lastgroup is None:
            continue
        for name, reader in readers.items():
            start, end = match.span(name)
            if start == -1:
                continue
            piece = text[start:end]
            read = reworded(piece, reader) if isinstance(reader, str) else reader(piece)
            characters += (text.text[done:start], read.text)
            starts += (*text.starts[done:start], *read.starts)
            ends += (*text.ends[done:start], *read.ends)
            done = end
    if not characters:
        return text
    characters.append(text.text[done:])
    starts += text.starts[done:]
    ends += text.ends[done:]
    return AlignedText("".join(characters), tuple(starts), tuple(ends))
