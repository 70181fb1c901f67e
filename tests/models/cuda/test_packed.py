import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sovits_serve.models.cuda.packed import PackedLaunches, choose_tile, new_rows
from sovits_serve.models.cuda.packed_batch import PackedRow, TableMemory, Tables
from sovits_serve.models.t2s.attention import prompt_mask

BUCKET = 192
LENGTHS, TEXT_LENGTHS = (70, 1, 97), (66, 1, 30)


@pytest.fixture
def tables(device: str) -> Tables:
    """Return tables of three rows without slots."""
    memory = TableMemory(BUCKET, 4, torch.device(device))
    rows = []
    for length, text_length in zip(LENGTHS, TEXT_LENGTHS, strict=True):
        zeros = np.zeros(length, np.int32)
        rows.append(PackedRow(zeros, zeros, None, text_length))
    memory.upload(BUCKET, rows)
    return memory.tables(BUCKET)


def noise(*shape: int, device: str) -> torch.Tensor:
    """Return the same random numbers for the same shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).to(device)


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("shape", [(32, 65), (100, 70)])
def test_linear_is_torchs(
    tables: Tables, device: str, activation: str, shape: tuple[int, int]
) -> None:
    """Products of any width, with activation and residual, are torch's; the rest is untouched."""
    depth, width = shape
    linear = nn.Linear(depth, width, device=device).requires_grad_(False)
    x, residual = (
        new_rows(BUCKET, depth, torch.float32, device),
        noise(BUCKET, width, device=device),
    )
    x[:BUCKET] = noise(BUCKET, depth, device=device)
    out = torch.full((BUCKET, width), 7.0, device=device)

    PackedLaunches(BUCKET, tables).linear(x, linear, out, activation=activation, residual=residual)

    total = sum(LENGTHS)
    expected = linear(x[:total])
    if activation != "none":
        expected = getattr(F, activation)(expected)
    torch.testing.assert_close(out[:total], expected + residual[:total], atol=1e-5, rtol=1e-5)
    assert (out[total:] == 7).all()


def test_linear_keeps_not_a_number(tables: Tables, device: str) -> None:
    """An activation hides no NaN."""
    linear = nn.Linear(16, 16, device=device).requires_grad_(False)
    x = new_rows(BUCKET, 16, torch.float32, device)
    x[3, 4] = torch.nan
    out = torch.zeros(BUCKET, 16, device=device)

    PackedLaunches(BUCKET, tables).linear(x, linear, out, activation="relu")

    assert out[3].isnan().all()
    assert not out[4].isnan().any()


@pytest.mark.parametrize("width", [8, 32])
def test_attention_follows_the_prompt_mask(tables: Tables, device: str, width: int) -> None:
    """Text sees all text of its row; audio sees all text and the audio up to itself."""
    num_heads = 2
    hidden = num_heads * width
    qkv = noise(BUCKET, 3 * hidden, device=device)
    out = torch.full((BUCKET, hidden), 7.0, device=device)

    PackedLaunches(BUCKET, tables).attend(qkv, out, num_heads)

    start = 0
    for length, text_length in zip(LENGTHS, TEXT_LENGTHS, strict=True):
        row = qkv[start : start + length].view(length, 3, num_heads, width)
        mask = prompt_mask(torch.tensor([text_length], device=device), length, torch.float32)
        query, keys, values = row.permute(1, 2, 0, 3)[:, None]
        expected = F.scaled_dot_product_attention(query, keys, values, mask)
        expected = expected[0].transpose(0, 1).reshape(length, hidden)
        torch.testing.assert_close(out[start : start + length], expected, atol=1e-5, rtol=1e-5)
        start += length
    assert (out[start:] == 7).all()


def test_norm_takes_the_rows_that_are_named(tables: Tables, device: str) -> None:
    """Rows named by an index are normalised as torch does it, in their order."""
    norm = nn.LayerNorm(48, device=device).requires_grad_(False)
    norm.weight.copy_(noise(48, device=device))
    x = noise(BUCKET, 48, device=device) + 3
    out = torch.zeros(4, 48, device=device)

    PackedLaunches(BUCKET, tables).norm(x, norm, out, rows=(4, tables.num_rows, tables.lasts))

    torch.testing.assert_close(out[:3], norm(x[[69, 70, 167]]), atol=1e-5, rtol=1e-5)
    assert not out[3].any()


@pytest.mark.parametrize("num_rows", [64, 256, 1024, 4096])
def test_large_products_have_large_tiles(num_rows: int) -> None:
    """Tiles grow with the product, and there are programs enough, or the tile is the smallest."""
    tile = choose_tile(num_rows, 1536, torch.float16)
    num_programs = (num_rows // tile.block_m) * (1536 // tile.block_n)

    assert num_programs >= 120 or tile == choose_tile(1, 1, torch.float16)
    assert tile.block_m <= choose_tile(4096, 4096, torch.float16).block_m
