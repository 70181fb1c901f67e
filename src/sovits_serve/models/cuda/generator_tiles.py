"""Tiles of the fused generator's convolutions: constants, measured with bench/generator_cuda.py.

They were measured on an H200; a device with less shared memory reads less far ahead.

A new tile changes speed and, through ``group`` and ``depth``, the order of additions; a row is
the same alone and in a batch with any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from sovits_serve.models.cuda.convolution import Tile
from sovits_serve.models.cuda.device import DeviceLimits


@dataclass(frozen=True)
class GeneratorTiles:
    """The tile of every convolution. Of upsampling, ``group`` counts inputs."""

    blocks: Mapping[int, Tile]  # by channels
    upsampling: Mapping[int, Tile]  # by output channels
    other: Tile  # of channels that are not in the tables
    condition: Tile
    first: Tile
    last: Tile


# What is no power of two fills 96 or 192 columns, as 64 + 32 or 128 + 64.
HALF = GeneratorTiles(
    blocks={
        256: Tile(group=1, rows=128, columns=128),
        128: Tile(group=1, rows=128, columns=128),
        64: Tile(group=2, rows=128, columns=128),
        32: Tile(group=4, rows=128, columns=128),
        16: Tile(group=8, rows=128, columns=128, depth=32, num_stages=4),
        384: Tile(group=1, rows=128, columns=128, rest=64, num_warps=8),
        192: Tile(group=1, rows=128, columns=128, rest=64, num_warps=8),
        96: Tile(group=2, rows=128, columns=128, rest=64, num_warps=8),
        48: Tile(group=4, rows=128, columns=128, rest=64, num_warps=8),
        24: Tile(group=4, rows=128, columns=64, rest=32, depth=32, num_stages=4),
    },
    upsampling={
        256: Tile(group=1, rows=64, columns=128),
        128: Tile(group=1, rows=128, columns=128),
        64: Tile(group=1, rows=128, columns=128),
        32: Tile(group=2, rows=128, columns=128),
        16: Tile(group=4, rows=128, columns=128),
        384: Tile(group=1, rows=64, columns=128),
        192: Tile(group=1, rows=128, columns=128),
        96: Tile(group=1, rows=128, columns=128, rest=64, num_warps=8),
        48: Tile(group=2, rows=128, columns=128, rest=64, num_warps=8),
        24: Tile(group=4, rows=128, columns=128, rest=64, num_warps=8),
    },
    other=Tile(group=2, rows=64, columns=32, depth=32),
    condition=Tile(group=1, rows=64, columns=64),
    first=Tile(group=1, rows=64, columns=128),
    last=Tile(group=16, rows=128, columns=16, depth=32, num_stages=4),
)

# No tensor core multiplies float32 exactly: small tiles, for tests rather than for speed.
_SINGLE_TILE = Tile(group=1, rows=32, columns=32, depth=16, num_stages=2)
SINGLE = GeneratorTiles(
    blocks={},
    upsampling={},
    other=_SINGLE_TILE,
    condition=_SINGLE_TILE,
    first=_SINGLE_TILE,
    last=Tile(group=16, rows=32, columns=16, depth=16, num_stages=2),
)


def tiles_of(dtype: torch.dtype, limits: DeviceLimits) -> GeneratorTiles:
    """Return the tiles of a dtype, within the shared memory of a device."""
    tiles = SINGLE if dtype is torch.float32 else HALF

    def fit(tile: Tile) -> Tile:
        turn_bytes = (tile.rows + tile.columns + tile.rest) * tile.depth * dtype.itemsize
        return replace(tile, num_stages=limits.stages_that_fit(tile.num_stages, turn_bytes))

    return GeneratorTiles(
        blocks={channels: fit(tile) for channels, tile in tiles.blocks.items()},
        upsampling={channels: fit(tile) for channels, tile in tiles.upsampling.items()},
        other=fit(tiles.other),
        condition=fit(tiles.condition),
        first=fit(tiles.first),
        last=fit(tiles.last),
    )
