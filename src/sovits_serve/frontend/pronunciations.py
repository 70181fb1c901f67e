"""Pronunciations that somebody asked for, and the language runs that they fall into.

Those written in the text decide the language of their words; those of a dictionary only apply
where the language is theirs already. Positions are of the original text.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading
from sovits_serve.frontend.languages import LanguageRun, join_runs
from sovits_serve.frontend.markup import MarkedReading
from sovits_serve.frontend.notations import LANGUAGES


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """How a range of the original text is said: in a language and in that language's notation."""

    start: int
    end: int
    language: str
    reading: str

    @classmethod
    def of(cls, marked: MarkedReading, mode: str) -> "Pronunciation":
        """Return a marked reading with its language; tone numbers alone go by the mode."""
        language = LANGUAGES.get(marked.notation)
        if language is None:  # syllables with tones: pinyin and jyutping look alike
            language = "yue" if mode.endswith("yue") else "zh"
        return cls(marked.start, marked.end, language, marked.reading)


def overlapping(found: Sequence[Pronunciation], start: int, end: int) -> Sequence[Pronunciation]:
    """Return those of some pronunciations, in order, that touch a range."""
    first = bisect_right(found, start, key=attrgetter("end"))
    return found[first : bisect_left(found, end, key=attrgetter("start"))]


def readings_within(run: LanguageRun, found: Iterable[Pronunciation]) -> tuple[Reading, ...]:
    """Return the pronunciations that lie in a run and are of its language, for its frontend."""
    if not run.text.text:
        return ()
    start, end = run.text.origin(0, len(run.text))
    return tuple(
        Reading(one.start, one.end, one.reading)
        for one in found
        if one.language == run.language and start <= one.start and one.end <= end
    )


def carve(runs: Sequence[LanguageRun], forced: Iterable[Pronunciation]) -> list[LanguageRun]:
    """Give each forced pronunciation's range its language; neighbours of one language join."""
    result = list(runs)
    for one in forced:
        result = _carve_one(result, one)
    return result


def _carve_one(runs: list[LanguageRun], one: Pronunciation) -> list[LanguageRun]:
    touched = [run for run in runs if len(set(_inside(run.text, one))) == 2]
    if all(run.language == one.language for run in touched):
        return runs
    return join_runs(part for run in runs for part in _parts(run, one) if part.text.text)


def _parts(run: LanguageRun, one: Pronunciation) -> Iterator[LanguageRun]:
    """Yield a run before, inside and after a pronunciation's range."""
    first, last = _inside(run.text, one)
    yield LanguageRun(run.language, run.text[:first])
    yield LanguageRun(one.language, run.text[first:last])
    yield LanguageRun(run.language, run.text[last:])


def _inside(text: AlignedText, one: Pronunciation) -> tuple[int, int]:
    """Return the range of characters that come from a pronunciation's range."""
    first = sum(start < one.start for start in text.starts)
    last = sum(end <= one.end for end in text.ends)
    return min(first, last), max(first, last)
