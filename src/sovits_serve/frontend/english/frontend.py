"""The frontend for English: text to words and marks, and these to ARPAbet with stress.

Nothing loads until the first text; the word counts and the network not until an unknown word.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from heapq import merge

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Phonemization, Reading, Unit
from sovits_serve.frontend.english.capitals import lower_capitals
from sovits_serve.frontend.english.homographs import Homographs
from sovits_serve.frontend.english.normalization import normalize
from sovits_serve.frontend.english.readings import parse_reading
from sovits_serve.frontend.english.repairs import repair
from sovits_serve.frontend.english.tagger import RuleTagger, Tagger
from sovits_serve.frontend.english.tokens import token_spans
from sovits_serve.frontend.english.words import WordReader

# Fewer phonemes than this get a comma before them.
_MIN_PHONEMES = 4
# A lonely apostrophe is a short break.
_APOSTROPHE, _BREAK = "'", "-"
_ARTICLE_OR_LETTER = {"A": ("EY1",), "a": ("AH0",)}


class EnglishFrontend:
    """Reads English.

    Args:
        tagger: gives each word and mark of a sentence its part of speech; None: our own rules.
        is_strict: do what upstream does and no more, also where it drops or misreads words.
    """

    def __init__(self, tagger: Tagger | None = None, *, is_strict: bool = False) -> None:
        self._given_tagger = tagger
        self._is_strict = is_strict
        self._words = WordReader(is_strict=is_strict)
        self._loading = threading.Lock()
        self._is_loaded = False

    @cached_property
    def _homographs(self) -> Homographs:
        return Homographs.load(is_strict=self._is_strict)

    @cached_property
    def _tagger(self) -> Tagger:
        given = self._given_tagger
        return given if given is not None else RuleTagger(self._homographs.words)

    def warm_up(self) -> None:
        """Load everything, also what only unknown words need: half a second, 65 MiB."""
        self._load()
        with self._loading:
            self._words.read("blorptastic")

    def _load(self) -> None:
        """Load the dictionary and the homographs."""
        if not self._is_loaded:
            with self._loading:
                self._words.read("warm")
                self._tagger(["use"])
                self._is_loaded = True

    def check_reading(self, text: str, reading: str) -> None:
        """Check that a reading is ARPAbet with stress: "T AH0 M EY1 T OW0".

        Raises:
            InvalidRequest: names the symbol that is wrong and those that are allowed.
        """
        parse_reading(text, reading)

    def phonemize(self, text: AlignedText, readings: Sequence[Reading] = ()) -> Phonemization:
        """Turn text into phonemes: a unit is a word or a mark of the normalised text.

        Source: GPT-SoVITS 48b1a01, text/english.py, g2p, and text/cleaner.py, clean_text. Differs:
        words that upstream drops or misreads (``repairs.py``, ``homographs.py``), unless strict.
        """
        self._load()
        prepared = text if self._is_strict else repair(lower_capitals(text, self._words.knows))
        normal = normalize(prepared, is_strict=self._is_strict)
        units = list(self._units(normal))
        if readings:
            units = _with_readings(units, readings)
        if sum(len(unit.phonemes) for unit in units) < _MIN_PHONEMES:
            start = text.origin(0, 0)[0]
            units.insert(0, Unit(",", (",",), start, start))
        return Phonemization(normal.text, tuple(units))

    def _units(self, text: AlignedText) -> Iterator[Unit]:
        spans = token_spans(text.text)
        tokens = [text.text[start:end] for start, end in spans]
        for (start, end), token, phonemes in zip(spans, tokens, self._read(tokens), strict=True):
            yield Unit(token, phonemes, *text.origin(start, end))

    def _read(self, tokens: Sequence[str]) -> Iterator[tuple[str, ...]]:
        homographs = self._homographs.words
        tags: Sequence[str] = ()
        for index, token in enumerate(tokens):
            word = token.lower()
            if word in homographs:
                tags = tags or self._tagger(tokens)
                yield homographs[word].reading(tags[index])
            elif word == "a":
                yield _ARTICLE_OR_LETTER[token]
            elif word[0].isalpha():
                yield self._words.read(word)
            else:
                yield (_BREAK if token == _APOSTROPHE else token,)


def _with_readings(units: Iterable[Unit], readings: Sequence[Reading]) -> list[Unit]:
    """Replace the units that come from the range of a reading by one unit with its phonemes."""
    ends = [reading.end for reading in readings]
    kept: list[Unit] = []
    replaced: list[list[str]] = [[] for _ in readings]
    for unit in units:
        index = bisect_right(ends, unit.start)
        if index < len(readings) and readings[index].start < max(unit.end, unit.start + 1):
            replaced[index].append(unit.text)
        else:
            kept.append(unit)
    said = (
        Unit(text, parse_reading(text, reading.reading), reading.start, reading.end)
        for reading, text in zip(readings, map(" ".join, replaced), strict=True)
    )
    return list(merge(kept, said, key=lambda unit: unit.start))
