"""Our own way to cut text: sentences, joined and split until they are good to say in one go.

Lengths are in syllables (see ``weight.py``). Every character is in exactly one segment, in order;
only blanks and newlines at both ends of a segment are left out.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.segmentation.atoms import Span, splits_character
from sovits_serve.frontend.segmentation.borders import BorderMap, Rank, find_borders
from sovits_serve.frontend.segmentation.marks import CLOSERS, MARKS, OPENERS

# The first segment ends at the first clause end after so many syllables: two seconds of speech,
# enough to listen to while the next segments are made, and enough for the model to find its tone.
FIRST_LENGTH = 10.0
# Sentences are joined up to eight to ten seconds (Japanese: six). The models learned from clips of
# 2 to 15 s; a reference of up to 10 s, 250 tokens, stands before each segment. Shorter pieces lose
# the melody across sentences, longer ones cost time to the first audio and lose words.
TARGET_LENGTH = 40.0
# No segment is longer: 12 to 15 s, 375 of the 1,500 tokens that the model makes at most. Numbers
# and symbols written out are at most twice as long, so BERT's 510 characters are far away.
MAX_LENGTH = 60.0
# Less than that is not left alone if it can be helped: models swallow or garble one or two words.
# Upstream joins pieces of less than five characters, and repeats those under six phonemes.
MIN_LENGTH = 6.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long segments shall be, in syllables."""

    first: float = FIRST_LENGTH
    target: float = TARGET_LENGTH
    maximum: float = MAX_LENGTH

    @property
    def minimum(self) -> float:
        """Return the length below which pieces are joined to their neighbours."""
        return min(MIN_LENGTH, self.target / 2)


def segment_auto(
    text: AlignedText,
    language: str,
    *,
    first_length: float = FIRST_LENGTH,
    target_length: float = TARGET_LENGTH,
    max_length: float = MAX_LENGTH,
    keep_whole: Iterable[Span] = (),
) -> list[AlignedText]:
    """Cut a text at the ends of sentences, and at better or worse places where it must be.

    Args:
        text: any text. Newlines end paragraphs, unless they only wrap lines.
        language: the language mode; any mode can hold any script, so nothing depends on it.
        first_length: the first segment ends at the first clause end after so many syllables.
        target_length: sentences are joined up to so many.
        max_length: no segment has more; at least 4.
        keep_whole: ranges of the original that are not cut.
    """
    del language
    lengths = Lengths(first_length, min(target_length, max_length), max_length)
    keep = [indices_of(text, span) for span in keep_whole]
    return [text[start:end] for start, end in plan(text.text, lengths, keep)]


def plan(text: str, lengths: Lengths, keep: Iterable[Span] = ()) -> list[Span]:
    """Return where each segment starts and ends, without the blanks around it."""
    borders = find_borders(text, quote_length=lengths.target, max_length=lengths.maximum, keep=keep)
    planner = _Planner(borders, lengths)
    trimmed = (_trimmed(text, span) for span in planner.segments())
    return [(start, end) for start, end in trimmed if start < end]


@dataclass(frozen=True)
class _Planner:
    borders: BorderMap
    lengths: Lengths

    def segments(self) -> list[Span]:
        """Return the segments, the blanks between them included."""
        size = len(self.borders.text)
        stops = {0, size, *self.borders.places[Rank.PARAGRAPH]}
        first_end = self._first_end()
        if self.borders.weigh(first_end, size) >= self.lengths.minimum:
            stops.add(first_end)
        pieces = [
            piece
            for block in pairwise(sorted(stops))
            for sentence in self._parts(block, Rank.SENTENCE)
            for piece in self._fitted(sentence, Rank.CLAUSE)
        ]
        return self._joined(pieces, stops)

    def _first_end(self) -> int:
        """Return where the first segment shall end, early enough to be heard soon."""
        first = self.lengths.first
        paragraph = self._first_place(Rank.PARAGRAPH, len(self.borders.text), self.lengths.minimum)
        # The end of a sentence may come a little earlier than that of a clause.
        sentence = self._first_place(Rank.SENTENCE, paragraph, 0.75 * first)
        if self.borders.weigh(0, sentence) > 2 * first:
            clause = self._first_place(Rank.CLAUSE, sentence, first)
            if self.borders.weigh(clause, sentence) >= self.lengths.minimum:
                return clause
        is_rest_short = self.borders.weigh(sentence, paragraph) < self.lengths.minimum
        return paragraph if is_rest_short else sentence

    def _first_place(self, rank: Rank, end: int, length: float) -> int:
        """Return the first border before ``end`` with so much before it, or ``end``."""
        places = self.borders.between(rank, 0, end)
        return next((i for i in places if self.borders.weights[i] >= length), end)

    def _parts(self, span: Span, rank: Rank) -> Iterator[Span]:
        return pairwise([span[0], *self.borders.between(rank, *span), span[1]])

    def _fitted(self, span: Span, rank: Rank) -> list[Span]:
        """Return a part in pieces of at most the maximum, cut at the best borders inside it."""
        if self.borders.weigh(*span) <= self.lengths.maximum:
            return [span]
        if rank is Rank.BLANK:
            parts = [piece for part in self._parts(span, rank) for piece in self._chopped(part)]
        else:
            lower = Rank(rank - 1)
            parts = [
                piece for part in self._parts(span, rank) for piece in self._fitted(part, lower)
            ]
        return self._packed(parts, self._even_length(span))

    def _even_length(self, span: Span) -> float:
        """Return the length of equal pieces, the longest within the target."""
        weight = self.borders.weigh(*span)
        return weight / ceil(weight / self.lengths.target)

    def _packed(self, parts: Sequence[Span], length: float) -> list[Span]:
        """Join neighbours to pieces of about a length, and at most the maximum."""
        result = [parts[0]]
        for part in parts[1:]:
            start, end = result[-1][0], part[1]
            middle = self.borders.weigh(start, part[0]) + self.borders.weigh(*part) / 2
            if middle <= length and self.borders.weigh(start, end) <= self.lengths.maximum:
                result[-1] = (start, end)
            else:
                result.append(part)
        return result

    def _chopped(self, span: Span) -> list[Span]:
        """Cut a part without any border: between characters, outside words if that can be."""
        if self.borders.weigh(*span) <= self.lengths.maximum:
            return [span]
        length = self._even_length(span)
        result = []
        start, end = span
        while self.borders.weigh(start, end) > min(self.lengths.maximum, 1.5 * length):
            stop = self._chop_end(start, end, length)
            result.append((start, stop))
            start = stop
        return [*result, (start, end)]

    def _chop_end(self, start: int, end: int, length: float) -> int:
        """Return the best place for a cut about a length after ``start``."""
        low, near, far = (
            bisect_right(self.borders.weights, self.borders.weights[start] + weight, start + 1, end)
            for weight in (length / 2, length, self.lengths.maximum)
        )
        wanted: list[int] = [*range(near - 1, low - 1, -1), *range(near, far)]
        wanted += range(low - 1, start, -1)
        for is_free in (self._is_outside_pairs, self._is_outside_words, self._is_possible):
            for i in wanted:
                if is_free(i):
                    return i
        return max(near - 1, start + 1)

    def _is_outside_pairs(self, i: int) -> bool:
        before, after = self.borders.text[i - 1], self.borders.text[i]
        is_tied = after in MARKS or after in CLOSERS or before in OPENERS
        return not (is_tied or self.borders.in_pair[i]) and self._is_outside_words(i)

    def _is_outside_words(self, i: int) -> bool:
        return not self.borders.in_atom[i] and self._is_possible(i)

    def _is_possible(self, i: int) -> bool:
        return not splits_character(self.borders.text, i)

    def _joined(self, pieces: Sequence[Span], stops: Container[int]) -> list[Span]:
        """Join pieces up to the target; short ones join others even where a stop is."""
        result = list(pieces[:1])
        for piece in pieces[1:]:
            if self._belong_together(result[-1], piece, stops):
                result[-1] = (result[-1][0], piece[1])
            else:
                result.append(piece)
        if len(result) > 1 and self._is_short(result[-1]):
            joined = (result[-2][0], result[-1][1])
            if self.borders.weigh(*joined) <= self.lengths.maximum:
                result[-2:] = [joined]
        return result

    def _belong_together(self, piece: Span, following: Span, stops: Container[int]) -> bool:
        weight = self.borders.weigh(piece[0], following[1])
        if weight > self.lengths.maximum:
            return False
        if not self.borders.has_words(*piece) or not self.borders.has_words(*following):
            return True
        if self._is_short(piece):
            return True
        if following[0] in stops:
            return False
        # A short piece begins another segment, if there is more to follow.
        is_rest = following[1] in stops and self._is_short(following)
        return is_rest or weight <= self.lengths.target

    def _is_short(self, span: Span) -> bool:
        return self.borders.weigh(*span) < self.lengths.minimum


def indices_of(text: AlignedText, span: Span) -> Span:
    """Return the characters that come from a range of the original."""
    return bisect_left(text.starts, span[0]), bisect_left(text.starts, span[1])


def _trimmed(text: str, span: Span) -> Span:
    """Return a part without the blanks at both its ends."""
    part = text[slice(*span)]
    start = span[0] + len(part) - len(part.lstrip())
    return start, start + len(part.strip())
