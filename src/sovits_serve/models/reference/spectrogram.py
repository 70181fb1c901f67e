"""Spectrograms of reference audio: linear (all versions) and mel (v3, v4).

Everything is computed in float32 whatever dtype the models run in. Waveforms are (B, T) in
[-1, 1]; rows of one call have equal lengths, because the signal is mirrored at both ends.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

# Keeps the square root's argument off zero, and the log's off minus infinity.
_POWER_FLOOR = 1e-8
_LOG_FLOOR = 1e-5
# Range of natural-log mel values that the flow-matching models see as [-1, 1].
_MEL_MIN, _MEL_MAX = -12.0, 2.0


@dataclass(frozen=True)
class MelSettings:
    """Parameters of one mel spectrogram; ``rate_hz`` is what the waveform must have."""

    rate_hz: int
    fft_size: int
    hop: int
    num_bands: int = 100


MEL_V3 = MelSettings(rate_hz=24_000, fft_size=1024, hop=256)
MEL_V4 = MelSettings(rate_hz=32_000, fft_size=1280, hop=320)


def linear_spectrogram(waveform: Tensor, *, fft_size: int = 2048, hop: int = 640) -> Tensor:
    """Return magnitudes of a Hann-windowed Fourier transform.

    Args:
        waveform: float (B, T), T > (fft_size - hop) / 2.

    Returns:
        float32 (B, fft_size / 2 + 1, T // hop).

    Source: GPT-SoVITS 48b1a01, module/mel_processing.py, spectrogram_torch. Differs: float32 only.
    """
    margin = (fft_size - hop) // 2
    padded = F.pad(waveform.float()[:, None], (margin, margin), mode="reflect")[:, 0]
    window = torch.hann_window(fft_size, device=waveform.device)
    spectrum = torch.stft(
        padded, fft_size, hop_length=hop, window=window, center=False, return_complex=True
    )
    power = torch.view_as_real(spectrum).square().sum(-1)  # (B, bins, frames)
    return (power + _POWER_FLOOR).sqrt()


def mel_spectrogram(waveform: Tensor, settings: MelSettings) -> Tensor:
    """Return natural-log mel bands, not normalised.

    Args:
        waveform: float (B, T) at ``settings.rate_hz``.

    Returns:
        float32 (B, num_bands, T // hop).

    Source: GPT-SoVITS 48b1a01, module/mel_processing.py, mel_spectrogram_torch. Differs: own
    filterbank.
    """
    magnitudes = linear_spectrogram(waveform, fft_size=settings.fft_size, hop=settings.hop)
    filters = torch.from_numpy(_mel_filters(settings)).to(waveform.device)
    return (filters @ magnitudes).clamp(min=_LOG_FLOOR).log()


def normalize_mel(mel: Tensor) -> Tensor:
    """Map natural-log mel values to the range that the v3 and v4 models were trained on."""
    return (mel - _MEL_MIN) / (_MEL_MAX - _MEL_MIN) * 2 - 1


@lru_cache(maxsize=4)
def _mel_filters(settings: MelSettings) -> npt.NDArray[np.float32]:
    """Return Slaney's mel filterbank, each filter of unit area: (num_bands, bins).

    Source: librosa 0.10.2, filters.py, mel with default arguments. Differs: written anew.
    """
    nyquist_hz = settings.rate_hz / 2
    bins_hz = np.linspace(0, nyquist_hz, settings.fft_size // 2 + 1)
    edges_mel = np.linspace(0, _hz_to_mel(nyquist_hz), settings.num_bands + 2)
    edges_hz = _mel_to_hz(edges_mel)
    low, centre, high = (edges_hz[i : i + settings.num_bands, None] for i in range(3))
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return np.asarray(filters, dtype=np.float32)


# Slaney's scale: linear up to 1 kHz (15 mel), then 27 mel per factor of 6.4.
_BREAK_HZ = 1000.0
_BREAK_MEL = 15.0
_MEL_PER_LOG = 27 / np.log(6.4)


def _hz_to_mel(frequency_hz: float) -> float:
    if frequency_hz < _BREAK_HZ:
        return frequency_hz * _BREAK_MEL / _BREAK_HZ
    return float(_BREAK_MEL + np.log(frequency_hz / _BREAK_HZ) * _MEL_PER_LOG)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = mel * _BREAK_HZ / _BREAK_MEL
    logarithmic = _BREAK_HZ * np.exp((mel - _BREAK_MEL) / _MEL_PER_LOG)
    return np.where(mel < _BREAK_MEL, linear, logarithmic)
