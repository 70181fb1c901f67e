"""Token and position embeddings of the T2S model, under upstream's parameter names."""

import math

import torch
from torch import Tensor, nn

# Upstream's table has this many rows too; a cache longer than that cannot be positioned.
MAX_POSITIONS = 4000


class TokenEmbedding(nn.Module):
    """A lookup table."""

    def __init__(self, vocab_size: int, hidden: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, hidden)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of ``ids``, with a dimension D appended."""
        rows: Tensor = self.word_embeddings(ids)
        return rows


class PositionScale(nn.Module):
    """The learned factor of a sine position table."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(1))


def sine_positions(num_positions: int, hidden: int) -> Tensor:
    """Return the float32 table (num_positions, hidden): sine on even, cosine on odd channels.

    Always computed on the CPU, so that every device gets the same numbers.

    Source: GPT-SoVITS 48b1a01, AR/modules/embedding.py, SinePositionalEmbedding.extend_pe.
    """
    channels = torch.arange(0, hidden, 2, dtype=torch.float32, device="cpu")
    frequencies = (channels * -(math.log(10000.0) / hidden)).exp()
    positions = torch.arange(num_positions, dtype=torch.float32, device="cpu")
    angles = positions[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
