"""Convolutions over time with channels last, each one launch with all that surrounds it.

Activations are (B, T, C), contiguous, and stored as the next convolution reads them: already
through its leaky ReLU, which a residual undoes again. What lies behind a row's end is neither read
nor written. Tiles are constants of a convolution, never chosen by the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sovits_serve.models.cuda.convolution_kernel import convolution_kernel

SLOPE = 0.1  # of every activation that a residual undoes


@dataclass(frozen=True)
class Tile:
    """How the work of a convolution is cut; all sizes but ``group`` are powers of two.

    ``group`` outputs in a row come from one window of inputs: the weights of ``group`` shifted
    copies stand side by side, with zeros between. It costs (kernel + group - 1) / kernel times the
    arithmetic, reads each input that much less often, and makes few channels a wide product.
    """

    group: int
    rows: int  # windows of one program
    columns: int  # (output, channel) pairs of one program
    rest: int = 0  # further columns, so that 96 is 64 + 32; 0 or at least 16
    depth: int = 64  # (step, channel) pairs of one turn of the loop
    num_warps: int = 4
    num_stages: int = 3
    through_l1: bool = False  # load inputs by way of L1, in half as large pieces


@dataclass(frozen=True)
class Window:
    """What one row of the product reads, and with which weights.

    ``weight`` is (steps, C_in, outputs, C_out). Step 0 is ``first`` steps from the window's base.
    """

    weight: Tensor
    first: int


def convolution_window(weight: Tensor, dilation: int, group: int) -> Window:
    """Lay out ``weight`` (C_out, C_in, kernel) for ``group`` outputs, ``dilation`` steps apart."""
    kernel = weight.size(2)
    steps = weight.new_zeros(kernel + group - 1, weight.size(1), group, weight.size(0))
    for output in range(group):
        steps[output : output + kernel, :, output] = weight.permute(2, 1, 0)
    return Window(steps, -(kernel - 1) // 2 * dilation)


def upsampling_window(weight: Tensor, rate: int, group: int) -> Window:
    """Lay out a transposed convolution's ``weight`` (C_in, C_out, kernel).

    A window is ``group`` inputs with what surrounds them; its outputs are ``rate * group``.
    """
    kernel, padding = weight.size(2), (weight.size(2) - rate) // 2
    outputs = rate * group
    first = -((kernel - 1 - padding) // rate)
    last = (outputs - 1 + padding) // rate
    steps = weight.new_zeros(last - first + 1, weight.size(0), outputs, weight.size(1))
    for output in range(outputs):
        for step in range(first, last + 1):
            tap = output + padding - step * rate
            if 0 <= tap < kernel:
                steps[step - first, :, output] = weight[:, :, tap]
    return Window(steps, first)


class FusedConvolution:
    """One or several convolutions of the same shape but for the kernel, as one launch.

    ``y = activation((convolution(x) + bias + residual) * scale)``, where the activation is a leaky
    ReLU. Several (``sources``) read and write tensors with a leading dimension, or write their sum.
    Weights are packed once: ``group`` times (kernel + group - 1) / kernel of what they were.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        biases: Sequence[Tensor] | None,
        tile: Tile,
        *,
        x_group: int = 1,
        dilation: int = 1,
        is_sum: bool = False,
        is_waveform: bool = False,
        slope: float = SLOPE,
    ) -> None:
        """Pack the weights.

        Args:
            windows: of each source; they differ in steps only.
            biases: (C_out) of each source; none where every call brings a ``condition``.
            tile: see there.
            x_group: input steps from one window to the next.
            dilation: steps between the taps.
            is_sum: the outputs of all sources are added up, and divided by their number.
            is_waveform: ``y`` gets tanh in place of the activation, and zeros behind each row's end.
            slope: of the activation of the output.
        """
        _, channels, outputs, out_channels = windows[0].weight.shape
        self._tile = tile
        self.out_channels = out_channels
        self._x_group = x_group
        self._outputs = outputs
        width, tile_width = outputs * out_channels, tile.columns + tile.rest
        padded_width = -(-width // tile_width) * tile_width
        packed = [pack(window, tile.depth, padded_width) for window in windows]
        chunks = [0]
        for weight in packed:
            chunks.append(chunks[-1] + weight.size(0) // tile.depth)
        self.weight = torch.cat(packed)  # (chunks * depth, padded_width)
        self.bias = _bias(biases, outputs, is_sum, self.weight)
        self.scale = 1.0 / len(windows) if is_sum else 1.0
        self.slope = slope
        self._dilation = dilation
        self._column_tiles = padded_width // tile_width
        self._sources = 1 if is_sum else len(windows)
        self._constants = {
            "x_channels": channels,
            "y_channels": out_channels,
            "x_group": x_group,
            "y_group": outputs,
            "dilation": dilation,
            "firsts": tuple(window.first for window in windows),
            "chunks": tuple(chunks),
            "width": width,
            "padded_width": padded_width,
            "is_sum": is_sum,
            "is_waveform": is_waveform,
            "rows": tile.rows,
            "columns": tile.columns,
            "rest": tile.rest,
            "depth": tile.depth,
            "through_l1": tile.through_l1,
            "num_warps": tile.num_warps,
            "num_stages": tile.num_stages,
        }

    def __call__(
        self,
        y: Tensor,
        x: Tensor,
        lengths: Tensor | None,
        rate: int = 1,
        *,
        residual: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """Fill ``y`` and return it.

        Args:
            y: (B, T * outputs / x_group, C_out), or (sources, B, ...) with several.
            x: (B, T, C_in), read by all sources, or (sources, B, T, C_in).
            lengths: int (B) on the device, or None where all rows are whole.
            rate: steps of ``x`` per unit of length.
            residual: as ``y``, or (B, ...) for all sources, or (sources, B, ...) to a sum; through
                a leaky ReLU with ``SLOPE``. It may be ``y``.
            condition: float32 (B, width) in place of the bias.
        """
        tile, x_steps, y_steps = self._tile, x.size(-2), y.size(-2)
        span = self._x_group * self._dilation
        windows = -(-x_steps // span) * self._dilation
        num_tiles = -(-windows // tile.rows) * self._column_tiles
        bias = self.bias if condition is None else condition
        convolution_kernel[(num_tiles, y.size(-3), self._sources)](
            y,
            x,
            self.weight,
            bias,
            y if residual is None else residual,
            bias if lengths is None else lengths,
            x_steps,
            y_steps,
            rate,
            rate * self._outputs // self._x_group,
            self.scale,
            self.slope,
            1.0 / SLOPE,
            x_is_shared=x.dim() == 3,
            has_residual=residual is not None,
            residual_is_shared=residual is not None and residual.dim() == 3,
            has_condition=condition is not None,
            has_lengths=lengths is not None,
            **self._constants,
        )
        return y


def pack(window: Window, depth: int, padded_width: int) -> Tensor:
    """Return a window's weights as a matrix, (step, C_in) by (output, C_out), padded with zeros."""
    matrix = window.weight.flatten(2).flatten(0, 1)
    rows, width = matrix.shape
    return functional.pad(matrix, (0, padded_width - width, 0, -rows % depth))


def _bias(biases: Sequence[Tensor] | None, outputs: int, is_sum: bool, weight: Tensor) -> Tensor:
    """Return float32 (sources, outputs * C_out)."""
    if biases is None:
        return torch.zeros(1, dtype=torch.float32, device=weight.device)
    table = torch.stack([bias.float() for bias in biases])
    if is_sum:
        table = table.sum(0, keepdim=True)
    return table.repeat(1, outputs)
