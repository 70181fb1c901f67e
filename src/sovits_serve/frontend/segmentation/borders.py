"""Where a text may be cut, and how good each place is.

A border is a place between two characters: border ``i`` is before character ``i``. Marks and what
closes stay with the text before them.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate

from sovits_serve.frontend.segmentation.atoms import Span, atoms, blocked_borders, pairs
from sovits_serve.frontend.segmentation.marks import (
    CLOSERS,
    ELLIPSES,
    MARKS,
    NEWLINES,
    SENTENCE_ENDS,
)
from sovits_serve.frontend.segmentation.periods import PeriodUse, period_use
from sovits_serve.frontend.segmentation.weight import cumulative_weights, is_east_asian, is_kana

_HIRAGANA = "\u3041-\u309f"
_HAN = "\u3005-\u3007\u3400-\u9fff"
# What may follow a mark and belongs to its looks: variation selectors, accents.
_ATTACHED = "\ufe0e\ufe0f\u20e3\u0300-\u036f"
_MARK_CLASS = re.escape("".join(sorted(MARKS)))
_MARK_RUN = re.compile(
    f"[{_MARK_CLASS}]++[{_MARK_CLASS}{re.escape(''.join(sorted(CLOSERS)))}{_ATTACHED}]*+"
)
_NEWLINE_RUN = re.compile(f"[{NEWLINES}](?:[^\\S{NEWLINES}]*+[{NEWLINES}])*+")
_BLANK_RUN = re.compile(f"[^\\S{NEWLINES}]++")
_NOT_BLANK = re.compile(r"\S")
# A text wrapped at a fixed width: the sentence goes on in the next line.
_BEFORE_WRAP = re.compile(r"[a-zß-ÿа-я,;][^\S\n]*\Z")
_AFTER_WRAP = re.compile(r"[^\S\n]{0,4}[a-zß-ÿа-я]")
# A Japanese phrase ends where hiragana do; a Chinese one may end after a particle.
_PHRASE_END = re.compile(
    f"(?<=[{_HIRAGANA}])(?=[{_HAN}\u30a1-\u30fa])|(?<=[的了吧呢吗嘛啊呀着过嘅咗啦喇])(?=[{_HAN}])"
)
# Before these an English sentence may pause.
_CONJUNCTION = re.compile(
    r"(?:and|or|but|because|which|that|who|when|while|if|so|than|though|although|where|since)\b"
)


class Rank(IntEnum):
    """How good a place for a cut is."""

    BLANK = 1
    PHRASE = 2
    CLAUSE = 3
    SENTENCE = 4
    PARAGRAPH = 5


@dataclass(frozen=True)
class BorderMap:
    """A text measured and its borders found.

    Attributes:
        weights: ``weights[i]`` is the weight of the first i characters.
        words: ``words[i]`` is the number of letters and digits among them.
        places: for each rank the borders of that rank or a higher one, in order.
        in_pair: for each border, whether it lies in a short quote, in brackets or after an initial.
        in_atom: for each border, whether it lies in a word, a number or an address.
    """

    text: str
    weights: list[float]
    words: list[int]
    places: dict[Rank, list[int]]
    in_pair: bytearray
    in_atom: bytearray

    def weigh(self, start: int, end: int) -> float:
        """Return the weight of a part."""
        return self.weights[end] - self.weights[start]

    def has_words(self, start: int, end: int) -> bool:
        """Return whether a part has a letter or a digit."""
        return self.words[end] > self.words[start]

    def between(self, rank: Rank, start: int, end: int) -> list[int]:
        """Return the borders of at least a rank strictly inside a part."""
        places = self.places[rank]
        return places[bisect_right(places, start) : bisect_left(places, end)]


def find_borders(
    text: str, *, quote_length: float, max_length: float, keep: Iterable[Span] = ()
) -> BorderMap:
    """Measure a text and find where it may be cut.

    Args:
        text: what shall be cut.
        quote_length: quotes and brackets up to this weight are not cut.
        max_length: nothing heavier is kept whole.
        keep: parts that are not cut.
    """
    weights = cumulative_weights(text)
    paragraph_ends = bytearray(len(text) + 1)
    ranked = []
    for start, end, is_wrap in _newlines(text):
        paragraph_ends[start:end] = bytes([not is_wrap]) * (end - start)
        ranked.append((end, Rank.BLANK if is_wrap else Rank.PARAGRAPH))
    quotes = pairs(text, paragraph_ends)
    inside = [span for span in quotes if weights[span[1]] - weights[span[0]] <= quote_length]
    ranked += _marks(text, {start for start, _ in quotes}, inside)
    ranked += _others(text)
    whole = (
        span for span in (*atoms(text), *keep) if weights[span[1]] - weights[span[0]] <= max_length
    )
    in_pair, in_atom = blocked_borders(len(text), inside), blocked_borders(len(text), whole)
    free = sorted((i, rank) for i, rank in ranked if not (in_pair[i] or in_atom[i]))
    places = {rank: [i for i, found in free if found >= rank] for rank in Rank}
    words = list(accumulate(map(str.isalnum, text), initial=0))
    return BorderMap(text, weights, words, places, in_pair, in_atom)


def _newlines(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield runs of newlines, and whether each only wraps a line."""
    for match in _NEWLINE_RUN.finditer(text):
        start, end = match.span()
        is_wrap = (
            match[0] in {"\n", "\r\n"}
            and _BEFORE_WRAP.search(text, max(0, start - 8), start) is not None
            and _AFTER_WRAP.match(text, end, end + 8) is not None
        )
        yield start, end, is_wrap


def _marks(text: str, opening: set[int], inside: list[Span]) -> Iterator[tuple[int, Rank]]:
    """Yield the borders after marks; add the blanks after abbreviations to ``inside``.

    ``opening`` are the places of marks that open a quote: those stay with what follows.
    """
    for match in _MARK_RUN.finditer(text):
        start = match.start()
        end = next((i for i in range(*match.span()) if i in opening), match.end())
        found = _NOT_BLANK.search(text, end)
        after = found.start() if found else len(text)
        rank = _rank(text, start, end, after)
        if rank is not None:
            yield end, rank
        elif after > end:
            inside.append((end - 1, after + 1))


def _rank(text: str, start: int, end: int, after: int) -> Rank | None:
    """Return the rank of the border after a run of marks, closing marks included."""
    core = text[start:end].rstrip("".join(CLOSERS) + "\ufe0e\ufe0f\u20e3")
    following = text[after : after + 1]
    has_blank, has_closers = after > end, len(core) < end - start
    last = core[-1:]
    if last in SENTENCE_ENDS:
        return _after_quote(following, has_blank) if has_closers else Rank.SENTENCE
    if last in ELLIPSES or core[-2:] == "..":
        is_end = has_closers or not following or following.isupper()
        return Rank.SENTENCE if is_end else Rank.CLAUSE
    if last == ".":
        use = period_use(text, start + len(core) - 1, after)
        if use is PeriodUse.SENTENCE_END:
            return _after_quote(following, has_blank) if has_closers else Rank.SENTENCE
        return Rank.PHRASE if use is PeriodUse.MISSING_BLANK else None
    return _clause_rank(last, text[max(0, start - 2) : start], following, has_blank=has_blank)


def _after_quote(following: str, has_blank: bool) -> Rank:
    """Return the rank after a sentence in quotes, which its sentence may go on after."""
    if following.islower() or (is_east_asian(following or " ") and not has_blank):
        return Rank.CLAUSE
    return Rank.SENTENCE


def _clause_rank(mark: str, before: str, following: str, *, has_blank: bool) -> Rank | None:
    if mark == "、":
        return Rank.CLAUSE if any(map(is_kana, before + following)) else Rank.PHRASE
    if mark in "—–":
        return Rank.PHRASE
    if mark in ",;:" and not has_blank and following.isalnum() and following.isascii():
        return None if mark == ":" else Rank.PHRASE
    if mark == "," and before[-1:].isdigit() and following.isdigit():
        return Rank.PHRASE  # a date, or numbers one after the other
    if mark in "~～" and (following.isnumeric() or before[-1:].isnumeric()):
        return None
    return Rank.CLAUSE


def _others(text: str) -> Iterator[tuple[int, Rank]]:
    """Yield the borders at blanks and after particles."""
    for match in _BLANK_RUN.finditer(text):
        end = match.end()
        if match.start() > 0 and end < len(text):
            yield end, _blank_rank(text, match.start(), end)
    for match in _PHRASE_END.finditer(text):
        yield match.start(), Rank.BLANK


def _blank_rank(text: str, start: int, end: int) -> Rank:
    """Return a higher rank where a blank stands for a mark or a sentence may pause."""
    if is_east_asian(text[start - 1]) and is_east_asian(text[end]):
        return Rank.PHRASE
    return Rank.PHRASE if _CONJUNCTION.match(text, end) else Rank.BLANK
