import math

import pytest
import torch
from torch import Tensor

from sovits_serve.models.layers.padding import RowPadding
from sovits_serve.models.sovits import attention
from sovits_serve.models.sovits.attention import WINDOW, CrossAttention, RelativeAttention
from tests.models.sovits.golden_models import unit_normal

CHANNELS, HEADS = 12, 2


def random_attention() -> RelativeAttention:
    """Return relative attention with reproducible random weights."""
    module = RelativeAttention(CHANNELS, HEADS).eval().requires_grad_(False)
    for seed, parameter in enumerate(module.parameters()):
        parameter.copy_(unit_normal(seed, *parameter.shape) * 0.3)
    return module


def by_definition(module: RelativeAttention, x: Tensor) -> Tensor:
    """Attend within ``x`` (C, T) pair by pair, as the formula says."""
    width, length = CHANNELS // HEADS, x.size(1)
    q, k, v = (
        projection(x[None])[0].view(HEADS, width, length)
        for projection in (module.conv_q, module.conv_k, module.conv_v)
    )
    out = torch.zeros(HEADS, width, length)
    for head in range(HEADS):
        for i in range(length):
            keys = [k[head, :, j] + near(module.emb_rel_k, j - i) for j in range(length)]
            scores = torch.stack([q[head, :, i] @ key / math.sqrt(width) for key in keys])
            weights = scores.softmax(0)
            for j in range(length):
                out[head, :, i] += weights[j] * (v[head, :, j] + near(module.emb_rel_v, j - i))
    projected: Tensor = module.conv_o(out.view(1, CHANNELS, length))[0]
    return projected


def near(table: Tensor, offset: int) -> Tensor:
    """Return the embedding of a relative position, zero outside the window."""
    return table[0, offset + WINDOW] if abs(offset) <= WINDOW else torch.zeros(table.size(2))


@pytest.mark.parametrize("length", [1, 2, 4, 5, 9, 14])
def test_relative_attention_is_its_definition(length: int) -> None:
    """Sequences shorter and longer than the window attend as the formula says."""
    module = random_attention()
    x = unit_normal(50, CHANNELS, length)

    attended = module(x[None], x[None], None)[0]

    torch.testing.assert_close(attended, by_definition(module, x), rtol=0, atol=1e-5)


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long row worked through in blocks equals the same row in one."""
    module = random_attention()
    x = unit_normal(51, 1, CHANNELS, 23)
    whole = module(x, x, None)
    monkeypatch.setattr(attention, "_QUERY_BLOCK", 5)

    torch.testing.assert_close(module(x, x, None), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 3, 8])
def test_padding_changes_nothing(length: int) -> None:
    """What stands behind a row's end has no weight, not even for the near positions."""
    module = random_attention()
    x = unit_normal(52, 2, CHANNELS, 9)
    padding = RowPadding(torch.tensor([9, length]), 9, x.device)

    attended = module(x, x, padding.hidden_keys())

    row = x[1:, :, :length]
    torch.testing.assert_close(attended[1:, :, :length], module(row, row, None), atol=1e-6, rtol=0)


def test_cross_attention_hides_padded_keys() -> None:
    """Queries never see the padding of the other sequence."""
    module = CrossAttention(CHANNELS, HEADS).eval().requires_grad_(False)
    x, memory = unit_normal(53, 2, CHANNELS, 4), unit_normal(54, 2, CHANNELS, 6)
    padding = RowPadding(torch.tensor([6, 2]), 6, x.device)

    attended = module(x, memory, padding.hidden_keys())

    alone = module(x[1:], memory[1:, :, :2], None)
    torch.testing.assert_close(attended[1:], alone, rtol=0, atol=1e-6)
