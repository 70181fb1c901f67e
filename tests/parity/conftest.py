"""A small directory of goldens, copied where a test may change it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.golden import DATA

CopyGoldens = Callable[..., Path]


@pytest.fixture
def copy_goldens(tmp_path: Path) -> CopyGoldens:
    """Return a function that copies goldens by glob into a directory of the test's own."""

    def copy(*globs: str) -> Path:
        for glob in globs:
            for path in DATA.glob(glob):
                shutil.copy(path, tmp_path)
        return tmp_path

    return copy


def change_array(path: Path, key: str, amount: float) -> None:
    """Add an amount to the first element of one array of an ``.npz``."""
    with np.load(path) as stored:
        arrays = {name: np.array(stored[name]) for name in stored.files}
    arrays[key].flat[0] += amount
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for options
