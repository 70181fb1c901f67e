"""OpenJTalk: from a text of Japanese characters to words with pronunciation and accent.

The library is not made for any input: its buffers have fixed sizes, and an overrun ends the
process. So it only ever sees short texts of the characters in ``text.JAPANESE``.
"""

import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from sovits_serve.errors import UnsupportedLanguage
from sovits_serve.frontend.japanese.alignment import full_width, word_ranges
from sovits_serve.frontend.japanese.prosody import Word

# OpenJTalk joins single kana that it does not know into one word, whose kana (3 bytes each) must
# fit 1,024 bytes. Its other buffers hold 2,730 characters or more.
MAX_CHARACTERS = 320
_PACKAGE = "pyopenjtalk"
_IS_CHAINED = 1


class _OpenJTalk(Protocol):
    def run_frontend(self, text: str) -> Sequence[Mapping[str, str | int]]: ...


class Analyzer:
    """Splits text into words; loads its dictionary once, at the first use.

    One text is analysed at a time, whatever the number of threads: the library holds its state in
    one place. It lets other Python threads run meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._openjtalk: _OpenJTalk | None = None

    def words(self, text: str) -> list[Word]:
        """Return the words of a text of at most ``MAX_CHARACTERS``, all of them Japanese ones.

        Raises:
            UnsupportedLanguage: the installed library has no dictionary.
        """
        assert len(text) <= MAX_CHARACTERS, len(text)
        with self._lock:
            if self._openjtalk is None:
                self._openjtalk = _load()
            features = self._openjtalk.run_frontend(text)
        spellings = [str(feature["string"]) for feature in features]
        places = word_ranges(spellings, full_width(text))
        return [_word(feature, *at) for feature, at in zip(features, places, strict=True)]


def _word(feature: Mapping[str, str | int], start: int, end: int) -> Word:
    is_chained = feature["chain_flag"] == _IS_CHAINED
    return Word(str(feature["pron"]), int(feature["acc"]), is_chained, start, end)


def _load() -> _OpenJTalk:
    directory = _dictionary_directory()
    if directory is None:
        raise UnsupportedLanguage(
            f"language: ja needs {_PACKAGE} with its dictionary inside: "
            "pip install 'sovits-serve[ja]'"
        )
    # Not the functions of the package itself: they download a dictionary where they find none.
    library = import_module(f"{_PACKAGE}.openjtalk")
    openjtalk: _OpenJTalk = library.OpenJTalk(dn_mecab=str(directory).encode())
    return openjtalk


def _dictionary_directory() -> Path | None:
    spec = find_spec(_PACKAGE)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(root).glob("*/sys.dic")):
            return found.parent
    return None
