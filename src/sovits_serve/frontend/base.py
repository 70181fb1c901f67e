"""What every language's frontend takes and gives. Knows no language and no symbol table.

A frontend turns text of its language into phonemes, unit by unit, and says for each unit which
range of the original text it came from. Ranges are half open, in characters of the original.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sovits_serve.frontend.aligned_text import AlignedText


@dataclass(frozen=True, slots=True)
class Reading:
    """How somebody wants a range of the original text to be read.

    ``reading`` is in the notation of the language: pinyin with tone digits ("yin2 hang2"),
    jyutping ("ngan4 hong4"), ARPAbet with stress ("T AH0 M EY1 T OW0"), kana, or hangul as it
    sounds.
    """

    start: int
    end: int
    reading: str


@dataclass(frozen=True, slots=True)
class Unit:
    """The phonemes of a stretch of normalised text, and the range of the original it came from.

    In Chinese and Cantonese a unit is one character of the normalised text, elsewhere a word, a
    mark, or what the language's analysis gives as one.
    """

    text: str
    phonemes: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Phonemization:
    """What a frontend made of one piece of text."""

    normalized: str
    units: tuple[Unit, ...]

    @property
    def phonemes(self) -> tuple[str, ...]:
        """Return all phonemes, in order."""
        return tuple(phoneme for unit in self.units for phoneme in unit.phonemes)


class Frontend(Protocol):
    """One language. Constructors load nothing; the first use (or ``warm_up``) does, once.

    All methods may be called from several threads.
    """

    def warm_up(self) -> None:
        """Load whatever the first ``phonemize`` would load."""

    def check_reading(self, text: str, reading: str) -> None:
        """Check that ``reading`` is a possible reading of ``text`` in this language's notation.

        Raises:
            InvalidRequest: names the reading and what is wrong with it.
        """

    def phonemize(self, text: AlignedText, readings: Sequence[Reading] = ()) -> Phonemization:
        """Turn text into phonemes; never raises for any text, and may return no units.

        ``readings`` (checked, not overlapping, in order) win over the frontend's own.
        """
