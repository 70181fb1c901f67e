"""What the frontend makes of text: segments, and the pieces in one language that they consist of.

Ranges are half open, in characters of the original text. Knows no language.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sovits_serve.frontend.base import Unit
from sovits_serve.frontend.symbols import symbol_ids
from sovits_serve.protocol.messages import PhonemizedText, TextSpan

# BERT reads 512 tokens, two of them its own; numbers can make a text longer than it was.
_MAX_SPAN = 510
_SILENT = frozenset("! ? … , . - _ SP SP2 SP3 UNK 空 停 [ ]".split())


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a segment in one language: the text as found, as normalised, and its phonemes."""

    language: str
    text: str
    normalized: str
    units: tuple[Unit, ...]

    @property
    def phonemes(self) -> tuple[str, ...]:
        """Return the phonemes of all units."""
        return tuple(phoneme for unit in self.units for phoneme in unit.phonemes)


@dataclass(frozen=True)
class Segment:
    """What is spoken in one go. ``start`` and ``end`` are its range of the original text.

    ``phonemes`` are symbols of the model's table; what the table lacks is "UNK".
    """

    text: str
    start: int
    end: int
    pieces: tuple[Piece, ...]
    symbol_version: str
    lead_pause_s: float = 0.0
    pause_s: float | None = None

    @cached_property
    def phonemes(self) -> tuple[str, ...]:
        """Return the phonemes of all pieces."""
        known = symbol_ids(self.symbol_version)
        return tuple(
            phoneme if phoneme in known else "UNK"
            for piece in self.pieces
            for phoneme in piece.phonemes
        )

    @property
    def is_spoken(self) -> bool:
        """Return whether any phoneme is more than a mark or a pause."""
        return any(phoneme not in _SILENT for phoneme in self.phonemes)

    @property
    def normalized(self) -> str:
        """Return the normalised text of all pieces."""
        return "".join(piece.normalized for piece in self.pieces)

    @property
    def origins(self) -> list[tuple[int, int]]:
        """Return the range of the original text that each phoneme comes from."""
        units = (unit for piece in self.pieces for unit in piece.units)
        return [(unit.start, unit.end) for unit in units for _ in unit.phonemes]

    def phonemized(self) -> PhonemizedText:
        """Return the segment as the engine reads it."""
        ids = symbol_ids(self.symbol_version)
        return PhonemizedText(
            tuple(ids[phoneme] for phoneme in self.phonemes),
            tuple(self._spans()),
            self.text,
            self.lead_pause_s,
            self.pause_s,
        )

    def _spans(self) -> Iterator[TextSpan]:
        """Yield the runs of Mandarin, which BERT reads: one unit per normalised character."""
        start = 0
        for piece in self.pieces:
            counts = tuple(len(unit.phonemes) for unit in piece.units)
            if piece.language != "zh":
                start += sum(counts)
                continue
            for first in range(0, len(counts), _MAX_SPAN):
                part = slice(first, first + _MAX_SPAN)
                yield TextSpan(start, piece.normalized[part], counts[part])
                start += sum(counts[part])
