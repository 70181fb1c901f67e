"""Pieces of text with a language that may still change, and the sections they form.

Positions are those of the text that is being segmented; pieces follow one another without gaps.
"""

from dataclasses import dataclass

from sovits_serve.frontend.languages.script import Kind

# What stands in place of a language until, or unless, one is found.
UNKNOWN = "x"
DIGIT = "digit"
MARK = "punctuation"
NEWLINE = "newline"


@dataclass(slots=True)
class Piece:
    """A range of the text, and its language as far as known."""

    language: str
    start: int
    end: int

    @property
    def size(self) -> int:
        """Return the number of characters."""
        return self.end - self.start


@dataclass(slots=True)
class Section:
    """Pieces of one kind of script."""

    kind: Kind
    pieces: list[Piece]


def join_pieces(pieces: list[Piece]) -> list[Piece]:
    """Join neighbours of one language; the given pieces grow."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].language == piece.language:
            joined[-1].end = piece.end
        else:
            joined.append(piece)
    return joined
