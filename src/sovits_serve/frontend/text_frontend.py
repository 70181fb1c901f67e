"""Text in, segments with phonemes out: what an HTTP worker does with every request.

Markup and dictionary, segmentation into sentences, languages, phonemes, ids; no torch, no network.
Every phoneme keeps the range of the original text that it came from. Languages load on first use.

Source of the order of the steps: GPT-SoVITS 48b1a01, TTS_infer_pack/TextPreprocessor.py. Differs:
text that upstream drops, or reads in a language that cannot say it, goes to one that can.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from sovits_serve.config import FrontendConfig
from sovits_serve.errors import InvalidRequest, TextTooLong
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading
from sovits_serve.frontend.chinese.normalization.repairs import repair_mixed
from sovits_serve.frontend.cleaning import clean, has_words
from sovits_serve.frontend.japanese.repairs import repair_mixed as repair_japanese
from sovits_serve.frontend.korean.repairs import repair_mixed as repair_korean
from sovits_serve.frontend.languages import (
    LanguageRun,
    collapse_blanks,
    join_runs,
    load_models,
    split_by_mode,
    spoken_by,
)
from sovits_serve.frontend.languages.han import is_surely_chinese, settle_han, unread_in_japanese
from sovits_serve.frontend.markup import Break, MarkedText, parse_markup
from sovits_serve.frontend.pronunciations import (
    Pronunciation,
    carve,
    overlapping,
    readings_within,
)
from sovits_serve.frontend.registry import LanguageRegistry, check_mode, home_language
from sovits_serve.frontend.segment import Piece, Segment
from sovits_serve.frontend.segmentation import segment
from sovits_serve.frontend.user_dictionary import UserDictionary

# Upstream reads a text of fewer phonemes again with a mark in front: the models need something to
# start from.
_MIN_PHONEMES = 6
# BERT reads 512 tokens, two of them its own.
_MAX_PROMPT_CHARACTERS = 510
_ENDS = frozenset("，。？！,.?!~:：—…")


@dataclass(frozen=True)
class _Asked:
    """What is the same for all segments of a request."""

    mode: str
    forced: tuple[Pronunciation, ...] = ()
    is_chinese: bool = False


class TextFrontend:
    """Turns text into segments for models of one symbol table ("v1" or "v2").

    Raises ``ConfigError`` if the configured dictionary is bad. With ``is_strict`` it does what
    upstream does and no more, for comparison: text that upstream drops is dropped.
    """

    def __init__(
        self,
        symbol_version: str = "v2",
        config: FrontendConfig | None = None,
        *,
        languages: LanguageRegistry | None = None,
        is_strict: bool = False,
    ) -> None:
        self.symbol_version = symbol_version
        self.config = config or FrontendConfig()
        self.languages = languages or LanguageRegistry(
            symbol_version, self.config, is_strict=is_strict
        )
        path = self.config.dictionary
        self.dictionary = UserDictionary(Path(path), self._check_reading) if path else None
        self._is_strict = is_strict

    def segments(self, text: str, mode: str = "auto", *, cut: str | None = None) -> list[Segment]:
        """Turn text into segments.

        Args:
            text: any text, with or without markup (see ``markup.py``).
            mode: the language: zh, yue, en, ja, ko (their own and English), all_zh, all_yue, all_ja,
                all_ko (theirs alone), auto (whatever is found), auto_yue (Han is Cantonese).
            cut: how to cut it: auto, or cut0 to cut5 as upstream does; None: as configured.

        Raises:
            InvalidRequest: a field is wrong, or nothing in the text can be spoken.
            TextTooLong: the text is longer than ``max_characters``.
            UnsupportedLanguage: the model or this installation lacks a language of the text.
        """
        return list(self.iterate(text, mode, cut=cut))

    def iterate(
        self, text: str, mode: str = "auto", *, cut: str | None = None
    ) -> Iterator[Segment]:
        """Yield the segments one by one, as ``segments`` returns them.

        What concerns the whole text is checked at once, the rest as it is read.
        """
        mode = check_mode(mode, self.symbol_version)
        self._check_length(text)
        marked = parse_markup(text)
        asked = self._asked(text, marked, mode)
        return self._with_pauses(self._parts(marked, asked, cut or self.config.cut), asked)

    def prompt(self, text: str, mode: str = "auto") -> Segment:
        """Turn the transcript of a reference recording into one segment, however long.

        Raises:
            InvalidRequest, TextTooLong, UnsupportedLanguage: as ``segments`` does.
        """
        mode = check_mode(mode, self.symbol_version)
        marked = parse_markup(text)
        content = clean(marked.text).strip("\n")
        if not has_words(content.text):
            raise InvalidRequest("prompt_text: holds no word")
        if len(content) > _MAX_PROMPT_CHARACTERS:
            raise TextTooLong(
                f"prompt_text: {len(content)} characters; the limit is {_MAX_PROMPT_CHARACTERS}"
            )
        if content.text[-1] not in _ENDS:
            end = content.ends[-1]
            content += AlignedText.from_range("." if mode == "en" else "。", end, end)
        return self._segment(content, self._asked(text, marked, mode))

    def one_segment(self, text: str, mode: str = "auto") -> Segment:
        """Turn a text into one segment as it is: not cut, without markup, possibly with nothing."""
        return self._segment(AlignedText.of(text), _Asked(check_mode(mode, self.symbol_version)))

    def warm_up(self, modes: Iterable[str]) -> None:
        """Load what the given modes need before somebody waits for it."""
        for mode in modes:
            known = check_mode(mode, self.symbol_version)
            if known != "en":
                load_models()
            self.languages.warm_up(known)

    def warm_up_in_background(self, modes: Iterable[str]) -> "Future[None]":
        """Do the same in a thread of its own; the future tells when, or what went wrong."""
        executor = ThreadPoolExecutor(1, "frontend-warm-up")
        done = executor.submit(self.warm_up, tuple(modes))
        executor.shutdown(wait=False)
        return done

    def _check_length(self, text: str) -> None:
        limit = self.config.max_characters
        if len(text) > limit:
            raise TextTooLong(f"text: {len(text)} characters; the limit is {limit}")
        if not text or text.isspace():
            raise InvalidRequest("text: empty")

    def _asked(self, text: str, marked: MarkedText, mode: str) -> _Asked:
        """Check the pronunciations written in the text, and look at the text as a whole."""
        forced = tuple(Pronunciation.of(reading, mode) for reading in marked.readings)
        for one in forced:
            self._check_reading(one.language, text[one.start : one.end], one.reading)
        return _Asked(mode, forced, is_surely_chinese(marked.text.text))

    def _check_reading(self, language: str, text: str, reading: str) -> None:
        self.languages.frontend(language, text).check_reading(text, reading)

    def _parts(self, marked: MarkedText, asked: _Asked, cut: str) -> Iterator[AlignedText | Break]:
        """Yield sentences, and the breaks between them, in order."""
        language = asked.mode.removeprefix("all_")
        for part in _at_breaks(marked):
            if isinstance(part, Break):
                yield part
            elif has_words(part.text):
                forced = overlapping(asked.forced, *part.origin(0, len(part)))
                whole = [(one.start, one.end) for one in forced]
                yield from segment(clean(part), cut, language, keep_whole=whole)

    def _with_pauses(
        self, parts: Iterator[AlignedText | Break], asked: _Asked
    ) -> Iterator[Segment]:
        """Read the parts; breaks become the pause of the segment before, or before the first."""
        waiting: Segment | None = None
        lead_pause_s = 0.0
        pause_s: float | None = None
        for part in parts:
            if isinstance(part, Break):
                if waiting is None:
                    lead_pause_s += part.seconds
                else:
                    pause_s = (pause_s or 0.0) + part.seconds
                continue
            segment_ = self._segment(part, asked)
            if not segment_.is_spoken:
                continue
            if waiting is not None:
                yield replace(waiting, pause_s=pause_s)
                lead_pause_s = 0.0
            waiting, pause_s = replace(segment_, lead_pause_s=lead_pause_s), None
        if waiting is None:
            raise InvalidRequest("text: nothing in it can be spoken: it holds no word")
        yield replace(waiting, pause_s=pause_s)

    def _segment(self, text: AlignedText, asked: _Asked) -> Segment:
        """Read one segment; a very short one a second time, with a mark in front."""
        start, end = text.origin(0, len(text))
        pieces = self._pieces(text, asked)
        if sum(len(piece.phonemes) for piece in pieces) < _MIN_PHONEMES:
            mark = AlignedText.from_range(".", start, start)
            pieces = self._pieces(mark + text, asked)
        return Segment(text.text, start, end, tuple(pieces), self.symbol_version)

    def _pieces(self, text: AlignedText, asked: _Asked) -> list[Piece]:
        text = collapse_blanks(text)
        if not self._is_strict:
            text = self._repaired(text, asked)
        runs = split_by_mode(text, asked.mode, keep_all=not self._is_strict)
        if not self._is_strict:
            runs = self._sayable(runs, asked)
        forced = overlapping(asked.forced, *text.origin(0, len(text)))
        return [self._piece(run, forced) for run in carve(runs, forced)]

    def _repaired(self, text: AlignedText, asked: _Asked) -> AlignedText:
        """Write out numbers and units before those in Latin letters are taken for English."""
        language = asked.mode.removeprefix("all_")
        if language in {"zh", "yue"} or (language.startswith("auto") and asked.is_chinese):
            return repair_mixed(text)
        if language == "ko":
            self.languages.frontend("ko", text.text)  # says so if its library is missing
            return repair_korean(text)
        return repair_japanese(text) if language == "ja" else text

    def _sayable(self, runs: list[LanguageRun], asked: _Asked) -> list[LanguageRun]:
        """Give every word to a language that can say it; marks alone to the mode's own."""
        home = home_language(asked.mode)
        if asked.mode.startswith("auto"):
            runs = settle_han(runs, home, is_chinese=asked.is_chinese)
        known = [
            run if self.languages.knows(run.language) else LanguageRun(home, run.text)
            for run in runs
        ]
        spoken = (part for run in known for part in spoken_by(run.text, run.language, home))
        return join_runs(part for run in spoken for part in unread_in_japanese(run))

    def _piece(self, run: LanguageRun, forced: Sequence[Pronunciation]) -> Piece:
        if self._is_strict and not self.languages.has(run.language):
            spoken = self.languages.frontend("en").phonemize(AlignedText.of(" "))  # as upstream
        else:
            frontend = self.languages.frontend(run.language, run.text.text)
            readings = readings_within(run, forced)
            readings += tuple(self._from_dictionary(run, readings))
            spoken = frontend.phonemize(run.text, sorted(readings, key=attrgetter("start")))
        return Piece(run.language, run.text.text, spoken.normalized, spoken.units)

    def _from_dictionary(self, run: LanguageRun, written: Sequence[Reading]) -> Iterator[Reading]:
        """Yield what the user's dictionary says of a run, except where the text itself says it."""
        if self.dictionary is None:
            return
        for found in self.dictionary.find(run.text.text, run.language):
            start, end = run.text.origin(found.start, found.end)
            if not any(one.start < end and start < one.end for one in written):
                yield Reading(start, end, found.reading)


def _at_breaks(marked: MarkedText) -> Iterator[AlignedText | Break]:
    """Yield the text between breaks, and the breaks, in order."""
    done = 0
    for pause in marked.breaks:
        end = bisect_left(marked.text.starts, pause.position)
        yield marked.text[done:end]
        yield pause
        done = end
    yield marked.text[done:]
