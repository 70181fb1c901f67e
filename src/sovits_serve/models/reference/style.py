"""The style of a reference: one vector that conditions the decoder.

Made from a linear spectrogram and, for some versions, a speaker embedding, once per reference.
Knows no audio: spectrograms come in, vectors go out.
"""

import math

from torch import Tensor, nn
from torch.nn import functional

from sovits_serve.models.layers.padding import RowPadding
from sovits_serve.models.spec import ModelSpec, SovitsDims

_HIDDEN = 128
_KERNEL_SIZE = 5
_NUM_HEADS = 2
_TEXT_STYLE_DIM = 512  # what the text encoder takes, whatever the style's own width


class _Linear(nn.Module):
    """A linear layer one name deeper, as in checkpoints."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.fc = nn.Linear(num_in, num_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(x)
        return out


class _GatedConvolution(nn.Module):
    """A convolution over time, gated by half of its own output, with a residual.

    Source: GPT-SoVITS 48b1a01, module/modules.py, Conv1dGLU.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Module()
        self.conv1.conv = nn.Conv1d(channels, 2 * channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (B, C, T) to (B, C, T)."""
        convolved: Tensor = self.get_submodule("conv1.conv")(x)
        return functional.glu(convolved, dim=1).add_(x)


class _SelfAttention(nn.Module):
    """Two-headed attention with a residual.

    The temperature is the root of the model width, not of the head width.

    Source: GPT-SoVITS 48b1a01, module/modules.py, MultiHeadAttention.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.w_qs = nn.Linear(channels, channels)
        self.w_ks = nn.Linear(channels, channels)
        self.w_vs = nn.Linear(channels, channels)
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor, hidden_keys: Tensor | None) -> Tensor:
        """Map ``x`` (B, T, C) to (B, T, C)."""
        queries, keys, values = (
            projection(x).view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)
            for projection in (self.w_qs, self.w_ks, self.w_vs)
        )  # each (B, H, T, D)
        attended = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=None if hidden_keys is None else ~hidden_keys,
            scale=1 / math.sqrt(x.size(2)),
        )
        out: Tensor = self.fc(attended.transpose(1, 2).flatten(2))
        return out + x


class SpectrogramEncoder(nn.Module):
    """Summarise a linear spectrogram in one vector.

    Source: GPT-SoVITS 48b1a01, module/modules.py, MelStyleEncoder. Differs: batched with rows of
    different lengths; no dropout.
    """

    def __init__(self, num_bins: int, style_dim: int) -> None:
        super().__init__()
        # Positions 2 and 5 hold upstream's dropouts: only the numbering of the linears matters.
        self.spectral = nn.Sequential(
            _Linear(num_bins, _HIDDEN),
            nn.Mish(),
            nn.Identity(),
            _Linear(_HIDDEN, _HIDDEN),
            nn.Mish(),
        )
        self.temporal = nn.ModuleList(_GatedConvolution(_HIDDEN, _KERNEL_SIZE) for _ in range(2))
        self.slf_attn = _SelfAttention(_HIDDEN, _NUM_HEADS)
        self.fc = _Linear(_HIDDEN, style_dim)

    def forward(self, spectrogram: Tensor, lengths: Tensor) -> Tensor:
        """Return (B, D_style) for ``spectrogram`` (B, bins, T) with ``lengths`` int64 (B)."""
        padding = RowPadding(lengths, spectrogram.size(2), spectrogram.device)
        x = self.spectral(spectrogram.transpose(1, 2)).transpose(1, 2)  # (B, C, T)
        for convolution in self.temporal:
            x = convolution(padding.zero_(x))
        x = self.slf_attn(x.transpose(1, 2), padding.hidden_keys())  # (B, T, C)
        summed = padding.zero_(self.fc(x).float().transpose(1, 2)).sum(2)
        return (summed / lengths.to(summed.device)[:, None]).to(spectrogram.dtype)


class StyleEncoder(nn.Module):
    """Everything between a reference's features and the style that conditions the decoder.

    Source: GPT-SoVITS 48b1a01, module/models.py, SynthesizerTrn.decode (get_ge).
    """

    def __init__(self, spec: ModelSpec, dims: SovitsDims) -> None:
        super().__init__()
        self.num_bins = spec.style_bins
        self.ref_enc = SpectrogramEncoder(spec.style_bins, dims.style_dim)
        self.has_speaker_embedding = spec.has_speaker_embedding
        if spec.has_speaker_embedding:
            self.sv_emb = nn.Linear(dims.speaker_dim, dims.style_dim)
            self.prelu = nn.PReLU(dims.style_dim)
            self.ge_to512 = nn.Linear(dims.style_dim, _TEXT_STYLE_DIM)

    def forward(
        self, spectrogram: Tensor, lengths: Tensor, speaker_embedding: Tensor | None
    ) -> Tensor:
        """Return one style per reference.

        Args:
            spectrogram: (B, 1025, T) linear magnitudes, right-padded.
            lengths: int64 (B).
            speaker_embedding: (B, 20480) where the version has one, else None.

        Returns:
            (B, D_style).
        """
        style: Tensor = self.ref_enc(spectrogram[:, : self.num_bins], lengths)
        if not self.has_speaker_embedding:
            return style
        assert speaker_embedding is not None, "this version needs a speaker embedding"
        out: Tensor = self.prelu(style + self.sv_emb(speaker_embedding))
        return out

    def for_text(self, style: Tensor) -> Tensor:
        """Return ``style`` (B, D_style) in the width of the text encoder, (B, 512)."""
        if not self.has_speaker_embedding:
            return style
        out: Tensor = self.ge_to512(style)
        return out
