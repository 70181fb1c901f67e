"""Semantic tokens and target phonemes to the mean and log deviation of the latent.

The stages are separate methods, because a streaming decode works on the result of one before the
next one runs. Lengths are in frames (50 Hz) unless a name says tokens (25 Hz).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sovits_serve.models.layers.padding import RowPadding
from sovits_serve.models.sovits.attention import CrossAttention
from sovits_serve.models.sovits.encoder import Encoder
from sovits_serve.models.spec import SovitsDims

MRTE_CHANNELS = 512
_MRTE_HEADS = 4


@dataclass(frozen=True)
class EncodedFrames:
    """What the text encoder knows of every frame, and the stages that led there.

    All tensors are zero behind each row's end except ``mrte``.
    """

    ssl: Tensor  # (B, hidden, T)
    text: Tensor  # (B, hidden, T_ph)
    mrte: Tensor  # (B, hidden, T)
    x: Tensor  # (B, hidden, T)
    lengths: Tensor  # int64 (B), in frames


class TextMixer(nn.Module):
    """Let every frame look at the phonemes, and add the style.

    Source: GPT-SoVITS 48b1a01, module/mrte_model.py, MRTE.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cross_attention = CrossAttention(MRTE_CHANNELS, _MRTE_HEADS)
        self.c_pre = nn.Conv1d(channels, MRTE_CHANNELS, 1)
        self.text_pre = nn.Conv1d(channels, MRTE_CHANNELS, 1)
        self.c_post = nn.Conv1d(MRTE_CHANNELS, channels, 1)

    def forward(self, ssl: Tensor, text: Tensor, text_padding: RowPadding, style: Tensor) -> Tensor:
        """Mix ``text`` (B, C, T_ph) and ``style`` (B, 512, 1) into ``ssl`` (B, C, T)."""
        frames = self.c_pre(ssl)  # (B, 512, T)
        attended = self.cross_attention(frames, self.text_pre(text), text_padding.hidden_keys())
        out: Tensor = self.c_post(attended.add_(frames).add_(style))
        return out


class TextEncoder(nn.Module):
    """Encode tokens and phonemes; stretch by speed; project to a distribution per frame.

    Source: GPT-SoVITS 48b1a01, module/models.py, TextEncoder. Differs: batched with rows of
    different lengths and speeds; the streaming branches are left to the caller.
    """

    def __init__(self, dims: SovitsDims) -> None:
        super().__init__()
        self.ssl_proj = nn.Conv1d(dims.ssl_dim, dims.hidden_channels, 1)
        self.encoder_ssl = _encoder(dims, dims.num_layers // 2)
        self.encoder_text = _encoder(dims, dims.num_layers)
        self.text_embedding = nn.Embedding(dims.num_symbols, dims.hidden_channels)
        self.mrte = TextMixer(dims.hidden_channels)
        self.encoder2 = _encoder(dims, dims.num_layers // 2)
        self.proj = nn.Conv1d(dims.hidden_channels, 2 * dims.inter_channels, 1)

    def forward(
        self,
        quantized: Tensor,
        lengths: Tensor,
        phone_ids: Tensor,
        phone_lengths: Tensor,
        style: Tensor,
    ) -> EncodedFrames:
        """Encode frames before any change of speed.

        Args:
            quantized: (B, ssl_dim, T), codebook vectors at frame rate.
            lengths: int64 (B), frames of each row.
            phone_ids: int64 (B, T_ph), the target phonemes only.
            phone_lengths: int64 (B).
            style: (B, 512), the style as the text encoder takes it.

        Returns:
            The frames and the stages before them.
        """
        padding = RowPadding(lengths, quantized.size(2), quantized.device)
        text_padding = RowPadding(phone_lengths, phone_ids.size(1), quantized.device)
        ssl = self.encoder_ssl(padding.zero_(self.ssl_proj(quantized)), padding)
        embedded = self.text_embedding(phone_ids).transpose(1, 2)  # (B, hidden, T_ph)
        text = self.encoder_text(text_padding.zero_(embedded), text_padding)
        mixed = self.mrte(ssl, text, text_padding, style.unsqueeze(2))
        x = self.encoder2(padding.zeroed(mixed), padding)
        return EncodedFrames(ssl, text, mixed, x, lengths)

    def project(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log deviation (B, inter, T) of frames ``x`` (B, hidden, T)."""
        padding = RowPadding(lengths, x.size(2), x.device)
        mean, log_deviation = padding.zero_(self.proj(x)).chunk(2, dim=1)
        return mean, log_deviation


def stretched_length(num_frames: int, speed: float) -> int:
    """Return how many frames ``num_frames`` become at ``speed``.

    Source: GPT-SoVITS 48b1a01, module/models.py, TextEncoder.forward: one frame more than the
    quotient, except at speed 1.
    """
    return num_frames if speed == 1 else int(num_frames / speed) + 1


def apply_speed(x: Tensor, lengths: Tensor, speeds: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Stretch each row of ``x`` (B, hidden, T) over time by linear interpolation.

    Args:
        x: frames; what lies behind a row's end is not read.
        lengths: int64 (B), frames of each row. Read back to the host unless all speeds are 1.
        speeds: one per row; 1 leaves the row exactly as it is.

    Returns:
        The stretched frames (B, hidden, T_new), zero behind each row's end, and their lengths.
    """
    if all(speed == 1 for speed in speeds):
        return x, lengths
    rows = list(zip(lengths.tolist(), speeds, strict=True))
    new_lengths = [stretched_length(length, speed) for length, speed in rows]
    out = x.new_zeros(*x.shape[:2], max(new_lengths))
    for row, (length, speed) in enumerate(rows):
        frames = x[row : row + 1, :, :length]
        if speed != 1:
            frames = functional.interpolate(frames, size=new_lengths[row], mode="linear")
        out[row, :, : new_lengths[row]] = frames[0]
    return out, torch.tensor(new_lengths, device=lengths.device)


def _encoder(dims: SovitsDims, num_layers: int) -> Encoder:
    return Encoder(
        channels=dims.hidden_channels,
        filter_channels=dims.filter_channels,
        num_heads=dims.num_heads,
        num_layers=num_layers,
        kernel_size=dims.kernel_size,
    )
