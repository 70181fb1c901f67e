"""Text that remembers which range of the original each of its characters came from.

Normalisers rewrite text step by step ("$5" becomes "five dollars"). Timestamps and BERT features
need the way back, so every step works on an ``AlignedText``. Positions are indices of characters
(code points) of the original text; ranges are half open.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self


@dataclass(frozen=True, slots=True)
class AlignedText:
    """A string whose character ``i`` came from ``original[starts[i]:ends[i]]``.

    An inserted character has an empty range at the place of its insertion.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, text: str, offset: int = 0) -> Self:
        """Return a text that is its own original, from ``offset`` on."""
        size = len(text)
        return cls(text, range(offset, offset + size), range(offset + 1, offset + 1 + size))

    @classmethod
    def from_range(cls, text: str, start: int, end: int) -> Self:
        """Return a text all of whose characters came from one range."""
        return cls(text, (start,) * len(text), (end,) * len(text))

    @classmethod
    def concat(cls, parts: Iterable["AlignedText"]) -> Self:
        """Join texts."""
        kept = [part for part in parts if part.text]
        if len(kept) == 1:
            return cls(kept[0].text, kept[0].starts, kept[0].ends)
        return cls(
            "".join(part.text for part in kept),
            tuple(chain.from_iterable(part.starts for part in kept)),
            tuple(chain.from_iterable(part.ends for part in kept)),
        )

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, part: slice) -> "AlignedText":
        return AlignedText(self.text[part], self.starts[part], self.ends[part])

    def __add__(self, other: "AlignedText") -> "AlignedText":
        return AlignedText.concat((self, other))

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of the original that characters ``start`` to ``end`` came from."""
        if start < end:
            return min(self.starts[start:end]), max(self.ends[start:end])
        if start < len(self.text):
            return self.starts[start], self.starts[start]
        last = self.ends[-1] if self.text else 0
        return last, last

    def strip(self, characters: str | None = None) -> "AlignedText":
        """Return the text without blanks (or ``characters``) at both ends."""
        start = len(self.text) - len(self.text.lstrip(characters))
        return self[start : start + len(self.text.strip(characters))]

    def sub(
        self,
        pattern: re.Pattern[str],
        replacement: "str | Callable[[re.Match[str]], str | AlignedText]",
    ) -> "AlignedText":
        r"""Replace every match, as ``re.sub`` does (``\1`` and ``\g<name>`` in a string).

        What a replacement shares with the match at both ends keeps its origin; the rest comes
        from what it replaces. A function may return an ``AlignedText`` to say it finely.
        """
        changes = _Changes(self)
        for match in pattern.finditer(self.text):
            if not isinstance(replacement, str):
                new = replacement(match)
            else:
                new = match.expand(replacement) if "\\" in replacement else replacement
            if new != match[0]:
                changes.replace(match.start(), match.end(), new)
        return changes.result()

    def replace(self, old: str, new: str) -> "AlignedText":
        """Replace every ``old``, as ``str.replace`` does."""
        return self.sub(re.compile(re.escape(old)), lambda _: new) if old in self.text else self

    def map_characters(self, function: Callable[[str], str]) -> "AlignedText":
        """Replace each character by what a function makes of it: any number of characters."""
        made = [function(character) for character in self.text]
        joined = "".join(made)
        sizes = [len(new) for new in made]
        if joined == self.text and all(size == 1 for size in sizes):
            return self
        return AlignedText(
            joined,
            tuple(self.starts[i] for i, size in enumerate(sizes) for _ in range(size)),
            tuple(self.ends[i] for i, size in enumerate(sizes) for _ in range(size)),
        )

    def pieces(self, pattern: re.Pattern[str]) -> "Iterator[AlignedText]":
        """Yield the parts between matches, as ``re.split`` without groups does."""
        done = 0
        for match in pattern.finditer(self.text):
            yield self[done : match.start()]
            done = match.end()
        yield self[done:]


class _Changes:
    """Gathers a changed text, from front to back: one list a column, so that it is quick."""

    def __init__(self, old: AlignedText) -> None:
        self._old = old
        self._done = 0
        self._texts: list[str] = []
        self._starts: list[int] = []
        self._ends: list[int] = []

    def replace(self, start: int, end: int, new: str | AlignedText) -> None:
        """Keep the text up to ``start`` and put ``new`` in the place of what goes to ``end``."""
        if isinstance(new, AlignedText):
            self._keep(start)
            self._add(new.text, new.starts, new.ends)
            self._done = end
            return
        old = self._old.text[start:end]
        head = _common_prefix(old, new)
        tail = _common_prefix(reversed(old[head:]), reversed(new[head:]))
        middle = new[head : len(new) - tail]
        self._keep(start + head)
        if middle:
            first, last = self._old.origin(start + head, end - tail)
            self._add(middle, (first,) * len(middle), (last,) * len(middle))
        self._done = end - tail

    def result(self) -> AlignedText:
        """Return the text with all changes; the old one if there are none."""
        if not self._done and not self._texts:
            return self._old
        self._keep(len(self._old))
        return AlignedText("".join(self._texts), tuple(self._starts), tuple(self._ends))

    def _keep(self, end: int) -> None:
        part = slice(self._done, end)
        self._add(self._old.text[part], self._old.starts[part], self._old.ends[part])
        self._done = end

    def _add(self, text: str, starts: Sequence[int], ends: Sequence[int]) -> None:
        self._texts.append(text)
        self._starts += starts
        self._ends += ends


def _common_prefix(first: Iterable[str], second: Iterable[str]) -> int:
    """Return how many characters two strings begin with alike."""
    size = 0
    for ours, theirs in zip(first, second, strict=False):
        if ours != theirs:
            break
        size += 1
    return size
