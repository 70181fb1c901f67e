"""Sample rate conversion: the two ways the reference pipeline needs.

``sinc_resample`` repeats torchaudio's default arithmetic, because the spectrogram and the speaker
embedding of upstream go through it. ``soxr_resample`` is what the HuBERT path and output
conversion use. Arrays are float32, time is the last axis, rates are in Hz. Knows no torch.
"""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_NUM_ZERO_CROSSINGS = 6
_ROLLOFF = 0.99
# Outputs computed at once: bounds the gathered windows to a few tens of MB at any rate.
_BLOCK = 32_768


def sinc_resample(samples: FloatArray, from_hz: int, to_hz: int) -> FloatArray:
    """Resample with a Hann-windowed sinc.

    Only the taps inside the window are computed, so that rates without a common divisor (44,101 to
    32,000 Hz) cost no more than others.

    Args:
        samples: float32 (..., T).

    Returns:
        float32 (..., ceil(T * to_hz / from_hz)).

    Source: torchaudio 2.11.0, functional/functional.py, _get_sinc_resample_kernel and
    _apply_sinc_resample_kernel, with default arguments. Differs: numpy, sparse taps.
    """
    if from_hz == to_hz:
        return samples
    divisor = gcd(from_hz, to_hz)
    step, phases = from_hz // divisor, to_hz // divisor
    kernel, starts, margin = _sinc_kernel(step, phases)
    length = samples.shape[-1]
    num_outputs = -(-length * phases // step)
    padding = [(0, 0)] * (samples.ndim - 1) + [(margin, margin + step)]
    padded = np.pad(samples, padding)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[1], axis=-1)
    output = np.empty((*samples.shape[:-1], num_outputs), dtype=np.float32)
    for begin in range(0, num_outputs, _BLOCK):
        index = np.arange(begin, min(begin + _BLOCK, num_outputs))
        frame, phase = np.divmod(index, phases)
        taps = windows[..., frame * step + starts[phase], :]  # (..., block, taps)
        output[..., index] = np.einsum("...nk,nk->...n", taps, kernel[phase])
    return output


@lru_cache(maxsize=8)
def _sinc_kernel(step: int, phases: int) -> tuple[FloatArray, npt.NDArray[np.int64], int]:
    """Return the taps of every phase, where each begins in the padded signal, and the padding."""
    cutoff = min(step, phases) * _ROLLOFF
    margin = ceil(_NUM_ZERO_CROSSINGS * step / cutoff)
    phase = np.arange(phases)
    starts = phase * step // phases  # first tap, in the padded signal
    offsets = starts[:, None] - margin + np.arange(2 * margin + 2)  # (phases, taps), in samples
    time = (-phase[:, None] / phases + offsets / step) * cutoff
    time = np.clip(time, -_NUM_ZERO_CROSSINGS, _NUM_ZERO_CROSSINGS)
    window = np.cos(time * np.pi / _NUM_ZERO_CROSSINGS / 2) ** 2
    kernel = np.sinc(time) * window * (cutoff / step)
    return kernel.astype(np.float32), starts, margin


def soxr_resample(samples: FloatArray, from_hz: int, to_hz: int) -> FloatArray:
    """Resample one channel with soxr at high quality.

    Args:
        samples: float32 (T,).

    Returns:
        float32 (ceil(T * to_hz / from_hz),), cut or zero-padded to exactly that length.

    Source: librosa 0.10.2, core/audio.py, resample (res_type soxr_hq, fix). Differs: mono only.
    """
    if from_hz == to_hz:
        return samples
    import soxr

    length = ceil(samples.shape[-1] * (to_hz / from_hz))
    resampled = np.asarray(soxr.resample(samples, from_hz, to_hz, quality="HQ"), dtype=np.float32)
    return np.pad(resampled[:length], (0, max(0, length - resampled.shape[-1])))
