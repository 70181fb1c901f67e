"""Loudness, clipping, DC and clicks of float signals (T,) in [-1, 1] at any rate. Knows no model.

Loudness is integrated loudness after ITU-R BS.1770-4: K-weighting, blocks of 400 ms that overlap
by three quarters, gates at -70 LUFS and 10 LU below what passes the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sovits_serve.audio.resample import soxr_resample
from tools.builtin_voice.measures import FloatArray, NotMeasurable

_LOUDNESS_RATE_HZ = 48_000  # the rate the standard gives its filters for
# Numerators and denominators of the standard's two stages: a shelf for the head, a high-pass.
_STAGES = (
    (
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (1, -1.69065929318241, 0.73248077421585),
    ),
    ((1.0, -2.0, 1.0), (1, -1.99004745483398, 0.99007225036621)),
)
_RINGING = _LOUDNESS_RATE_HZ // 2  # zeros behind, more than the filters ring
_FULL_SCALE = 0.999
_SILENCE = 1e-9

_CLICK_RATIO = 4.0  # of the largest step at a join to the largest in the speech around it
_CLICK_STEP = 0.02
_NEAR_S, _AROUND_S = 0.001, 0.05


@dataclass(frozen=True)
class Levels:
    """Of one recording. ``num_clipped`` counts samples at full scale."""

    loudness_lufs: float
    peak: float
    num_clipped: int
    dc: float  # mean, as a share of the root mean square


def measure_levels(samples: FloatArray, rate_hz: int) -> Levels:
    """Return loudness, peak, clipping and DC.

    Raises:
        NotMeasurable: silent, not finite, or too short for a loudness.
    """
    if not len(samples) or not np.isfinite(samples).all():
        raise NotMeasurable("empty or not finite")
    samples = samples.astype(np.float64)
    rms = float(np.sqrt((samples**2).mean()))
    if rms < _SILENCE:
        raise NotMeasurable("silent")
    return Levels(
        loudness_lufs=loudness(samples, rate_hz),
        peak=float(np.abs(samples).max()),
        num_clipped=int((np.abs(samples) >= _FULL_SCALE).sum()),
        dc=abs(float(samples.mean())) / rms,
    )


def loudness(samples: FloatArray, rate_hz: int) -> float:
    """Return the integrated loudness of a mono signal in LUFS.

    Raises:
        NotMeasurable: shorter than a block, or quieter than the gate.
    """
    resampled = soxr_resample(samples.astype(np.float32), rate_hz, _LOUDNESS_RATE_HZ)
    block = int(0.4 * _LOUDNESS_RATE_HZ)
    if len(resampled) < block:
        raise NotMeasurable("shorter than 400 ms")
    sums = np.append(0, np.cumsum(_k_weighted(resampled) ** 2))
    starts = np.arange(0, len(resampled) - block + 1, block // 4)
    powers = (sums[starts + block] - sums[starts]) / block
    levels = -0.691 + 10 * np.log10(np.maximum(powers, 1e-20))
    powers, levels = powers[levels > -70], levels[levels > -70]
    if not len(powers):
        raise NotMeasurable("quieter than -70 LUFS")
    gate = -0.691 + 10 * np.log10(powers.mean()) - 10
    return float(-0.691 + 10 * np.log10(powers[levels > gate].mean()))


def _k_weighted(samples: FloatArray) -> FloatArray:
    """Filter in the frequency domain, with room behind for what the filters ring."""
    size = len(samples) + _RINGING
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))  # z^-1
    response = np.ones_like(z)
    for numerator, denominator in _STAGES:
        response *= np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples, size) * response, size)[: len(samples)])


def find_joins(chunk_lengths: Sequence[int], samples: FloatArray, rate_hz: int) -> list[int]:
    """Return where audio was put together: between chunks, and where digital silence begins or ends.

    The engine puts zeros between segments; 50 ms of them are a pause, fewer may be chance.
    """
    joins = set(np.cumsum(chunk_lengths)[:-1].tolist())
    is_zero = np.concatenate(([False], samples == 0, [False]))
    edges = np.flatnonzero(np.diff(is_zero.astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= 0.05 * rate_hz:
            joins |= {int(begin), int(end)}
    return sorted(join for join in joins if 0 < join < len(samples))


def find_clicks(samples: FloatArray, joins: Sequence[int], rate_hz: int) -> list[int]:
    """Return the joins with a step that the speech around does not have.

    A click is a difference between neighbouring samples within 1 ms of the join, above 0.02 and
    above four times the largest within 50 ms.
    """
    steps = np.abs(np.diff(samples))
    near, around = max(1, int(_NEAR_S * rate_hz)), int(_AROUND_S * rate_hz)
    clicks = []
    for join in joins:
        first, last = max(0, join - near), join + near
        at_join = float(steps[first:last].max(initial=0))
        nearby = np.concatenate((steps[max(0, join - around) : first], steps[last : join + around]))
        if at_join > max(_CLICK_STEP, _CLICK_RATIO * float(nearby.max(initial=0))):
            clicks.append(join)
    return clicks
