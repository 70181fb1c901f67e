"""A stretch of text in one language: what segmentation gives and every later step takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from sovits_serve.frontend.aligned_text import AlignedText


@dataclass(frozen=True, slots=True)
class LanguageRun:
    """Text, and the language whose frontend reads it."""

    language: str
    text: AlignedText


def join_runs(runs: Iterable[LanguageRun]) -> list[LanguageRun]:
    """Join neighbours of one language."""
    return [
        LanguageRun(language, AlignedText.concat(run.text for run in group))
        for language, group in groupby(
            (run for run in runs if run.text.text), attrgetter("language")
        )
    ]
