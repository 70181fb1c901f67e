"""The normalising flow of VITS, run backwards: from the text encoder's latent to the generator's."""

import torch
from torch import Tensor, nn

from sovits_serve.models.layers.padding import RowPadding
from sovits_serve.models.layers.wavenet import WaveNet

_NUM_COUPLINGS = 4
_KERNEL_SIZE = 5
_NUM_LAYERS = 4


class Coupling(nn.Module):
    """Shift one half of the channels by a function of the other.

    Source: GPT-SoVITS 48b1a01, module/modules.py, ResidualCouplingLayer, mean only. Differs: only
    the reverse direction.
    """

    def __init__(self, channels: int, hidden_channels: int, style_dim: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(channels // 2, hidden_channels, 1)
        self.enc = WaveNet(hidden_channels, _KERNEL_SIZE, _NUM_LAYERS, style_dim)
        self.post = nn.Conv1d(hidden_channels, channels // 2, 1)

    def forward(self, x: Tensor, padding: RowPadding, style: Tensor) -> Tensor:
        """Undo the shift in ``x`` (B, channels, T); ``style`` is (B, D_style, 1)."""
        kept, shifted = x.chunk(2, dim=1)
        hidden = self.enc(padding.zero_(self.pre(kept)), padding, style)
        return torch.cat([kept, padding.zero_(shifted - self.post(hidden))], dim=1)


class Flow(nn.Module):
    """Four couplings with the channel order reversed before each.

    Source: GPT-SoVITS 48b1a01, module/models.py, ResidualCouplingBlock, with reverse=True.
    """

    def __init__(self, channels: int, hidden_channels: int, style_dim: int) -> None:
        super().__init__()
        # Upstream's odd entries reverse the channels and hold no weights: identities keep its
        # numbering of the couplings.
        self.flows = nn.ModuleList(
            Coupling(channels, hidden_channels, style_dim) if index % 2 == 0 else nn.Identity()
            for index in range(2 * _NUM_COUPLINGS)
        )

    def forward(self, z: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        """Turn ``z`` (B, channels, T) into the generator's latent, zero behind each row's end.

        ``lengths`` is int64 (B) in frames, ``style`` (B, D_style).
        """
        padding = RowPadding(lengths, z.size(2), z.device)
        z = padding.zeroed(z)
        for coupling in reversed(self.flows[::2]):
            z = coupling(z.flip(1), padding, style.unsqueeze(2))
        return z
