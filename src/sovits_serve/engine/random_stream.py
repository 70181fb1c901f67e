"""Counter-based random numbers: a value depends on its name, never on who drew before it.

Philox4x32-10 with the key = the request's 64-bit seed and the counter = (lane, position, segment,
domain). Key and counter order are those of Random123 and of Triton's ``tl.philox``, so that a
kernel can draw the same bits. Bits are equal on every device; floats differ by rounding of the
device's ``log``, ``sin`` and ``cos`` only.

One call yields four words; element ``e`` of a row of any width is word ``e % 4`` of lane
``e // 4``.
"""

import math
from enum import IntEnum

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_NUM_ROUNDS = 10


class Domain(IntEnum):
    """What a number is drawn for; the last word of the counter."""

    TOKEN = 0
    LATENT = 1


def uniform_bits(seed: Tensor, c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor) -> Tensor:
    """Return Philox4x32-10 words for a 64-bit key and four counter words.

    Args:
        seed: int64, any shape; a seed of 2**63 or more is given as its two's complement.
        c0, c1, c2, c3: int64 that broadcast with ``seed`` and each other; low 32 bits are used.

    Returns:
        int64 (4, *broadcast shape), values in [0, 2**32).

    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011). Differs: words
    are held in int64 because torch has no unsigned multiplication on all devices.
    """
    shape = (seed + c0 + c1 + c2 + c3).shape
    seed, c0, c1, c2, c3 = (part.expand(shape) for part in (seed, c0, c1, c2, c3))
    column = (2, *[1] * seed.dim())
    multipliers = torch.tensor(_MULTIPLIERS, device=seed.device).view(column)
    weyl = torch.tensor(_WEYL, device=seed.device).view(column)
    key = torch.stack((seed, seed >> 32))
    even = torch.stack((c0, c2)).bitwise_and_(_WORD)
    odd = torch.stack((c1, c3))
    for _ in range(_NUM_ROUNDS):
        # The product may wrap around to negative: its 64 bits are right all the same.
        product = (even * multipliers).flip(0)
        even = (product >> 32).bitwise_xor_(odd).bitwise_xor_(key).bitwise_and_(_WORD)
        odd = product  # the high half is garbage, cut off by the masks above and below
        key = key + weyl
    odd = odd.bitwise_and(_WORD)
    return torch.stack((even[0], odd[0], even[1], odd[1]))


def exponential(seeds: Tensor, segments: Tensor, positions: Tensor, width: int) -> Tensor:
    """Draw unit exponential noise for the token at each row's position.

    Args:
        seeds, segments, positions: int64 (B).
        width: how many numbers per row; a narrower row is a prefix of a wider one.

    Returns:
        float32 (B, width), in (0, 17).
    """
    lanes = torch.arange(-(-width // 4), device=seeds.device)
    domain = torch.full_like(lanes, Domain.TOKEN)
    words = uniform_bits(
        seeds[:, None], lanes, positions[:, None], segments[:, None], domain
    )  # (4, B, lanes)
    return -_open_uniform(words).permute(1, 2, 0).flatten(1)[:, :width].log()


def normal(
    seed: int,
    segment: int,
    start_frame: int,
    num_frames: int,
    channels: int,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw unit normal noise for frames of one segment; any window sees what the whole sees.

    Returns:
        float32 (channels, num_frames).
    """
    frames = torch.arange(start_frame, start_frame + num_frames, device=device)  # (T)
    lanes = torch.arange(-(-channels // 4), device=device)[:, None]  # (lanes, 1)
    words = uniform_bits(
        torch.tensor(as_signed(seed), device=device),
        lanes,
        frames,
        torch.tensor(segment, device=device),
        torch.tensor(int(Domain.LATENT), device=device),
    )  # (4, lanes, T)
    uniform = _open_uniform(words)
    radius = (-2.0 * uniform[0::2].log()).sqrt()  # (2, lanes, T)
    angle = uniform[1::2] * (2.0 * math.pi)
    pairs = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)  # (2, 2, lanes, T)
    return pairs.permute(2, 0, 1, 3).reshape(-1, num_frames)[:channels]


def as_signed(seed: int) -> int:
    """Return the int64 with the same 64 bits as an unsigned seed; signed ones stay."""
    return (seed + (1 << 63)) % (1 << 64) - (1 << 63)


def _open_uniform(words: Tensor) -> Tensor:
    """Map words to float32 in the open interval (0, 1), by their upper 23 bits."""
    return ((words >> 9).float() + 0.5) * 2.0**-23  # exact: a half fits beside 23 bits
