"""Readings that somebody asked for, in the place of those of the analysis.

A reading replaces the words of its range, so that its neighbours keep what the context gave them:
particles their sound, the phrase its accent. If words do not begin and end with the range, the
analysis gets the kana instead of what they stand for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading
from sovits_serve.frontend.japanese.kana import KanaReading, morae
from sovits_serve.frontend.japanese.prosody import Word
from sovits_serve.frontend.japanese.text import JAPANESE


@dataclass(frozen=True, slots=True)
class Forced:
    """A range of a text, in its characters, and how it is read."""

    start: int
    end: int
    reading: KanaReading


def locate(text: AlignedText, readings: Sequence[Reading]) -> list[Forced]:
    """Return the ranges of a text that come from those of the readings; lost ones are left out."""
    found: list[Forced] = []
    position = 0
    for one in readings:
        while position < len(text) and not one.start <= text.starts[position] < text.ends[position]:
            position += 1
        start = position
        while position < len(text) and text.starts[position] < one.end >= text.ends[position]:
            position += 1
        if start < position:
            found.append(Forced(start, position, KanaReading.parse(one.reading)))
    return found


def embedded(
    text: AlignedText, forced: Sequence[Forced], limit: int | None = None
) -> tuple[AlignedText, list[Forced]]:
    """Write readings into a text where it could not be analysed as it is.

    Without a ``limit`` all readings are written; with one, those of ranges that hold a mark or
    are longer.
    """
    parts: list[AlignedText] = []
    moved: list[Forced] = []
    done = size = 0
    for one in forced:
        old = text[one.start : one.end]
        kana = AlignedText.from_range(one.reading.kana, *text.origin(one.start, one.end))
        keep = limit is not None and len(old) <= limit and JAPANESE.fullmatch(old.text)
        start = size + one.start - done
        new = old if keep else kana
        parts += [text[done : one.start], new]
        moved.append(Forced(start, start + len(new), one.reading))
        done, size = one.end, start + len(new)
    return AlignedText.concat((*parts, text[done:])), moved


def forced_words(words: Sequence[Word], forced: Sequence[Forced]) -> list[Word] | None:
    """Return the words with the readings in place; None if a range cuts through a word."""
    result = list(words)
    for one in reversed(forced):
        first = next((i for i, word in enumerate(result) if word.start == one.start), None)
        if first is None:
            return None
        last = max(i for i, word in enumerate(result) if word.start < one.end)
        if any(word.end > one.end for word in result[first : last + 1]):
            return None
        _force(result, first, last, one)
    return result


def words_in_parts(
    text: str, forced: Sequence[Forced], analyse: Callable[[str], list[Word]]
) -> list[Word]:
    """Return the words of what stands around the readings, each part on its own, and of them."""
    words: list[Word] = []
    done = 0
    for one in [*forced, None]:
        end = len(text) if one is None else one.start
        if done < end:
            words += [
                replace(word, start=word.start + done, end=word.end + done)
                for word in analyse(text[done:end])
            ]
        if one is not None:
            accent = one.reading.accent or 0
            words.append(Word(one.reading.kana, accent, False, one.start, one.end))
            done = one.end
    return words


def _force(words: list[Word], first: int, last: int, one: Forced) -> None:
    """Replace words ``first`` to ``last`` by one; the accent of their phrase moves along."""
    head = first
    while head > 0 and words[head].is_chained:
        head -= 1
    before = sum(word.num_morae for word in words[head:first])
    old_size = words[first].num_morae
    for word in words[first + 1 : last + 1]:
        if not word.is_chained:
            break
        old_size += word.num_morae
    new_size = len(morae(one.reading.kana))
    accent = words[head].accent
    if one.reading.accent is not None:
        accent = before + one.reading.accent
    elif accent > before + old_size:
        accent += new_size - old_size
    elif accent > before:
        accent = min(accent, before + new_size)
    words[head] = replace(words[head], accent=accent)
    chained = words[first].is_chained
    accent = words[first].accent
    words[first : last + 1] = [Word(one.reading.kana, accent, chained, one.start, one.end)]
