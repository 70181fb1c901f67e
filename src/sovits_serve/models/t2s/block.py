"""One transformer layer of the T2S model: post-norm, ReLU, fused projection of q, k and v."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sovits_serve.models.t2s.attention import StepView, attend_step, write_step
from sovits_serve.models.t2s.int8 import Int8Linear

LAYER_NORM_EPS = 1e-5


class _Step(NamedTuple):
    """What a layer computes with."""

    # To queries, keys and values; out of attention; to the wide layer and back.
    linears: tuple[Callable[[Tensor], Tensor], ...]
    norm1: tuple[Tensor, Tensor]
    norm2: tuple[Tensor, Tensor]


class SelfAttention(nn.Module):
    """The projections of one attention, under upstream's parameter names."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * hidden))
        self.out_proj = nn.Linear(hidden, hidden)


class T2SBlock(nn.Module):
    """Compute ``x = norm1(x + attention(x)); x = norm2(x + feed_forward(x))``.

    Source: GPT-SoVITS 48b1a01, AR/models/t2s_model.py, T2SBlock. Differs: reads and writes a
    slot cache in place. It computes with functions on the parameters themselves: at one token a
    step, calling modules takes as long as much of the arithmetic.
    """

    _step: _Step | None = None  # made when first needed: parameters come after construction

    def __init__(self, hidden: int, num_heads: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.num_heads = num_heads
        self.self_attn = SelfAttention(hidden)
        self.linear1 = nn.Linear(hidden, 4 * hidden)
        self.linear2 = nn.Linear(4 * hidden, hidden)
        self.norm1 = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        self.norm2 = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)

    def project_prompt(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries (B, H, T, D_head) and keys with values (B, 2, H, T, D_head)."""
        batch, length, _ = x.shape
        project = self._ready().linears[0]
        qkv = project(x.view(batch * length, -1))
        qkv = qkv.view(batch, length, 3, self.num_heads, -1).permute(0, 2, 3, 1, 4)
        return qkv[:, 0], qkv[:, 1:]

    def attend_prompt(
        self, x: Tensor, query: Tensor, keys_values: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Finish the layer for whole rows (B, T, D), given ``project_prompt``'s results."""
        attended = F.scaled_dot_product_attention(
            query, keys_values[:, 0], keys_values[:, 1], attn_mask=mask
        )  # (B, H, T, D_head)
        rows = x.view(-1, self.hidden)
        return self._finish(rows, attended.transpose(1, 2).reshape(rows.shape)).view(x.shape)

    def use_int8(self) -> int:
        """Compute with 8-bit weights from now on, and return how many bytes they take.

        The weights that they stand for are let go.
        """
        linears = [Int8Linear(weight, bias) for weight, bias in self._linears()]
        self._step = self._make_step(tuple(linears))
        attention = self.self_attn
        for module in (attention.out_proj, self.linear1, self.linear2):
            module.weight.data = module.weight.new_empty(0)
        attention.in_proj_weight.data = attention.in_proj_weight.new_empty(0)
        return sum(linear.size_bytes for linear in linears)

    def decode(self, x: Tensor, layer: Tensor, view: StepView) -> Tensor:
        """Run the layer for one token per row (B, D), appending to the cache layer in place."""
        batch, hidden = x.shape[0], self.hidden
        qkv = self._ready().linears[0](x)
        write_step(layer, view, qkv[:, hidden:])
        query = qkv[:, :hidden].view(batch, self.num_heads, 1, -1)
        return self._finish(x, attend_step(layer, view, query).reshape(batch, hidden))

    def _ready(self) -> _Step:
        """Return what rows are computed with."""
        if self._step is None:
            linears = tuple(partial(F.linear, weight=w, bias=b) for w, b in self._linears())
            self._step = self._make_step(linears)
        return self._step

    def _linears(self) -> list[tuple[Tensor, Tensor]]:
        """Return weight and bias of the four products of a step, in the order of ``_Step``."""
        first = self.self_attn.in_proj_weight, self.self_attn.in_proj_bias
        modules = self.self_attn.out_proj, self.linear1, self.linear2
        return [first, *((module.weight, module.bias) for module in modules)]

    def _make_step(self, linears: tuple[Callable[[Tensor], Tensor], ...]) -> _Step:
        norm1, norm2 = self.norm1, self.norm2
        return _Step(linears, (norm1.weight, norm1.bias), (norm2.weight, norm2.bias))

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return the layer's rows (B, D), given what attention came to."""
        step, shape = self._ready(), (self.hidden,)
        _, project_out, widen, narrow = step.linears
        x = project_out(attended).add_(x)
        x = torch.layer_norm(x, shape, *step.norm1, LAYER_NORM_EPS)
        x = narrow(widen(x).relu_()).add_(x)
        return torch.layer_norm(x, shape, *step.norm2, LAYER_NORM_EPS)
