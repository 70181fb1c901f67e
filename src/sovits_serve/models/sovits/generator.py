"""The HiFi-GAN generator: latent frames to samples, and how far each sample looks.

Parameter names are upstream's, with weight norm folded.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sovits_serve.models.layers.padding import RowPadding
from sovits_serve.models.layers.time_convolution import TimeConvolution, TimeUpsampling
from sovits_serve.models.spec import SovitsDims

_SLOPE = 0.1
_LAST_SLOPE = 0.01  # torch's default, which upstream uses before the last convolution
_EDGE_KERNEL = 7


class ResidualBlock(nn.Module):
    """Three pairs of a dilated and a plain convolution, each pair with a residual.

    Source: GPT-SoVITS 48b1a01, module/modules.py, ResBlock1. Differs: zeroes behind each row's end.
    """

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            TimeConvolution(channels, channels, kernel_size, dilation=dilation)
            for dilation in dilations
        )
        self.convs2 = nn.ModuleList(
            TimeConvolution(channels, channels, kernel_size) for _ in dilations
        )

    def forward(self, x: Tensor, padding: RowPadding, rate: int) -> Tensor:
        """Map ``x`` (B, C, 1, T) to (B, C, 1, T); both are zero behind each row's end."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            hidden = dilated(functional.leaky_relu(x, _SLOPE))
            hidden = plain(padding.zero_(functional.leaky_relu_(hidden, _SLOPE), rate))
            x = padding.zero_(hidden.add_(x), rate)
        return x


class Generator(nn.Module):
    """Upsample latent frames to a waveform.

    Source: GPT-SoVITS 48b1a01, module/models.py, Generator. Differs: zeroes behind each row's end,
    adds the residual blocks in place, tanh in float32.
    """

    def __init__(self, dims: SovitsDims) -> None:
        super().__init__()
        _check(dims)
        self.rates = dims.upsample_rates
        self.num_kernels = len(dims.resblock_kernel_sizes)
        widths = [dims.upsample_initial_channels >> i for i in range(len(self.rates) + 1)]
        self.conv_pre = TimeConvolution(dims.inter_channels, widths[0], _EDGE_KERNEL)
        self.cond = nn.Conv1d(dims.style_dim, widths[0], 1)
        self.ups = nn.ModuleList(
            TimeUpsampling(widths[i], widths[i + 1], kernel, rate)
            for i, (rate, kernel) in enumerate(
                zip(self.rates, dims.upsample_kernel_sizes, strict=True)
            )
        )
        self.resblocks = nn.ModuleList(
            ResidualBlock(width, kernel, dilations)
            for width in widths[1:]
            for kernel, dilations in zip(
                dims.resblock_kernel_sizes, dims.resblock_dilation_sizes, strict=True
            )
        )
        self.conv_post = TimeConvolution(widths[-1], 1, _EDGE_KERNEL, bias=False)

    def forward(self, z: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        """Generate samples.

        Args:
            z: (B, inter, T) latent frames; what lies behind a row's end is not read.
            lengths: int64 (B), frames of each row.
            style: (B, D_style).

        Returns:
            float32 (B, T * samples_per_frame) in [-1, 1], zero behind each row's end.
        """
        padding = RowPadding(lengths, z.size(2), z.device)
        z = padding.zeroed(z).unsqueeze(2).contiguous(memory_format=torch.channels_last)
        condition = self.cond(style.unsqueeze(2)).unsqueeze(2)  # (B, C, 1, 1)
        x = padding.zero_(self.conv_pre(z).add_(condition))  # (B, C, 1, T)
        rate = 1
        for stage, upsample in enumerate(self.ups):
            rate *= self.rates[stage]
            x = padding.zero_(upsample(functional.leaky_relu_(x, _SLOPE)), rate)
            x = self._mean_of_blocks(stage, x, padding, rate)
        samples = self.conv_post(functional.leaky_relu_(x, _LAST_SLOPE))
        return padding.zero_(torch.tanh(samples.float()).flatten(1), rate)

    def _mean_of_blocks(self, stage: int, x: Tensor, padding: RowPadding, rate: int) -> Tensor:
        first, *others = self.resblocks[stage * self.num_kernels : (stage + 1) * self.num_kernels]
        total: Tensor = first(x, padding, rate)
        for block in others:
            total.add_(block(x, padding, rate))
        return total.div_(self.num_kernels)


def context_frames(dims: SovitsDims) -> int:
    """Return how many frames to either side of a frame its samples depend on, exactly.

    Walks from the samples of one frame back to the latent: a window with this many frames around
    it gives the same samples as the whole latent.
    """
    reach = max(
        sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations)
        for kernel, dilations in zip(
            dims.resblock_kernel_sizes, dims.resblock_dilation_sizes, strict=True
        )
    )
    edge = _EDGE_KERNEL // 2
    first, last = -edge, dims.samples_per_frame - 1 + edge
    for rate, kernel in zip(
        reversed(dims.upsample_rates), reversed(dims.upsample_kernel_sizes), strict=True
    ):
        padding = (kernel - rate) // 2
        first, last = first - reach, last + reach
        first, last = -((kernel - 1 - padding - first) // rate), (last + padding) // rate
    return max(edge - first, last + edge)


def _check(dims: SovitsDims) -> None:
    """Refuse dimensions under which a frame would not be ``samples_per_frame`` samples."""
    for rate, kernel in zip(dims.upsample_rates, dims.upsample_kernel_sizes, strict=True):
        if kernel < rate or (kernel - rate) % 2:
            raise ValueError(
                f"upsample kernel {kernel} does not fit rate {rate}: "
                "it must be as large or larger by an even number"
            )
    if any(kernel % 2 == 0 for kernel in dims.resblock_kernel_sizes):
        raise ValueError(f"resblock kernel sizes must be odd, not {dims.resblock_kernel_sizes}")
