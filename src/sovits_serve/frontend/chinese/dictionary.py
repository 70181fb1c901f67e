"""The readings of words and characters, from the data files of the installed pypinyin package.

pypinyin's tables take 50 MiB as Python objects, so its files are read instead, and the phrases
that begin with a character are unfolded when one is looked for. Nothing is imported from
pypinyin and nothing is written. Readings are those of ``syllables.py``.

Source: pypinyin 0.55.0, seg/mmseg.py and converter.py. Differs: read piece by piece; a character
whose first reading cannot be said (no vowel) gets the nearest that can.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from sovits_serve.frontend.chinese.loading import load_once
from sovits_serve.frontend.chinese.syllables import is_reading, reading_of_marked

_PHRASE = re.compile(r'"([^"]+)":\s*\[((?:\s*\[[^][]*\],?)*)\s*\]')
_FIRST = re.compile(r'\[\s*"([^"]+)"')
_CHARACTER = re.compile(r'"(\d+)":\s*"([^"]+)"')
_UNFOLDED_CHARACTERS = 1024
_ONLY_HERE = {"兙": "ke4", "兡": "ke4", "嗧": "lun2", "桛": "ren3", "烪": "lie4", "甅": "wa3"}
_ONLY_HERE |= dict.fromkeys("瓧瓰瓱瓼", "wa3")  # weights and measures that pypinyin lacks
_MAX_PHRASE_LENGTH = 16  # the longest has ten characters
_REMEMBERED = 8192
_MAX_REMEMBERED_LENGTH = 8


class ReadingDictionary:
    """What pypinyin knows about phrases and characters."""

    def __init__(self, phrases: str, characters: str) -> None:
        self._folded = _fold_phrases(phrases)
        self._characters = _ONLY_HERE | {
            chr(int(entry[1])): _first_sayable(entry[2])
            for entry in _CHARACTER.finditer(characters)
        }
        self._beginning_with = lru_cache(_UNFOLDED_CHARACTERS)(self._unfold)
        self._remembered = lru_cache(_REMEMBERED)(self._read)

    def read(self, word: str) -> tuple[str, ...]:
        """Return one reading per character; what has none (a mark) is given back as itself."""
        return self._remembered(word) if len(word) <= _MAX_REMEMBERED_LENGTH else self._read(word)

    def read_character(self, character: str) -> str:
        """Return the first reading of a character, or the character if it has none."""
        return self._characters.get(character, character)

    def read_phrase(self, word: str) -> tuple[str, ...] | None:
        """Return the readings of a word that is an entry itself."""
        return self._beginning_with(word[0]).get(word)

    def _read(self, word: str) -> tuple[str, ...]:
        readings: list[str] = []
        while len(readings) < len(word):
            readings.extend(self._read_beginning(word[len(readings) :][:_MAX_PHRASE_LENGTH]))
        return tuple(readings)

    def _read_beginning(self, rest: str) -> tuple[str, ...]:
        """Return the readings of the longest phrase that ``rest`` begins with, or of a character.

        A rest that is itself the beginning of a phrase is read by the character, to its end.
        """
        phrases = self._beginning_with(rest[0])
        for end in range(len(rest), 0, -1):
            if rest[:end] in phrases:
                return phrases[rest[:end]]
        is_beginning = len(rest) < _MAX_PHRASE_LENGTH and any(
            phrase.startswith(rest) for phrase in phrases
        )
        return tuple(map(self.read_character, rest if is_beginning else rest[0]))

    def _unfold(self, character: str) -> Mapping[str, tuple[str, ...]]:
        lines = self._folded.get(character, "").splitlines()
        entries = (line.split(" ") for line in lines)
        return {phrase: tuple(readings) for phrase, *readings in entries}


def _fold_phrases(phrases: str) -> dict[str, str]:
    """Return the phrases of each first character, as lines "phrase reading reading"."""
    reading_of = cache(reading_of_marked)
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for entry in _PHRASE.finditer(phrases):
        readings = (reading_of(syllable) for syllable in _FIRST.findall(entry[2]))
        lines[entry[1][0]].append(" ".join((entry[1], *readings)))
    return {character: "\n".join(own) for character, own in lines.items()}


def _first_sayable(syllables: str) -> str:
    readings = [reading_of_marked(syllable) for syllable in syllables.split(",")]
    return next((reading for reading in readings if is_reading(reading)), readings[0])


def _file(name: str) -> str:
    spec = find_spec("pypinyin")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("Chinese needs the package pypinyin: pip install pypinyin")
    return (Path(spec.submodule_search_locations[0]) / name).read_text(encoding="utf-8")


@load_once
def load_readings() -> ReadingDictionary:
    """Read pypinyin's data files, once."""
    return ReadingDictionary(_file("phrases_dict.json"), _file("pinyin_dict.json"))
