"""Rebuilding a golden's weights from its recipe: seeds and shapes instead of tensors.

A recipe (``*.weights.json``) names every tensor with its shape, dtype, offset and scale. The
result is bit-exact on every machine because numpy freezes the ``RandomState`` streams.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Recipe:
    """One ``*.weights.json``: how to rebuild tensors, and what was stored beside them."""

    path: Path
    seed: int
    tensors: tuple[tuple[object, ...], ...]
    config: dict[str, object]
    fields: dict[str, object]

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read a recipe file."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        tensors = tuple(tuple(entry) for entry in fields["tensors"])
        return cls(path, int(fields["seed"]), tensors, fields.get("config", {}), fields)

    def build(self) -> dict[str, Tensor]:
        """Return all tensors by name: float16 (as stored in real files), int64 for counters."""
        return {str(entry[0]): _build_tensor(self.seed, entry) for entry in self.tensors}

    def tensor(self, name: str) -> Tensor:
        """Return one tensor as ``build`` would."""
        entry = next(entry for entry in self.tensors if entry[0] == name)
        return _build_tensor(self.seed, entry)


def _build_tensor(seed: int, entry: tuple[object, ...]) -> Tensor:
    name, shape, dtype, offset, scale, *rest = entry
    assert isinstance(name, str)
    assert isinstance(shape, list)
    assert isinstance(offset, int | float)
    assert isinstance(scale, int | float)
    if dtype != "float16":
        return torch.zeros(shape, dtype=torch.int64)
    if scale == 0:
        return torch.full(shape, float(offset), dtype=torch.float16)
    stream = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0xFFFFFFFF)
    values = offset + scale * stream.standard_normal(shape)
    for row, factor in rest[0] if rest and isinstance(rest[0], list) else ():
        values[row] *= factor
    return torch.from_numpy(np.asarray(values).astype(np.float16))
