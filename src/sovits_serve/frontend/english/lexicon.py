"""The CMU pronouncing dictionary: word to phonemes, without a Python object per word.

The entries stay one string of bytes in the order of the file, which is sorted; a word is found by
bisection. Words are ASCII, in lower case.
"""

from sovits_serve.frontend.english.files import package_file
from sovits_serve.frontend.english.revisions import (
    COMPOUNDS,
    INITIALISMS,
    NEW_WORDS,
    revised,
    without_primary_stress,
)

Phonemes = tuple[str, ...]
# Upstream takes these out: what the dictionary says is not how the initialisms are said.
_REMOVED = frozenset({"ae", "ai", "ar", "ios", "hud", "os"})
_FIRST_ENTRY = b"\n!EXCLAMATION-POINT"


class Lexicon:
    """Looks words up in sorted lines of ``WORD  P H O N E M E S``."""

    def __init__(self, lines: bytes) -> None:
        self._lines = lines

    @classmethod
    def load(cls) -> "Lexicon":
        """Read the dictionary that the package ``pronouncing`` carries, first readings only."""
        data = package_file("pronouncing", "cmudict-0.7b").read_bytes()
        lines = data[data.index(_FIRST_ENTRY) + 1 :].splitlines()
        return cls(b"\n".join(line for line in lines if b")  " not in line))

    def find(self, word: str) -> Phonemes | None:
        """Return the phonemes of a word, or None if the dictionary lacks it.

        Source: GPT-SoVITS 48b1a01, text/english.py, read_dict_new. Differs: an older release of the
        dictionary, brought near by ``revisions.py``.
        """
        if word in NEW_WORDS:
            return NEW_WORDS[word]
        if word in COMPOUNDS:
            first, second = (self.find(part) or () for part in COMPOUNDS[word])
            return first + without_primary_stress(second)
        if word in INITIALISMS:
            *letters, last = (
                self._line(letter.upper().encode()).decode().split() for letter in word
            )
            spelled = tuple(phoneme for letter in letters for phoneme in letter)
            first = without_primary_stress(spelled) if INITIALISMS[word] else spelled
            return (*first, *last)
        if word in _REMOVED:
            return None
        found = self._line(word.upper().encode("ascii", "replace"))
        return revised(word, tuple(found.decode("ascii").split())) if found else None

    def _line(self, word: bytes) -> bytes:
        """Return what the line of a word says, or nothing."""
        lines, low, high = self._lines, 0, len(self._lines)
        while low < high:
            start = lines.rfind(b"\n", low, (low + high) // 2) + 1 or low
            end = lines.find(b"\n", start, high)
            end = high if end < 0 else end
            entry, _, phonemes = lines[start:end].partition(b"  ")
            if entry == word:
                return phonemes
            if entry < word:
                low = end + 1
            else:
                high = start
        return b""
