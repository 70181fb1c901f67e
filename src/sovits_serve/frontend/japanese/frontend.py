"""The Japanese frontend: text in, words with phonemes and prosody marks out.

Source: GPT-SoVITS 48b1a01, text/japanese.py, preprocess_jap and g2p. Differs: no user dictionary
file (readings come with the text); text without a mark is cut where OpenJTalk would overrun.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Phonemization, Reading, Unit
from sovits_serve.frontend.japanese.analysis import MAX_CHARACTERS, Analyzer
from sovits_serve.frontend.japanese.kana import KanaReading
from sovits_serve.frontend.japanese.legible import legible
from sovits_serve.frontend.japanese.prosody import word_phonemes
from sovits_serve.frontend.japanese.readings import (
    Forced,
    embedded,
    forced_words,
    locate,
    words_in_parts,
)
from sovits_serve.frontend.japanese.text import (
    JAPANESE,
    chunks,
    mark_phonemes,
    normalized,
    spelled_out,
)


class JapaneseFrontend:
    """Reads Japanese; Latin letters by their names. A unit is a word, a number or a mark.

    With ``reads_signs`` it also reads signs and spellings that upstream drops, see ``legible.py``.
    """

    def __init__(self, *, reads_signs: bool = False) -> None:
        self._analyzer = Analyzer()
        self._reads_signs = reads_signs

    def warm_up(self) -> None:
        """Load OpenJTalk and its dictionary."""
        self.phonemize(AlignedText.of("ア"))

    def check_reading(self, text: str, reading: str) -> None:
        """Check a reading in kana as it sounds, "'" after the accented mora if that matters.

        Raises:
            InvalidRequest: names the reading and what is wrong with it.
        """
        del text  # any word may sound like anything
        KanaReading.parse(reading)

    def phonemize(self, text: AlignedText, readings: Sequence[Reading] = ()) -> Phonemization:
        """Turn text into phonemes, word by word; readings replace those of the analysis."""
        said = text
        if readings:
            # Marks are written as kana first: some would vanish, and none can be analysed. Where
            # signs are read all is, for they join what stands around them.
            limit = None if self._reads_signs else MAX_CHARACTERS // 2
            said, _ = embedded(text, locate(text, readings), limit)
        if self._reads_signs:
            text, said = legible(text), legible(said)
        said = spelled_out(normalized(said))
        units = self._units(said, locate(said, readings))
        return Phonemization(normalized(text).text, tuple(units))

    def _units(self, text: AlignedText, forced: Sequence[Forced]) -> Iterator[Unit]:
        done = 0
        for run in JAPANESE.finditer(text.text):
            yield from _mark_units(text[done : run.start()])
            yield from self._run_units(text[run.start() : run.end()], _within(run.span(), forced))
            done = run.end()
        yield from _mark_units(text[done:])

    def _run_units(self, text: AlignedText, forced: Sequence[Forced]) -> Iterator[Unit]:
        """Read text without marks, in pieces that are not too long."""
        whole = [(one.start, one.end) for one in forced]
        for start, end in chunks(text.text, MAX_CHARACTERS, whole):
            yield from self._word_units(text[start:end], _within((start, end), forced))

    def _word_units(self, text: AlignedText, forced: Sequence[Forced]) -> Iterator[Unit]:
        words = forced_words(self._analyzer.words(text.text), forced)
        if words is None:
            text, forced = embedded(text, forced)
            if len(text) <= MAX_CHARACTERS:
                words = forced_words(self._analyzer.words(text.text), forced)
        if words is None:
            words = words_in_parts(text.text, forced, self._analyzer.words)
        pairs = zip(words, word_phonemes(words), strict=True)
        for (start, end), group in groupby(pairs, key=lambda pair: (pair[0].start, pair[0].end)):
            phonemes = tuple(phoneme for _, found in group for phoneme in found)
            if phonemes:
                yield Unit(text.text[start:end], phonemes, *text.origin(start, end))


def _mark_units(text: AlignedText) -> Iterator[Unit]:
    for mark, start, end in zip(text.text, text.starts, text.ends, strict=True):
        phonemes = mark_phonemes(mark)
        if phonemes:
            yield Unit(mark, phonemes, start, end)


def _within(part: tuple[int, int], forced: Sequence[Forced]) -> list[Forced]:
    """Return the readings of a part of a text, in the part's own positions."""
    start, end = part
    first = bisect_left(forced, start, key=lambda one: one.start)
    inside = takewhile(
        lambda one: one.end <= end, map(forced.__getitem__, range(first, len(forced)))
    )
    return [Forced(one.start - start, one.end - start, one.reading) for one in inside]
