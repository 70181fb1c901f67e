"""Launches of the fused generator, stage by stage, with the tiles worth a try.

What ``generator_cuda.py`` compiles in several processes and measures in one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch

from sovits_serve.models.cuda.convolution import FusedConvolution, Tile, convolution_window
from sovits_serve.models.cuda.generator import Stage
from sovits_serve.models.cuda.generator_tiles import GeneratorTiles
from sovits_serve.models.layers.time_convolution import TimeUpsampling
from sovits_serve.models.sovits.generator import ResidualBlock
from sovits_serve.models.spec import SovitsDims

DEVICE = "cuda"
KERNELS = (3, 7, 11)
KINDS = {"dilated": 3, "plain": 2, "sum": 1}  # launches of each in one stage
STEPS_PER_FRAME = (10, 80, 160, 320, 640)


def dims(channels: int, first_kernel: int, style: int) -> SovitsDims:
    """Return the dimensions of a generator; what it does not read is 0."""
    return SovitsDims(
        inter_channels=192,
        hidden_channels=0,
        filter_channels=0,
        num_heads=0,
        num_layers=0,
        kernel_size=0,
        style_dim=style,
        num_symbols=0,
        upsample_rates=(10, 8, 2, 2, 2),
        upsample_kernel_sizes=(first_kernel, 16, 8, 2, 2),
        upsample_initial_channels=channels,
        resblock_kernel_sizes=KERNELS,
        resblock_dilation_sizes=((1, 3, 5),) * 3,
    )


DIMS = {"v2": dims(512, 16, 512), "v2ProPlus": dims(768, 20, 1024)}

# Beside the tile in the table.
CANDIDATES = {
    256: [
        Tile(1, 128, 128, 128, num_warps=8),
        Tile(1, 256, 128, num_warps=8, num_stages=4),
        Tile(1, 128, 256, num_warps=8, num_stages=4),
        Tile(1, 128, 128, num_stages=2, through_l1=True),
    ],
    128: [
        Tile(1, 256, 128, num_warps=8, num_stages=4),
        Tile(2, 128, 128, 128, num_warps=8),
        Tile(1, 128, 128, num_stages=2, through_l1=True),
        Tile(1, 128, 128, depth=32, num_stages=4),
    ],
    64: [
        Tile(2, 256, 128, num_warps=8),
        Tile(1, 128, 64, num_stages=4),
        Tile(1, 256, 64, num_warps=8),
        Tile(2, 128, 128, num_stages=2, through_l1=True),
    ],
    32: [
        Tile(4, 256, 128, num_warps=8),
        Tile(2, 128, 64, num_stages=4),
        Tile(2, 256, 64, num_warps=8),
        Tile(4, 128, 128, num_stages=2, through_l1=True),
    ],
    16: [
        Tile(4, 128, 64, depth=32, num_stages=4),
        Tile(4, 256, 64, depth=32, num_warps=8, num_stages=4),
        Tile(8, 256, 128, depth=32, num_warps=8, num_stages=4),
        Tile(4, 128, 64, num_stages=2, through_l1=True),
    ],
    384: [
        Tile(1, 128, 128, 64, num_warps=8, num_stages=4),
        Tile(1, 128, 128),
        Tile(1, 256, 128, num_warps=8),
    ],
    192: [
        Tile(1, 128, 128, 64, num_warps=8, num_stages=4),
        Tile(1, 128, 64, 32, num_stages=3),
        Tile(1, 128, 64, 32, num_stages=2, through_l1=True),
    ],
    96: [
        Tile(1, 128, 64, 32, num_stages=3),
        Tile(1, 256, 64, 32, depth=32, num_warps=8, num_stages=4),
        Tile(1, 128, 64, 32, num_stages=2, through_l1=True),
    ],
    48: [
        Tile(2, 128, 64, 32, num_stages=3),
        Tile(2, 256, 64, 32, num_warps=8),
        Tile(2, 128, 64, 32, num_stages=2, through_l1=True),
    ],
    24: [
        Tile(8, 128, 128, 64, depth=32, num_warps=8, num_stages=4),
        Tile(4, 256, 64, 32, depth=32, num_warps=8, num_stages=4),
        Tile(2, 128, 32, 16, depth=32, num_stages=4),
    ],
}


@dataclass(frozen=True)
class Job:
    """Launches of one stage with one tile."""

    channels: int
    tile: Tile
    batch: int
    steps: int

    def compile(self) -> None:
        """Launch everything once, on little."""
        with torch.inference_mode():
            for _, launch in replace(self, batch=1, steps=64).launches():
                launch()
            torch.cuda.synchronize()

    def launches(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield one launch of each kind, with buffers of its own."""
        shape = (len(KERNELS), self.batch, self.steps, self.channels)
        hidden = torch.randn(shape, device=DEVICE, dtype=torch.float16)
        blocks = torch.randn(shape, device=DEVICE, dtype=torch.float16).mul_(0.1)
        total = torch.empty_like(blocks[0])
        lengths = torch.full((self.batch,), self.steps, device=DEVICE, dtype=torch.int32)
        dilated, plain, last = self._convolve(3), self._convolve(1), self._convolve(1, is_sum=True)
        yield "dilated", lambda: dilated(hidden, blocks, lengths)
        yield "plain", lambda: plain(blocks, hidden, lengths, residual=blocks)
        yield "sum", lambda: last(total, hidden, lengths, residual=blocks)

    def _convolve(self, dilation: int, *, is_sum: bool = False) -> FusedConvolution:
        size, tile = self.channels, self.tile
        weights = [
            torch.randn(size, size, kernel, device=DEVICE).div_((size * kernel) ** 0.5 * 4).half()
            for kernel in KERNELS
        ]
        return FusedConvolution(
            [convolution_window(weight, dilation, tile.group) for weight in weights],
            [torch.zeros(size, device=DEVICE) for _ in KERNELS],
            tile,
            x_group=tile.group,
            dilation=dilation,
            is_sum=is_sum,
        )

    def figures(self, kind: str, seconds: float) -> tuple[float, float]:
        """Return TFLOP/s of the convolution as such, and GB/s of activations."""
        elements = self.batch * self.steps * self.channels
        tensors = {"dilated": 6, "plain": 9, "sum": 7}[kind]
        flops = 2 * elements * self.channels * sum(KERNELS)
        return flops / seconds / 1e12, 2 * tensors * elements / seconds / 1e9


@dataclass(frozen=True)
class StageJob:
    """One stage of a whole generator, to be compiled."""

    version: str
    stage: int
    tiles: GeneratorTiles

    def compile(self) -> None:
        """Run the stage once, on little."""
        size, stage = DIMS[self.version], self.stage
        channels = size.upsample_initial_channels >> stage
        rate, kernel = size.upsample_rates[stage], size.upsample_kernel_sizes[stage]
        half = {"device": DEVICE, "dtype": torch.float16}
        with torch.inference_mode():
            upsampling = TimeUpsampling(channels, channels // 2, kernel, rate).to(**half)
            blocks = [ResidualBlock(channels // 2, k, (1, 3, 5)).to(**half) for k in KERNELS]
            x = torch.zeros(1, 8, channels, **half)
            Stage(upsampling, blocks, self.tiles, 0.1)(
                x, torch.tensor([8], device=DEVICE, dtype=torch.int32), 1
            )
            torch.cuda.synchronize()


def compile_job(job: "Job | StageJob") -> None:
    """Fill Triton's cache; another process then finds the kernels there."""
    job.compile()


def short(tile: Tile) -> str:
    """Return a tile as its fields that are not the default."""
    shown = [
        f"{field.name}={getattr(tile, field.name)}"
        for field in fields(tile)
        if getattr(tile, field.name) != field.default
    ]
    return " ".join(shown)
