"""Launches of the packed kernels: which tile serves which product, and where tensors lie.

Everything writes into memory given by the caller and can be captured in a CUDA graph. Tiles depend
on the launch's bucket; every element's sum over K is the same sequence of instructions in all.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from triton import cdiv, next_power_of_2

from sovits_serve.models.cuda.device import limits_of
from sovits_serve.models.cuda.packed_batch import Tables
from sovits_serve.models.cuda.packed_kernels import (
    attention_kernel,
    embed_characters_kernel,
    embed_prompt_kernel,
    linear_kernel,
    norm_kernel,
    project_kernel,
)

# Programs that keep an H100 or H200 (132 multiprocessors) busy: a larger tile pays from here on.
_ENOUGH_PROGRAMS = 120
# Memory that products read has a multiple of this many rows: the largest tile's.
_ROW_STEP = 128
_LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class Tile:
    """What one program of a product computes, and how."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int


_TILES = (Tile(128, 128, 64, 8, 4), Tile(64, 64, 128, 4, 3), Tile(64, 32, 128, 4, 4))
# Without tensor cores: float32 is for comparing, not for speed.
_FLOAT32_TILE = Tile(64, 64, 32, 4, 2)


def choose_tile(num_rows: int, num_columns: int, dtype: torch.dtype) -> Tile:
    """Return the largest tile with which a product occupies the device."""
    if dtype is torch.float32:
        return _FLOAT32_TILE
    for tile in _TILES:
        if cdiv(num_rows, tile.block_m) * cdiv(num_columns, tile.block_n) >= _ENOUGH_PROGRAMS:
            return tile
    return _TILES[-1]


def new_rows(num_rows: int, width: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Return zeros (num_rows rounded up, width) that products can read."""
    size = cdiv(num_rows, _ROW_STEP) * _ROW_STEP, width
    return torch.zeros(size, dtype=dtype, device=device)


class PackedLaunches:
    """Launches kernels over up to ``bucket`` tokens of up to ``max_rows`` rows.

    ``overlaps`` launches each kernel before the previous one has ended, where the device can.
    """

    def __init__(self, bucket: int, tables: Tables, *, overlaps: bool = False) -> None:
        self.bucket = bucket
        self.tables = tables
        self._limits = limits_of(tables.num_tokens.device)
        overlaps = overlaps and self._limits.has_early_launch
        self._options: dict[str, Any] = {"overlaps": overlaps}
        if overlaps:
            self._options["launch_pdl"] = True

    def linear(
        self,
        x: Tensor,
        linear: nn.Linear | tuple[Tensor, Tensor],
        out: Tensor,
        *,
        activation: str = "none",
        residual: Tensor | None = None,
        rows: tuple[int, Tensor] | None = None,
    ) -> None:
        """Write ``activation(linear(x)) + residual`` into the first rows of ``out`` (M, N).

        ``rows`` is the most there can be and how many there are; without it, the tokens.
        """
        max_rows, count = rows or (self.bucket, self.tables.num_tokens)
        weight, bias = linear if isinstance(linear, tuple) else (linear.weight, linear.bias)
        num_columns, depth = weight.shape
        tile = self._choose_tile(max_rows, num_columns, x.dtype)
        linear_kernel[cdiv(max_rows, tile.block_m), cdiv(num_columns, tile.block_n)](
            out,
            x,
            weight,
            bias,
            residual,
            count,
            num_columns,
            depth,
            activation=activation,
            **self._tile_options(tile, depth),
        )

    def project(self, x: Tensor, weight: Tensor, bias: Tensor, qkv: Tensor, layer: Tensor) -> None:
        """Write ``qkv`` (M, 3 * D), and keys and values into a layer of the cache as well."""
        hidden, tile = x.shape[1], self._choose_tile(self.bucket, 3 * x.shape[1], x.dtype)
        project_kernel[cdiv(self.bucket, tile.block_m), cdiv(3 * hidden, tile.block_n)](
            qkv,
            layer,
            x,
            weight,
            bias,
            self.tables.addresses,
            self.tables.num_tokens,
            hidden,
            layer.shape[3],
            layer.shape[2],
            **self._tile_options(tile, hidden),
        )

    def attend(self, qkv: Tensor, out: Tensor, num_heads: int) -> None:
        """Attend within the rows of ``qkv`` (M, 3 * D); ``out`` is (M, D)."""
        tables, hidden = self.tables, out.shape[1]
        width = hidden // num_heads
        attention_kernel[tables.tile_rows.shape[0], num_heads](
            out,
            qkv,
            tables.num_tiles,
            tables.tile_rows,
            tables.tile_firsts,
            tables.starts,
            tables.lengths,
            tables.text_lengths,
            hidden,
            width**-0.5 * _LOG2_E,
            width=width,
            block_d=max(16, next_power_of_2(width)),
            precision="ieee",
            num_warps=4,
            num_stages=2,
            **self._options,
        )

    def norm(
        self,
        x: Tensor,
        norm: nn.LayerNorm,
        out: Tensor,
        rows: tuple[int, Tensor, Tensor] | None = None,
    ) -> None:
        """Write normalised float32 rows of ``x`` (M, D); ``rows``: most, how many, which ones."""
        max_rows, count, index = rows or (self.bucket, self.tables.num_tokens, None)
        gain, shift, hidden = norm.weight, norm.bias, x.shape[1]
        norm_kernel[(max_rows,)](
            out, x, gain, shift, index, count, hidden, norm.eps, **self._row_options(hidden)
        )

    def embed_prompt(
        self, out: Tensor, projected: Tensor, bias: Tensor, embeddings: tuple[Tensor, ...]
    ) -> None:
        """Write T2S inputs; ``embeddings``: phonemes, tokens, places and the two factors."""
        tables, hidden = self.tables, out.shape[1]
        embed_prompt_kernel[(self.bucket,)](
            out,
            tables.ids,
            tables.positions,
            tables.features,
            tables.num_tokens,
            projected,
            bias,
            *embeddings,
            hidden,
            **self._row_options(hidden),
        )

    def embed_characters(self, out: Tensor, embeddings: tuple[Tensor, ...]) -> None:
        """Write sums of BERT embeddings, float32; ``embeddings``: words, places, kinds."""
        tables, hidden = self.tables, out.shape[1]
        embed_characters_kernel[(self.bucket,)](
            out,
            tables.ids,
            tables.positions,
            tables.num_tokens,
            *embeddings,
            hidden,
            **self._row_options(hidden),
        )

    def _choose_tile(self, num_rows: int, num_columns: int, dtype: torch.dtype) -> Tile:
        """Choose a tile within the device's shared memory."""
        tile = choose_tile(num_rows, num_columns, dtype)
        turn_bytes = (tile.block_m + tile.block_n) * tile.block_k * dtype.itemsize
        return replace(tile, num_stages=self._limits.stages_that_fit(tile.num_stages, turn_bytes))

    def _tile_options(self, tile: Tile, depth: int) -> dict[str, Any]:
        return {
            "block_m": tile.block_m,
            "block_n": tile.block_n,
            "block_k": tile.block_k,
            "is_even": depth % tile.block_k == 0,
            "precision": "ieee",
            "num_warps": tile.num_warps,
            "num_stages": tile.num_stages,
            **self._options,
        }

    def _row_options(self, hidden: int) -> dict[str, Any]:
        return {"block_d": next_power_of_2(hidden), "num_warps": 4, **self._options}
