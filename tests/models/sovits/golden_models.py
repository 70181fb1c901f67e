"""Models rebuilt from the golden recipes, and the recorded data beside them."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sovits_serve.models.sovits.model import Latents, SovitsModel
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
    with np.load(DATA / f"s2_{version}_tiny.npz") as arrays:
        data = {name: _widened(torch.from_numpy(arrays[name])) for name in arrays.files}
    return Golden(build_model(version, "cpu", torch.float32), data)


def build_model(version: str, device: str, dtype: torch.dtype) -> SovitsModel:
    """Build the tiny model of a version from its recipe."""
    stem = f"s2_{version}_tiny"
    recipe = Recipe.read(DATA / f"{stem}.weights.json")
    tensors = recipe.build()
    return SovitsModel.from_weights(
        SPECS[ModelVersion(version)],
        dims_of(recipe, tensors),
        DictWeights(tensors, origin=stem),
        device=device,
        dtype=dtype,
    )


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


@dataclass(frozen=True)
class Row:
    """One row's inputs on the CPU; ``noise`` decides how many frames it becomes."""

    tokens: Tensor
    phones: Tensor
    style: Tensor
    speed: float
    noise: Tensor


def random_row(model: SovitsModel, seed: int, sizes: tuple[int, int, float]) -> Row:
    """Return a row of ``sizes`` (tokens, phonemes, speed)."""
    num_tokens, num_phones, speed = sizes
    frames = model.num_frames(num_tokens, speed)
    return Row(
        integers(seed, model.dims.codebook_size, num_tokens),
        integers(seed + 100, model.dims.num_symbols, num_phones),
        unit_normal(seed + 200, model.dims.style_dim),
        speed,
        unit_normal(seed + 300, model.dims.inter_channels, frames),
    )


def encode_rows(model: SovitsModel, rows: list[Row], device: str = "cpu") -> Latents:
    """Encode rows as one padded batch."""
    tokens, token_lengths = padded([row.tokens for row in rows])
    phones, phone_lengths = padded([row.phones for row in rows])
    noise, _ = padded([row.noise for row in rows])
    return model.encode_latent(
        tokens.to(device),
        token_lengths,
        phones.to(device),
        phone_lengths,
        stacked_styles(rows).to(device),
        speeds=[row.speed for row in rows],
        noise=noise.to(device),
        noise_scale=0.5,
    )


def stacked_styles(rows: list[Row]) -> Tensor:
    """Return the styles (B, D_style) of rows."""
    return torch.stack([row.style for row in rows])


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor.long()
