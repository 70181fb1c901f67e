"""The gated convolution stack of VITS: dilation 1, conditioned on a global style vector.

Used by the flow and, for the versions that have it, by the mel bridge. Parameter names are
upstream's, with weight norm folded.
"""

import torch
from torch import Tensor, nn

from sovits_serve.models.layers.padding import RowPadding


class WaveNet(nn.Module):
    """Gated convolutions whose residuals feed the next layer and whose skips are summed.

    Source: GPT-SoVITS 48b1a01, module/modules.py, WN. Differs: no dropout, no weight norm at run
    time.
    """

    def __init__(
        self, hidden_channels: int, kernel_size: int, num_layers: int, style_dim: int
    ) -> None:
        super().__init__()
        wide = 2 * hidden_channels
        self.cond_layer = nn.Conv1d(style_dim, wide * num_layers, 1)
        self.in_layers = nn.ModuleList(
            nn.Conv1d(hidden_channels, wide, kernel_size, padding=kernel_size // 2)
            for _ in range(num_layers)
        )
        self.res_skip_layers = nn.ModuleList(
            nn.Conv1d(hidden_channels, wide if layer < num_layers - 1 else hidden_channels, 1)
            for layer in range(num_layers)
        )

    def forward(self, x: Tensor, padding: RowPadding, style: Tensor) -> Tensor:
        """Run the stack.

        Args:
            x: (B, hidden, T), zero behind each row's end.
            padding: where the rows of ``x`` end.
            style: (B, D_style, 1).

        Returns:
            (B, hidden, T), zero behind each row's end.
        """
        conditions = self.cond_layer(style).chunk(len(self.in_layers), dim=1)
        skip: Tensor | None = None
        for layer, (convolution, condition) in enumerate(
            zip(self.in_layers, conditions, strict=True)
        ):
            out = self.res_skip_layers[layer](_gate(convolution(x).add_(condition)))
            if layer < len(self.in_layers) - 1:
                residual, out = out.chunk(2, dim=1)
                x = padding.zero_(x + residual)
            skip = out if skip is None else skip + out
        assert skip is not None
        return padding.zero_(skip)


def _gate(x: Tensor) -> Tensor:
    """Multiply tanh of the first half of the channels by the sigmoid of the second."""
    signal, gate = x.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(gate)
