"""Sample rate conversion: the two ways the reference pipeline needs, and one for output.

``sinc_resample`` repeats torchaudio's default arithmetic, because the spectrogram and the speaker
embedding of upstream go through it. ``soxr_resample`` is what the HuBERT path uses; for output,
which comes in pieces of int16, there is ``PcmResampler``. Other arrays are float32, time is the
last axis, rates are in Hz. Knows no torch.
"""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
PcmArray = npt.NDArray[np.int16]

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


class PcmResampler:
    """Resamples int16 piece by piece; what comes out does not depend on how it was cut.

    Equal rates pass through. Quality and filter are those of ``soxr_resample``; rounding is ours,
    because soxr's own int16 output is dithered with a seed taken from the clock.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None
        if from_hz != to_hz:
            import soxr

            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def process(self, samples: PcmArray) -> PcmArray:
        """Take samples, int16 (T,); return those that are ready, int16."""
        return self._resample(samples, is_last=False)

    def finish(self) -> PcmArray:
        """Return the samples that were held back. Nothing may follow."""
        return self._resample(np.zeros(0, dtype=np.int16), is_last=True)

    def _resample(self, samples: PcmArray, *, is_last: bool) -> PcmArray:
        if self._stream is None:
            return samples
        values = samples.astype(np.float32)
        output = self._stream.resample_chunk(values, last=is_last)
        return np.asarray(np.clip(np.rint(output), -32_768, 32_767), dtype=np.int16)


def resample_pcm(samples: PcmArray, from_hz: int, to_hz: int) -> PcmArray:
    """Resample int16 (T,) at once, to the very samples that ``PcmResampler`` returns."""
    resampler = PcmResampler(from_hz, to_hz)
    return np.concatenate((resampler.process(samples), resampler.finish()))
