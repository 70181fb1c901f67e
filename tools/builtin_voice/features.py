"""Signals that training compares: log mel spectrograms and pitch contours, in torch, batched.

Waveforms are float (B, T) in [-1, 1]. Frames lie like HuBERT's and the decoder's: frame k covers
the hop that begins at sample k * hop.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

_LOG_FLOOR = 1e-4
PITCH_MIN_HZ, PITCH_MAX_HZ = 65.0, 400.0
_VOICED = 0.55  # normalised autocorrelation above which a frame has a pitch


def log_mel(waveform: Tensor, *, rate_hz: int, fft: int, hop: int, bands: int) -> Tensor:
    """Return the natural log mel spectrogram, float32 (B, bands, T // hop)."""
    frames = waveform.shape[1] // hop
    side = (fft - hop) // 2
    padded = functional.pad(waveform.float(), (side, fft - hop - side))
    window = torch.hann_window(fft, device=waveform.device)
    spectrum = torch.stft(padded, fft, hop, window=window, center=False, return_complex=True)
    magnitudes = spectrum.abs()[..., :frames]
    return (_filters(rate_hz, fft, bands, waveform.device) @ magnitudes).clamp(_LOG_FLOOR).log()


@lru_cache(maxsize=32)
def _filters(rate_hz: int, fft: int, bands: int, device: torch.device) -> Tensor:
    """Return triangular filters, evenly spaced on the HTK mel scale, each of unit sum."""
    edges_mel = torch.linspace(0, 2595 * torch.log10(torch.tensor(1 + rate_hz / 1400)), bands + 2)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    bins = torch.linspace(0, rate_hz / 2, fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rising, falling).clamp(min=0)
    # A band narrower than a bin would see nothing: it takes the nearest bin.
    empty = filters.sum(1) == 0
    nearest = (bins[None] - edges[1:-1, None]).abs().argmin(1)
    filters[empty, nearest[empty]] = 1
    return (filters / filters.sum(1, keepdim=True)).to(device)


def pitch(waveform: Tensor, *, rate_hz: int, hop: int) -> tuple[Tensor, Tensor]:
    """Return pitch in Hz and whether a frame is voiced, each (B, T // hop).

    Normalised autocorrelation of windows of four hops; of the lags that come near the highest
    peak the shortest is taken, against octave errors downwards.
    """
    frames = waveform.shape[1] // hop
    window = 4 * hop
    longest = int(rate_hz / PITCH_MIN_HZ)
    shortest = int(rate_hz / PITCH_MAX_HZ)
    side = (window - hop) // 2
    padded = functional.pad(waveform.float(), (side, window + longest))
    blocks = padded.unfold(1, window + longest, hop)[:, :frames]  # (B, F, W + L)
    size = 1 << (window + longest).bit_length()
    start = torch.fft.rfft(blocks[..., :window], size)
    whole = torch.fft.rfft(blocks, size)
    products = torch.fft.irfft(start.conj() * whole, size)[..., : longest + 1]
    energies = functional.pad(blocks.square().cumsum(-1), (1, 0))
    lags = torch.arange(longest + 1, device=waveform.device)
    shifted = energies[..., lags + window] - energies[..., lags]
    scores = products / (shifted[..., :1] * shifted + 1e-6).sqrt()
    scores = scores[..., shortest:]
    peaks = functional.max_pool1d(scores.flatten(0, 1), 5, 1, 2).view_as(scores) == scores
    best = scores.masked_fill(~peaks, -1)
    top = best.amax(-1, keepdim=True)
    first = (best >= 0.92 * top).float().argmax(-1)
    is_voiced = (top[..., 0] > _VOICED) & (shifted[..., 0] / window > 1e-5)
    return rate_hz / (first + shortest).float(), is_voiced
