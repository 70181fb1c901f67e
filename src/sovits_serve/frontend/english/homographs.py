"""Words that are said in two ways, and which way goes with which part of speech.

The table (headword, reading, other reading, tag of the first) comes from the package ``g2p_en``,
which is not imported. Tags are those of the Penn Treebank.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sovits_serve.frontend.english.files import package_file

Phonemes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Homograph:
    """A word with two readings: ``tagged`` for words tagged ``tag``, ``otherwise`` for the rest."""

    tagged: Phonemes
    otherwise: Phonemes
    tag: str

    def reading(self, tag: str) -> Phonemes:
        """Return the reading that goes with a tag; either may be the finer one (VB and VBP)."""
        fits = tag.startswith(self.tag) or self.tag.startswith(tag)
        return self.tagged if fits else self.otherwise

    def swapped(self) -> "Homograph":
        """Return the word with its readings the other way round."""
        return Homograph(self.otherwise, self.tagged, self.tag)


def _homograph(tagged: str, otherwise: str, tag: str) -> Homograph:
    return Homograph(tuple(tagged.split()), tuple(otherwise.split()), tag)


# What upstream reads differently than its table says.
_REVISED = {
    "read": _homograph("R IY1 D", "R EH1 D", "VBP"),
    "complex": _homograph("K AH0 M P L EH1 K S", "K AA1 M P L EH0 K S", "JJ"),
}
# Words whose readings the table has the wrong way round: "an obJECT", "to REBel".
_SWAPPED = (
    "articulate associate associates certificate certificates exploit exploits fragment imprint "
    "inverse mandate misconduct misuse mouth mouths object pontificate pontificates precipitate "
    "predicate rebel segment subcontract torment dogged"
).split()
# Words that the table lacks, or that have one reading for all tags but the second.
_ADDED = {
    "lead": _homograph("L EH1 D", "L IY1 D", "METAL"),
    "live": _homograph("L IH1 V", "L AY1 V", "V"),
    "lives": _homograph("L IH1 V Z", "L AY1 V Z", "V"),
    "tear": _homograph("T EH1 R", "T IH1 R", "V"),
    "tears": _homograph("T EH1 R Z", "T IH1 R Z", "V"),
    "wind": _homograph("W AY1 N D", "W IH1 N D", "V"),
    "winds": _homograph("W AY1 N D Z", "W IH1 N D Z", "V"),
    "learned": _homograph("L ER1 N D", "L ER1 N IH0 D", "V"),
    "used": _homograph("Y UW1 S T", "Y UW1 Z D", "MD"),
}


class Homographs:
    """The table, by word in lower case."""

    def __init__(self, words: Mapping[str, Homograph]) -> None:
        self.words = words

    @classmethod
    def load(cls, *, is_strict: bool) -> Self:
        """Read the table; unless strict, with what upstream reads wrongly put right."""
        text = package_file("g2p_en", "homographs.en").read_text("utf-8")
        words = dict(_entry(line) for line in text.splitlines() if not line.startswith("#"))
        words |= _REVISED
        if not is_strict:
            words |= {word: words[word].swapped() for word in _SWAPPED if word in words}
            words |= _ADDED
        return cls(words)


def _entry(line: str) -> tuple[str, Homograph]:
    word, tagged, otherwise, tag = line.strip().split("|")
    return word.lower(), _homograph(tagged, otherwise, tag)
