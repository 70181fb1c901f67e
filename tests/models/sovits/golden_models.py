"""Models rebuilt from the golden recipes, and the recorded data beside them."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.spec import SPECS, ModelVersion, SovitsDims
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from tests.golden import DATA

VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus")


@dataclass(frozen=True)
class Golden:
    """One version's tiny model and what upstream computed with the same weights."""

    model: SovitsModel
    data: dict[str, Tensor]

    def style(self, num_references: int) -> Tensor:
        """Return the mean style (1, D_style) of the first references."""
        styles = [self.reference_style(index) for index in range(num_references)]
        return torch.stack(styles).mean(0)

    def reference_style(self, index: int) -> Tensor:
        """Return the style (1, D_style) of one reference, encoded alone."""
        spectrogram = self.data[f"refer{index}"]
        return self.model.encode_style(
            spectrogram, full(spectrogram, 2), self.data.get(f"sv{index}")
        )


@cache
def golden(version: str) -> Golden:
    """Build the tiny model of a version and read its recorded data, once per process."""
    stem = f"s2_{version}_tiny"
    recipe = Recipe.read(DATA / f"{stem}.weights.json")
    tensors = recipe.build()
    model = SovitsModel.from_weights(
        SPECS[ModelVersion(version)],
        dims_of(recipe, tensors),
        DictWeights(tensors, origin=stem),
        device="cpu",
        dtype=torch.float32,
    )
    with np.load(DATA / f"{stem}.npz") as arrays:
        data = {name: _widened(torch.from_numpy(arrays[name])) for name in arrays.files}
    return Golden(model, data)


def recorded_cases(version: str) -> list[dict[str, Any]]:
    """Return what is recorded of a version without building its model."""
    meta = json.loads((DATA / f"s2_{version}_tiny.meta.json").read_text(encoding="utf-8"))
    return list(meta["cases"])


def dims_of(recipe: Recipe, tensors: dict[str, Tensor]) -> SovitsDims:
    """Read the dimensions out of a recipe's config."""
    config: Any = recipe.config["model"]
    return SovitsDims(
        inter_channels=config["inter_channels"],
        hidden_channels=config["hidden_channels"],
        filter_channels=config["filter_channels"],
        num_heads=config["n_heads"],
        num_layers=config["n_layers"],
        kernel_size=config["kernel_size"],
        style_dim=config["gin_channels"],
        num_symbols=tensors["enc_p.text_embedding.weight"].size(0),
        upsample_rates=tuple(config["upsample_rates"]),
        upsample_kernel_sizes=tuple(config["upsample_kernel_sizes"]),
        upsample_initial_channels=config["upsample_initial_channel"],
        resblock_kernel_sizes=tuple(config["resblock_kernel_sizes"]),
        resblock_dilation_sizes=tuple(map(tuple, config["resblock_dilation_sizes"])),
    )


def full(x: Tensor, dim: int) -> Tensor:
    """Return lengths (B) of a batch without padding along ``dim``."""
    return torch.full((x.size(0),), x.size(dim))


def padded(rows: list[Tensor], garbage: float = 7.0) -> tuple[Tensor, Tensor]:
    """Stack rows (..., T) of different T, with ``garbage`` behind each, and return their lengths."""
    lengths = torch.tensor([row.size(-1) for row in rows])
    batch = rows[0].new_full(
        (len(rows), *rows[0].shape[:-1], int(lengths.max())),
        int(garbage) if not rows[0].is_floating_point() else garbage,
    )
    for row, content in enumerate(rows):
        batch[row, ..., : content.size(-1)] = content
    return batch, lengths


def unit_normal(seed: int, *shape: int) -> Tensor:
    """Return reproducible unit normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def integers(seed: int, limit: int, length: int) -> Tensor:
    """Return reproducible int64 numbers (length) in [0, limit)."""
    return torch.randint(limit, (length,), generator=torch.Generator().manual_seed(seed))


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor.long()
