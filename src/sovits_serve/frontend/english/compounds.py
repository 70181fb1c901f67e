"""Divides a word that no dictionary has into words of the language, by how often they follow others.

The counts (333,000 words, 250,000 pairs) come from the package ``wordsegment``, which is not
imported. They are kept as sorted hashes: 10 MB instead of 100.
"""

from array import array
from collections.abc import Iterator
from math import log10
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from sovits_serve.frontend.english.files import package_file

_TOTAL = 1024908267229.0
_LONGEST = 24
_BLOCK_BYTES = 1 << 18
# The end of a long word is divided again, on its own.
_REPEATED = 5
# Words from first to last, each with the rest of the division after it.
_Chain = tuple[()] | tuple[str, "_Chain"]


class Counts:
    """How often each text occurs: a table from the hash of a text to a number."""

    def __init__(self, hashes: npt.NDArray[np.int64], counts: npt.NDArray[np.float64]) -> None:
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._counts = counts[order]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read lines of a text, a tab and a number; the last line of a text counts."""
        hashes, counts = array("q"), array("d")
        with path.open("rb") as file:
            # In blocks, for all lines at once would take 60 MB.
            while lines := file.readlines(_BLOCK_BYTES):
                fields = b"".join(lines).rstrip(b"\n").replace(b"\n", b"\t").split(b"\t")
                hashes.extend(map(hash, fields[::2]))
                counts.extend(map(float, fields[1::2]))
        return cls(np.array(hashes, np.int64), np.array(counts, np.float64))

    def get(self, text: str) -> float:
        """Return the count of a text; 0.0 for one that never occurs."""
        wanted = hash(text.encode())
        index = int(self._hashes.searchsorted(wanted, "right")) - 1
        return float(self._counts[index]) if self._hashes[index] == wanted else 0.0


class CompoundSplitter:
    """Finds the likeliest division of letters into words.

    Source: wordsegment 1.3.1, Segmenter (Apache-2.0), after Norvig, "Natural Language Corpus Data".
    Differs: short texts only, which it does not cut into chunks; unknown words before are one case.
    """

    def __init__(self, words: Counts, pairs: Counts) -> None:
        self._words = words
        self._pairs = pairs

    @classmethod
    def load(cls) -> Self:
        """Read the counts."""
        return cls(
            Counts.read(package_file("wordsegment", "unigrams.txt")),
            Counts.read(package_file("wordsegment", "bigrams.txt")),
        )

    def split(self, letters: str) -> list[str]:
        """Return the words that letters in lower case are made of; at least one."""
        words = self._best(letters)
        return [*words[:-_REPEATED], *self._best("".join(words[-_REPEATED:]))]

    def _best(self, letters: str) -> list[str]:
        chain = _Search(letters, self._words, self._pairs).best()
        words = []
        while chain:
            word, chain = chain
            words.append(word)
        return words


class _Search:
    """One search, from the end of the letters to their start.

    Remembers the best division of the letters from each place on, for each known word that can
    stand before it, and for unknown words, which all score alike.
    """

    def __init__(self, letters: str, words: Counts, pairs: Counts) -> None:
        self._letters = letters
        self._words = words
        self._pairs = pairs
        self._best: dict[tuple[int, str], tuple[float, _Chain]] = {}
        self._counts: dict[str, float] = {}

    def best(self) -> _Chain:
        """Return the best division of all letters."""
        for start in range(len(self._letters) - 1, 0, -1):
            alone = self._alone_from(start)
            for length in range(1, min(start, _LONGEST) + 1):
                before = self._letters[start - length : start]
                if self._count(before):
                    self._best[start, before] = self._divide(start, before, alone)
            self._best[start, ""] = self._divide(start, "", alone)
        return self._divide(0, "<s>", self._alone_from(0))[1]

    def _alone_from(self, start: int) -> list[tuple[str, float]]:
        """Return the words that may come next, each with its score on its own."""
        longest = min(len(self._letters) - start, _LONGEST)
        words = [self._letters[start : start + length] for length in range(1, longest + 1)]
        return [(word, self._count(word) / _TOTAL or _unknown(word)) for word in words]

    def _divide(
        self, start: int, before: str, alone: list[tuple[str, float]]
    ) -> tuple[float, _Chain]:
        return max(self._candidates(start, before, alone))

    def _candidates(
        self, start: int, before: str, alone: list[tuple[str, float]]
    ) -> Iterator[tuple[float, _Chain]]:
        known_before = self._count(before) / _TOTAL if before else 0.0
        for word, score_alone in alone:
            is_known = self._count(word) > 0
            pair = self._pairs.get(f"{before} {word}") if known_before and is_known else 0.0
            score = pair / _TOTAL / known_before if pair else score_alone
            after = (start + len(word), word if is_known else "")
            rest, words = self._best.get(after, (0.0, ()))
            yield log10(score) + rest, (word, words)

    def _count(self, word: str) -> float:
        if word not in self._counts:
            self._counts[word] = self._words.get(word)
        return self._counts[word]


def _unknown(word: str) -> float:
    return float(10.0 / (_TOTAL * 10 ** len(word)))
