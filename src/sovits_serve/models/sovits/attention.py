"""Multi-head attention over channels-first sequences, with or without relative positions.

Both kinds work through the queries in blocks, so that the score matrix of a long row never has to
exist as a whole. Parameter names are upstream's (1x1 convolutions as projections).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW = 4  # relative positions -4..4 have an embedding, all others none
_QUERY_BLOCK = 1024  # rows of the score matrix alive at once


class CrossAttention(nn.Module):
    """Attend from one sequence to another.

    Source: GPT-SoVITS 48b1a01, module/attentions.py, MultiHeadAttention. Differs: masks keys only
    (padded queries compute something the caller zeroes), works in blocks of queries.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, memory: Tensor, hidden_keys: Tensor | None) -> Tensor:
        """Attend from ``x`` (B, C, T) to ``memory`` (B, C, T_key).

        Args:
            x: queries.
            memory: keys and values.
            hidden_keys: bool (B, 1, 1, T_key), true where nothing may look; None hides nothing.

        Returns:
            (B, C, T).
        """
        queries = self._split_heads(self.conv_q(x)) / math.sqrt(x.size(1) // self.num_heads)
        keys = self._split_heads(self.conv_k(memory))
        values = self._split_heads(self.conv_v(memory))
        blocks = [
            self._attend(queries, keys, values, hidden_keys, start)
            for start in range(0, queries.size(2), _QUERY_BLOCK)
        ]
        out = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)  # (B, H, T, D)
        projected: Tensor = self.conv_o(out.transpose(2, 3).reshape(x.shape))
        return projected

    def _attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None, start: int
    ) -> Tensor:
        """Attend from the block of queries (B, H, T, D) that begins at ``start``."""
        block = queries[:, :, start : start + _QUERY_BLOCK]
        scores = block @ keys.transpose(2, 3)  # (B, H, block, T_key)
        return _softmax(scores, hidden) @ values

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), self.num_heads, -1, x.size(2)).transpose(2, 3)  # (B, H, T, D)


class RelativeAttention(CrossAttention):
    """Attend within a sequence, with learned embeddings for the nearest relative positions.

    Source: GPT-SoVITS 48b1a01, module/attentions.py, MultiHeadAttention with window_size 4.
    Differs: the nine embedded diagonals are added to the scores and read from the weights by
    index; upstream pads and reshapes matrices of T x 2T.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__(channels, num_heads)
        shape = (1, 2 * WINDOW + 1, channels // num_heads)
        self.emb_rel_k = nn.Parameter(torch.zeros(shape))
        self.emb_rel_v = nn.Parameter(torch.zeros(shape))

    def _attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None, start: int
    ) -> Tensor:
        block = queries[:, :, start : start + _QUERY_BLOCK]
        scores = block @ keys.transpose(2, 3)  # (B, H, block, T)
        columns, is_inside = _near_columns(start, scores)
        near = (block @ self.emb_rel_k.transpose(1, 2)).mul_(is_inside)  # (B, H, block, 9)
        scores.scatter_add_(3, columns, near)
        weights = _softmax(scores, hidden)
        near = weights.gather(3, columns).mul_(is_inside)
        return (weights @ values).add_(near @ self.emb_rel_v)


def _near_columns(start: int, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the nine near keys of each query are, and 1 or 0 for inside the sequence.

    Positions outside are clamped to an edge and carry 0, so that they add nothing there.
    """
    num_queries, num_keys = scores.shape[2:]
    queries = torch.arange(start, start + num_queries, device=scores.device)
    columns = queries[:, None] + torch.arange(-WINDOW, WINDOW + 1, device=scores.device)
    is_inside = ((columns >= 0) & (columns < num_keys)).to(scores.dtype)
    columns = columns.clamp_(0, num_keys - 1)
    return columns.expand(*scores.shape[:2], -1, -1), is_inside


def _softmax(scores: Tensor, hidden: Tensor | None) -> Tensor:
    """Return attention weights; hidden keys weigh exactly zero."""
    if hidden is not None:
        scores = scores.masked_fill_(hidden, torch.finfo(scores.dtype).min)
    return functional.softmax(scores, dim=-1)
