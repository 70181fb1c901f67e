"""The HiFi-GAN generator on a CUDA device: 38 launches, and nothing between them.

The residual blocks of a stage differ only in their kernels, so they run side by side in each
launch; the last launch of a stage adds them up. See ``convolution`` for the layout.
"""

from typing import cast

import torch
from torch import Tensor, nn

from sovits_serve.models.cuda.convolution import (
    SLOPE,
    FusedConvolution,
    Tile,
    convolution_window,
    upsampling_window,
)
from sovits_serve.models.cuda.device import limits_of
from sovits_serve.models.cuda.generator_tiles import GeneratorTiles, tiles_of
from sovits_serve.models.sovits.generator import Generator, ResidualBlock

_LAST_SLOPE = 0.01  # of the activation before the last convolution


class FusedGenerator:
    """A generator's weights, packed, and the launches that run them.

    Holds a copy of all weights: 37 MB of v2 and 82 MB of v2ProPlus in half precision, where the
    generator's own are 29 and 68. A call allocates from torch's allocator by the shape of ``z``
    alone, at most eight activations at once: 0.16 MB per frame of v2 in half precision, 0.25 MB
    of v2ProPlus. It never waits for the device: once its kernels are compiled, which any call
    does, it can be captured in a graph.
    """

    def __init__(self, generator: Generator, tiles: GeneratorTiles | None = None) -> None:
        """Pack the weights of ``generator`` on its device and in its dtype.

        Args:
            generator: not referred to afterwards.
            tiles: in place of those measured for the dtype; they must fit the device.

        Raises:
            ValueError: the residual blocks of a stage differ in their dilations.
        """
        weight = generator.conv_pre.weight
        self.dtype = weight.dtype
        tiles = tiles or tiles_of(weight.dtype, limits_of(weight.device))
        condition, first, last = generator.cond, generator.conv_pre, generator.conv_post
        self._condition = FusedConvolution(
            [convolution_window(condition.weight, 1, 1)],
            [_bias(condition) + _bias(first)],
            tiles.condition,
            slope=1.0,
        )
        self._first = FusedConvolution([convolution_window(first.weight, 1, 1)], None, tiles.first)
        slopes = [SLOPE] * (len(generator.ups) - 1) + [_LAST_SLOPE]
        count = generator.num_kernels
        self._stages = [
            Stage(
                cast(nn.ConvTranspose1d, upsampling),
                [
                    cast(ResidualBlock, block)
                    for block in generator.resblocks[index * count : (index + 1) * count]
                ],
                tiles,
                slope,
            )
            for index, (upsampling, slope) in enumerate(zip(generator.ups, slopes, strict=True))
        ]
        self._last = FusedConvolution(
            [convolution_window(last.weight, 1, tiles.last.group)],
            [last.weight.new_zeros(1)],
            tiles.last,
            x_group=tiles.last.group,
            is_waveform=True,
        )

    def __call__(self, z: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        """Generate samples.

        Args:
            z: (B, inter, T) latent frames; what lies behind a row's end is not read.
            lengths: int32 or int64 (B) on the device of ``z``, frames of each row.
            style: (B, D_style).

        Returns:
            float32 (B, T * samples_per_frame) in [-1, 1], zero behind each row's end. A row is
            the same bits in every batch and with every T.
        """
        latent = z.to(self.dtype).transpose(1, 2).contiguous()  # (B, T, C)
        style = style.to(self.dtype).contiguous().unsqueeze(1)  # (B, 1, D)
        lengths = lengths.int()  # every dtype would have kernels of its own
        B, T, _ = latent.shape
        width = self._first.out_channels
        condition = latent.new_empty(B, 1, width, dtype=torch.float32)
        self._condition(condition, style, None)
        x = self._first(latent.new_empty(B, T, width), latent, lengths, condition=condition)
        rate = 1
        for stage in self._stages:
            x = stage(x, lengths, rate)
            rate *= stage.rate
        samples = x.new_empty(B, T * rate, 1, dtype=torch.float32)
        return self._last(samples, x, lengths, rate).squeeze(2)


class Stage:
    """One upsampling and the mean of its residual blocks."""

    def __init__(
        self,
        upsampling: nn.ConvTranspose1d,
        blocks: list[ResidualBlock],
        tiles: GeneratorTiles,
        slope: float,
    ) -> None:
        """Pack the weights; ``slope`` is of the activation of the result."""
        self.rate = upsampling.stride[0]
        self._channels = upsampling.out_channels
        self._num_blocks = len(blocks)
        self._upsample = upsampling_of(
            upsampling, tiles.upsampling.get(self._channels, tiles.other)
        )
        tile = tiles.blocks.get(self._channels, tiles.other)
        self._dilated = [side_by_side(pair, tile) for pair in _by_pair(blocks, "convs1")]
        *plain, last = _by_pair(blocks, "convs2")
        self._plain = [side_by_side(pair, tile) for pair in plain]
        self._sum = side_by_side(last, tile, is_sum=True, slope=slope)

    def __call__(self, x: Tensor, lengths: Tensor, rate: int) -> Tensor:
        """Map ``x`` (B, T, C_in) to (B, T * self.rate, C_out), both activated.

        ``rate`` is how many steps of ``x`` a frame has.
        """
        B, T, _ = x.shape
        start = x.new_empty(B, T * self.rate, self._channels)
        self._upsample(start, x, lengths, rate)
        rate *= self.rate
        hidden = x.new_empty(self._num_blocks, *start.shape)
        blocks = torch.empty_like(hidden) if self._plain else start
        state = start
        for dilated, plain in zip(self._dilated, self._plain, strict=False):
            dilated(hidden, state, lengths, rate)
            state = plain(blocks, hidden, lengths, rate, residual=state)
        self._dilated[-1](hidden, state, lengths, rate)
        return self._sum(start, hidden, lengths, rate, residual=state)


def upsampling_of(module: nn.ConvTranspose1d, tile: Tile) -> FusedConvolution:
    """Pack a transposed convolution."""
    window = upsampling_window(module.weight, module.stride[0], tile.group)
    return FusedConvolution([window], [_bias(module)], tile, x_group=tile.group)


def side_by_side(
    modules: list[nn.Conv1d], tile: Tile, *, is_sum: bool = False, slope: float = SLOPE
) -> FusedConvolution:
    """Pack convolutions that differ in their kernels only."""
    dilations = {module.dilation[0] for module in modules}
    if len(dilations) > 1:
        raise ValueError(f"residual blocks differ in their dilations: {sorted(dilations)}")
    dilation = dilations.pop()
    return FusedConvolution(
        [convolution_window(module.weight, dilation, tile.group) for module in modules],
        [_bias(module) for module in modules],
        tile,
        x_group=tile.group,
        dilation=dilation,
        is_sum=is_sum,
        slope=slope,
    )


def _by_pair(blocks: list[ResidualBlock], name: str) -> list[list[nn.Conv1d]]:
    """Return the convolutions of all blocks at each place of ``convs1`` or ``convs2``."""
    return [list(place) for place in zip(*(getattr(block, name) for block in blocks), strict=True)]


def _bias(module: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    """Return a module's bias in float32."""
    assert module.bias is not None
    return module.bias.float()
