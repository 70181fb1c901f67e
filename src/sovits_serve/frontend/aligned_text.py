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
        parts: list[AlignedText] = []
        done = 0
        for match in pattern.finditer(self.text):
            new = match.expand(replacement) if isinstance(replacement, str) else replacement(match)
            parts.append(self[done : match.start()])
            parts.append(self._replaced(match.start(), match.end(), new))
            done = match.end()
        if not parts:
            return self
        return AlignedText.concat((*parts, self[done:]))

    def replace(self, old: str, new: str) -> "AlignedText":
        """Replace every ``old``, as ``str.replace`` does."""
        return self.sub(re.compile(re.escape(old)), lambda _: new) if old in self.text else self

    def map_characters(self, function: Callable[[str], str]) -> "AlignedText":
        """Replace each character by what a function makes of it: any number of characters."""
        made = [function(character) for character in self.text]
        joined = "".join(made)
        if joined == self.text and len(made) == len(joined):
            return self
        sizes = [len(new) for new in made]
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

    def _replaced(self, start: int, end: int, new: "str | AlignedText") -> "AlignedText":
        if isinstance(new, AlignedText):
            return new
        old = self.text[start:end]
        if old == new:
            return self[start:end]
        head = _common_prefix(old, new)
        tail = _common_prefix(old[head:][::-1], new[head:][::-1])
        middle = new[head : len(new) - tail]
        inner = AlignedText.from_range(middle, *self.origin(start + head, end - tail))
        return AlignedText.concat((self[start : start + head], inner, self[end - tail : end]))


def _common_prefix(first: str, second: str) -> int:
    """Return how many characters two strings begin with alike."""
    limit = min(len(first), len(second))
    return next((i for i in range(limit) if first[i] != second[i]), limit)
