"""Who decides how a character with several readings is read in its sentence.

Without a model, the dictionary words of the sentence decide (``dictionary.py``). A ``PolyphoneModel``
looks at the whole sentence instead; what it says passes through ``corrections.py`` afterwards.
"""

from collections.abc import Sequence
from typing import Protocol


class PolyphoneModel(Protocol):
    """Reads each character of a sentence in its context."""

    def pinyin(self, sentences: Sequence[str]) -> list[list[str]]:
        """Return one reading per character of each sentence.

        A reading is pinyin with ü as "v" and the tone as a last digit 1 to 5: "lv3", "de5". What
        is no Chinese character (a mark) is given back as itself. Sentences consist of
        ideographs and the marks ``! ? … , . -``; they are not empty.
        """
