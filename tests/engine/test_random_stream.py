import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from sovits_serve.engine import random_stream
from sovits_serve.engine.random_stream import (
    Domain,
    as_signed,
    exponential,
    normal,
    uniform_bits,
)

# Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    (
        (0, 0, 0, 0),
        0,
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        0xFFFFFFFFFFFFFFFF,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
WORDS = st.integers(0, 2**32 - 1)
SEEDS = st.integers(0, 2**64 - 1)


def reference_philox(seed: int, counter: tuple[int, ...]) -> tuple[int, ...]:
    """Compute Philox4x32-10 in plain integers, as the paper writes it."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1 = (second >> 32) ^ c1 ^ k0, second & 0xFFFFFFFF
        c2, c3 = (first >> 32) ^ c3 ^ k1, first & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(seed: int, counter: tuple[int, ...]) -> tuple[int, ...]:
    """Return the four words of one counter."""
    key = torch.tensor(as_signed(seed))
    return tuple(uniform_bits(key, *(torch.tensor(word) for word in counter)).tolist())


@pytest.mark.parametrize(("counter", "seed", "expected"), KNOWN_ANSWERS)
def test_known_answers(counter: tuple[int, ...], seed: int, expected: tuple[int, ...]) -> None:
    """The published test vectors of Random123 come out."""
    assert words(seed, counter) == expected


@settings(deadline=None)
@given(seed=SEEDS, counter=st.tuples(WORDS, WORDS, WORDS, WORDS))
def test_words_are_those_of_plain_integers(seed: int, counter: tuple[int, ...]) -> None:
    """Any key and counter give the bits of an implementation in plain integers."""
    assert words(seed, counter) == reference_philox(seed, counter)


def test_token_noise_is_keyed_by_seed_segment_and_position() -> None:
    """Element e of a row is word e % 4 of the counter (e // 4, position, segment, domain)."""
    rows = exponential(
        torch.tensor([5, as_signed(2**64 - 3)]), torch.tensor([2, 7]), torch.tensor([11, 300]), 10
    )

    word = reference_philox(2**64 - 3, (2, 300, 7, Domain.TOKEN))[1]
    assert rows[1, 9].item() == pytest.approx(-math.log(((word >> 9) + 0.5) / 2**23), rel=1e-6)


@settings(deadline=None)
@given(seed=SEEDS, segment=st.integers(0, 2**31), position=st.integers(0, 2**31))
def test_a_rows_noise_depends_on_nothing_else(seed: int, segment: int, position: int) -> None:
    """A row's noise is the same alone, in any batch, and as the start of a wider row."""
    rows = torch.tensor([(3, 4, 5), (as_signed(seed), segment, position), (6, 7, 8)])

    def draws(chosen: Tensor, width: int) -> Tensor:
        return exponential(chosen[:, 0], chosen[:, 1], chosen[:, 2], width)

    batch, alone, wide = draws(rows, 9), draws(rows[1:2], 9), draws(rows[1:2], 12)

    assert torch.equal(alone[0], batch[1])
    assert torch.equal(alone[0], wide[0, :9])


def test_extreme_words_stay_inside_the_open_interval() -> None:
    """The smallest and the largest word give finite, positive noise."""
    uniform = random_stream._open_uniform(torch.tensor([0, 0xFFFFFFFF]))

    noise = -uniform.log()
    assert (noise > 0).all()
    assert noise.isfinite().all()


def test_token_noise_is_exponential() -> None:
    """A million draws have mean 1, variance 1 and the right tail."""
    draws = exponential(torch.arange(1000), torch.zeros(1000).long(), torch.arange(1000), 1000)

    assert draws.mean().item() == pytest.approx(1.0, abs=5e-3)
    assert draws.var().item() == pytest.approx(1.0, abs=1e-2)
    assert (draws > 3).float().mean().item() == pytest.approx(math.exp(-3), abs=1e-3)


@settings(deadline=None)
@given(start=st.integers(0, 50), length=st.integers(1, 20), channels=st.integers(1, 9))
def test_a_window_of_latent_noise_is_a_part_of_the_whole(
    start: int, length: int, channels: int
) -> None:
    """Frame f and channel c have one value, whatever window is asked for."""
    whole = normal(9, 1, 0, 70, 9)

    window = normal(9, 1, start, length, channels)

    torch.testing.assert_close(window, whole[:channels, start : start + length], atol=1e-6, rtol=0)


def test_latent_noise_is_normal_and_uncorrelated() -> None:
    """Mean 0, variance 1, and neither channels, frames nor segments follow each other."""
    noise, other = normal(1, 0, 0, 2000, 192), normal(1, 1, 0, 2000, 192)

    assert noise.shape == (192, 2000)
    assert noise.mean().abs() < 5e-3
    assert noise.var().item() == pytest.approx(1.0, abs=1e-2)
    for first, second in [(noise[:-1], noise[1:]), (noise[:, :-1], noise[:, 1:]), (noise, other)]:
        assert (first * second).mean().abs() < 5e-3


@pytest.mark.gpu
def test_cuda_draws_the_same_bits() -> None:
    """The words on CUDA are bit-equal to the CPU's, the floats to a few rounding errors."""
    lanes = torch.arange(1000)
    cpu = uniform_bits(torch.tensor(-5), lanes, lanes * 7, lanes * 3, lanes)
    cuda = uniform_bits(
        *(part.cuda() for part in (torch.tensor(-5), lanes, lanes * 7, lanes * 3, lanes))
    )

    assert torch.equal(cpu, cuda.cpu())
    torch.testing.assert_close(
        normal(1, 2, 3, 50, 192), normal(1, 2, 3, 50, 192, device="cuda").cpu(), atol=2e-6, rtol=0
    )


@pytest.mark.gpu
def test_triton_draws_the_same_bits() -> None:
    """``tl.philox`` with the same key and counter gives the same words."""
    triton = pytest.importorskip("triton")
    from tests.engine.philox_kernel import philox_kernel

    out = torch.empty(4, 64, dtype=torch.int32, device="cuda")
    philox_kernel[(1,)](out, 123456789012345, 3, 5, 1, WIDTH=64)

    lanes = torch.arange(64)
    constants = (torch.tensor(value) for value in (3, 5, 1))
    expected = uniform_bits(torch.tensor(123456789012345), lanes, *constants)
    assert triton is not None
    assert torch.equal(out.cpu().long() & 0xFFFFFFFF, expected)
