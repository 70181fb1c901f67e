"""The VITS transformer encoder: relative attention and convolutional feed-forward, post-norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sovits_serve.models.layers.padding import RowPadding
from sovits_serve.models.sovits.attention import RelativeAttention


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a channels-first sequence.

    Source: GPT-SoVITS 48b1a01, module/modules.py, LayerNorm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, C, T) over C."""
        normed = functional.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta)
        return normed.transpose(1, 2)


class FeedForward(nn.Module):
    """Two convolutions over time with a ReLU between them.

    Source: GPT-SoVITS 48b1a01, module/attentions.py, FFN with same padding.
    """

    def __init__(self, channels: int, filter_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, filter_channels, kernel_size, padding="same")
        self.conv_2 = nn.Conv1d(filter_channels, channels, kernel_size, padding="same")

    def forward(self, x: Tensor, padding: RowPadding) -> Tensor:
        """Map ``x`` (B, C, T), zero behind each row's end, to (B, C, T)."""
        hidden = padding.zero_(functional.relu_(self.conv_1(x)))
        out: Tensor = self.conv_2(hidden)
        return out


class Encoder(nn.Module):
    """A stack of relative attention and feed-forward blocks, each post-norm.

    Source: GPT-SoVITS 48b1a01, module/attentions.py, Encoder. Differs: no dropout, no conditioning.
    """

    def __init__(
        self,
        *,
        channels: int,
        filter_channels: int,
        num_heads: int,
        num_layers: int,
        kernel_size: int,
    ) -> None:
        super().__init__()
        layers = range(num_layers)
        self.attn_layers = nn.ModuleList(RelativeAttention(channels, num_heads) for _ in layers)
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(channels) for _ in layers)
        self.ffn_layers = nn.ModuleList(
            FeedForward(channels, filter_channels, kernel_size) for _ in layers
        )
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(channels) for _ in layers)

    def forward(self, x: Tensor, padding: RowPadding) -> Tensor:
        """Encode ``x`` (B, C, T) to (B, C, T), zero behind each row's end."""
        hidden_keys = padding.hidden_keys()
        for attention, norm_1, feed_forward, norm_2 in zip(
            self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True
        ):
            x = padding.zero_(norm_1(x + attention(x, x, hidden_keys)))
            x = norm_2(x + feed_forward(x, padding))
        return padding.zero_(x)
