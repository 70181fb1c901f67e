"""Reading a directory of goldens: which files belong together and what is in them.

Files are recognised by suffix and content, never by a list of names: ``X.npz`` (arrays),
``X.meta.json`` (requests and parameters), ``X.weights.json`` (a recipe), ``X.ckpt``. Arrays stored
as float16 or int16 were exact, so they are widened on reading.
"""

import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sovits_serve.parity.recipe import Recipe


class Arrays:
    """The arrays of one ``.npz``, read one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = np.load(path, allow_pickle=False)

    @property
    def keys(self) -> frozenset[str]:
        """Return all names."""
        return frozenset(self._file.files)

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def array(self, key: str) -> npt.NDArray[np.generic]:
        """Return one array as it was stored."""
        stored: npt.NDArray[np.generic] = self._file[key]
        return stored

    def tensor(self, key: str) -> Tensor:
        """Return one array as float32 or int64."""
        tensor = torch.from_numpy(np.array(self._file[key]))
        return tensor.float() if tensor.is_floating_point() else tensor.long()

    def tokens(self, key: str) -> list[int]:
        """Return one array of ids as a flat list."""
        return [int(value) for value in self._file[key].reshape(-1)]

    def match(self, pattern: str) -> list[re.Match[str]]:
        """Return the full matches of a pattern among the names, in order of their numbers."""
        found = [match for key in self.keys if (match := re.fullmatch(pattern, key))]
        return sorted(found, key=lambda match: _natural(match.group(0)))


class GoldenDirectory:
    """A directory of goldens."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stems(self, suffix: str) -> list[str]:
        """Return the stems of all files with a suffix, in natural order."""
        names = (entry.name for entry in self.path.iterdir() if entry.is_file())
        return sorted((n.removesuffix(suffix) for n in names if n.endswith(suffix)), key=_natural)

    @cached_property
    def arrays(self) -> dict[str, Arrays]:
        """All ``.npz`` files by stem, opened but not read."""
        return {stem: Arrays(self.path / f"{stem}.npz") for stem in self.stems(".npz")}

    def file(self, name: str) -> Path | None:
        """Return a file of the directory, or None when it is not there."""
        path = self.path / name
        return path if path.is_file() else None

    def files(self, stem: str) -> tuple[Path, ...]:
        """Return all files of a stem."""
        return tuple(sorted(p for p in self.path.glob(f"{stem}.*") if p.is_file()))

    def json(self, name: str) -> object:
        """Return the content of a JSON file, or None when it is not there."""
        path = self.file(name)
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    def recipe(self, stem: str) -> Recipe | None:
        """Return the recipe of a stem, or None when it is not there."""
        path = self.file(f"{stem}.weights.json")
        return None if path is None else Recipe.read(path)


def records(value: object) -> list[dict[str, object]]:
    """Return a JSON list of objects; anything else (also a missing one) as an empty list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def record(value: object) -> dict[str, object]:
    """Return a JSON object; anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> float:
    """Return a JSON number."""
    if not isinstance(value, int | float):
        raise TypeError(f"expected a number in a golden, found {value!r}")
    return value


def integer(value: object) -> int:
    """Return a JSON integer."""
    if not isinstance(value, int):
        raise TypeError(f"expected an integer in a golden, found {value!r}")
    return value


def integers(value: object) -> list[int]:
    """Return a JSON list of integers; null and a missing one as an empty list."""
    return [] if value is None else [integer(item) for item in as_list(value)]


def as_list(value: object) -> list[object]:
    """Return a JSON list."""
    if not isinstance(value, list):
        raise TypeError(f"expected a list in a golden, found {value!r}")
    return value


def text(value: object) -> str:
    """Return a JSON string."""
    if not isinstance(value, str):
        raise TypeError(f"expected a string in a golden, found {value!r}")
    return value


def numbered(matches: Iterable[re.Match[str]]) -> list[int]:
    """Return the first group of each match as an integer, once each, in order."""
    return sorted({int(match.group(1)) for match in matches})


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort ``x2`` before ``x10``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
