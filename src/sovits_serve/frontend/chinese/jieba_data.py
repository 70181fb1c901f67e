"""The data files of the installed jieba package, read without importing it.

Importing ``jieba.posseg`` costs 140 MiB and may write a cache file into a shared directory; its
files are all we need. Nothing is written.
"""

import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from math import log
from pathlib import Path
from typing import Any

from sovits_serve.frontend.chinese.loading import load_once

_BLOCK = re.compile(r"^(.).*\n(?:\1.*\n)*", re.MULTILINE)
_COUNT = re.compile(r"^\S+ (\d+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Word:
    """A dictionary entry: the logarithm of its count, and its part of speech."""

    log_count: float
    tag: str


class Dictionary:
    """jieba's words, as the lines of its file, by first character.

    Searching the few lines that begin with a character takes microseconds and no memory beyond
    the file's own; as Python objects the words would take 60 MiB.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[str, str] = {}
        for block in _BLOCK.finditer(text):
            self._lines[block[1]] = self._lines.get(block[1], "\n") + block[0]
        self.log_total = log(sum(int(count[1]) for count in _COUNT.finditer(text)))

    def find(self, word: str) -> Word | None:
        """Return the entry of a word."""
        lines = self._lines.get(word[0], "")
        return _entry_at(lines, lines.find(f"\n{word} "))

    def words_at(self, text: str, start: int) -> Iterator[tuple[int, Word]]:
        """Yield the end and the entry of each word that begins in text at start."""
        lines = self._lines.get(text[start], "")
        for end in range(start + 1, len(text) + 1):
            beginning = "\n" + text[start:end]
            first = lines.find(beginning)
            if first < 0:
                return
            word = _entry_at(lines, lines.find(beginning + " ", first))
            if word:
                yield end, word


def _entry_at(lines: str, start: int) -> Word | None:
    """Return the entry of the line behind the new line at start, if there is one."""
    if start < 0:
        return None
    _, count, tag = lines[start + 1 : lines.index("\n", start + 1)].split(" ")
    return Word(log(int(count)), tag)


class _PlainUnpickler(pickle.Unpickler):
    """Reads containers, strings and numbers, and refuses everything that could run code."""

    def find_class(self, module_name: str, global_name: str) -> object:
        """Refuse."""
        raise pickle.UnpicklingError(f"jieba's data refers to {module_name}.{global_name}")


def _folder() -> Path:
    spec = find_spec("jieba")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("Chinese needs the package jieba: pip install jieba")
    return Path(spec.submodule_search_locations[0])


def load_parameters(name: str) -> Any:  # the caller says what the file holds
    """Read a file of model parameters, such as "posseg/prob_emit"."""
    with (_folder() / f"{name}.p").open("rb") as file:
        return _PlainUnpickler(file).load()


@load_once
def load_dictionary() -> Dictionary:
    """Read the dictionary, once."""
    return Dictionary((_folder() / "dict.txt").read_text(encoding="utf-8"))
