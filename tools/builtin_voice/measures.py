"""What speech sounds like, in numbers: cepstra, pitch, and one recording aligned with another.

Signals are float arrays (T,) at ``RATE_HZ``, frames are ``HOP_S`` apart. Loudness does not matter
to anything here. The pitch tracker is another one than training uses. Knows no model.

Mel cepstrum: c_m = 2/K sum_k ln|X_k| cos(pi m (k + 1/2) / K) over K mel bands, m = 1..13.
Mel cepstral distance: 10/ln(10) sqrt(2 sum_m (c_m - c'_m)^2) dB, the mean over the steps of the
path that dynamic time warping of the cepstra finds, pauses left out.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.intp]

RATE_HZ = 16_000
HOP_S = 0.01
NUM_CEPSTRA = 13
NUM_BANDS = 40
PITCH_MIN_HZ, PITCH_MAX_HZ = 65.0, 400.0

_HOP = int(HOP_S * RATE_HZ)
_FFT = 512
_FLOOR = 1e-3  # of the loudest band of the recording; what is below is noise of the format
_ACTIVE_DB = 40.0  # frames this far below the loudest are pauses
_DECIBEL = 10 / np.log(10)

_PITCH_WINDOW = 400  # 25 ms
_UNVOICED_COST = 0.45  # of a frame without pitch; a voiced one costs 1 - its correlation
_SWITCH_COST = 0.15  # between voiced and unvoiced
_JUMP_COST = 2.0  # per octave between neighbouring frames
_SHORT_LAG_BONUS = 0.15  # against octave errors downwards
_MIN_VOICED_FRAMES = 10


class NotMeasurable(ValueError):
    """There is too little of what a measure needs."""


@dataclass(frozen=True)
class Contour:
    """Pitch in Hz and whether there is one, each (F,)."""

    pitch_hz: FloatArray
    is_voiced: BoolArray


@dataclass(frozen=True)
class Comparison:
    """One recording against another; of the pitch None: too few frames have one."""

    cepstral_distance_db: float
    pitch_correlation: float | None
    pitch_error_semitones: float | None  # root mean square
    voicing_errors: float  # share of the aligned active frames
    duration_ratio: float  # ours by the other, without the silence around


def compare(ours: FloatArray, other: FloatArray) -> Comparison:
    """Align two recordings of one sentence and return what differs.

    Raises:
        NotMeasurable: one of them is silent or too short.
    """
    mel, mel_other = trimmed_log_mel(ours), trimmed_log_mel(other)
    cepstra, cepstra_other = mel_cepstra(mel.values), mel_cepstra(mel_other.values)
    distances = _distances(cepstra, cepstra_other)
    rows, columns = warp(distances)
    is_active = active_frames(mel.values)[rows] | active_frames(mel_other.values)[columns]
    contour, contour_other = mel.cut(pitch_contour(ours)), mel_other.cut(pitch_contour(other))
    is_voiced, is_voiced_other = contour.is_voiced[rows], contour_other.is_voiced[columns]
    both = is_voiced & is_voiced_other
    pitches = contour.pitch_hz[rows][both], contour_other.pitch_hz[columns][both]
    return Comparison(
        cepstral_distance_db=float(distances[rows, columns][is_active].mean()),
        pitch_correlation=_correlation(*pitches),
        pitch_error_semitones=_semitones(*pitches),
        voicing_errors=float((is_voiced != is_voiced_other)[is_active].mean()),
        duration_ratio=len(mel.values) / len(mel_other.values),
    )


@dataclass(frozen=True)
class LogMel:
    """Natural log mel spectrum (F, bands) of the frames from ``start`` on."""

    values: FloatArray
    start: int

    def cut(self, contour: Contour) -> Contour:
        """Return the part of a contour that belongs to these frames."""
        part = slice(self.start, self.start + len(self.values))
        return Contour(contour.pitch_hz[part], contour.is_voiced[part])


def trimmed_log_mel(samples: FloatArray) -> LogMel:
    """Return the spectrum without the silence before and after.

    Raises:
        NotMeasurable: nothing is left.
    """
    values = log_mel(samples)
    loud = np.flatnonzero(active_frames(values))
    if len(loud) < 5:
        raise NotMeasurable("silence")
    return LogMel(values[loud[0] : loud[-1] + 1], int(loud[0]))


def log_mel(samples: FloatArray) -> FloatArray:
    """Return the natural log of mel band amplitudes (F, bands), F = T // hop.

    Raises:
        NotMeasurable: too short, or not one sample differs from zero.
    """
    num_frames = len(samples) // _HOP
    if num_frames < 5 or not np.any(samples) or not np.isfinite(samples).all():
        raise NotMeasurable("too short, silent or not finite")
    frames = _frames(samples, num_frames, _FFT)
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(_FFT), axis=1))
    bands = spectrum @ _mel_filters().T
    return np.asarray(np.log(np.maximum(bands, _FLOOR * bands.max())))


def active_frames(log_mel_values: FloatArray) -> BoolArray:
    """Return which frames are speech and no pause, by their level."""
    levels_db = 20 / np.log(10) * np.log(np.exp(log_mel_values).mean(axis=1))
    return np.asarray(levels_db > levels_db.max() - _ACTIVE_DB)


def mel_cepstra(log_mel_values: FloatArray) -> FloatArray:
    """Return c_1 to c_13 (F, 13) of a log mel spectrum (F, bands)."""
    orders = np.arange(1, NUM_CEPSTRA + 1)
    bands = np.arange(log_mel_values.shape[1]) + 0.5
    waves = np.cos(np.pi * np.outer(bands, orders) / log_mel_values.shape[1])
    return np.asarray(2 / log_mel_values.shape[1] * log_mel_values @ waves)


def warp(distances: FloatArray) -> tuple[IndexArray, IndexArray]:
    """Return rows and columns of the cheapest path through distances (N, M), corner to corner.

    A step goes one down, one right, or both; each costs what stands where it leads.
    """
    N, M = distances.shape
    costs = np.full((N + 1, M + 1), np.inf)
    costs[0, 0] = 0
    for diagonal in range(2, N + M + 1):  # cells of a diagonal depend on earlier diagonals only
        i = np.arange(max(1, diagonal - M), min(N, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(costs[i - 1, j - 1], np.minimum(costs[i - 1, j], costs[i, j - 1]))
        costs[i, j] = distances[i - 1, j - 1] + before
    i, j = N, M
    rows, columns = [N - 1], [M - 1]
    while (i, j) != (1, 1):
        steps = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(steps, key=lambda cell: costs[cell])  # the first of equals: both
        rows.append(i - 1)
        columns.append(j - 1)
    return np.array(rows[::-1]), np.array(columns[::-1])


def pitch_contour(samples: FloatArray) -> Contour:
    """Track the pitch: normalised cross-correlation, then the cheapest path through its lags.

    Returns:
        As many frames as ``log_mel`` has.
    """
    scores, is_loud = _correlations(samples)
    lags = _lags()
    inner = scores[:, 1:-1]
    is_peak = np.pad((inner > scores[:, :-2]) & (inner >= scores[:, 2:]), ((0, 0), (1, 1)))
    costs = np.where(is_peak, 1 - scores * (1 - _SHORT_LAG_BONUS * lags / lags[-1]), 1.0)
    unvoiced = np.where(is_loud, _UNVOICED_COST, 0.0)
    path = _cheapest_path(np.where(is_loud[:, None], costs, 1.0), unvoiced, lags)
    is_voiced = path < len(lags)
    places = np.minimum(path, len(lags) - 1)
    return Contour(RATE_HZ / (lags[places] + _fraction(scores, places)), is_voiced)


def _lags() -> IndexArray:
    return np.arange(int(RATE_HZ / PITCH_MAX_HZ), int(RATE_HZ / PITCH_MIN_HZ) + 1)


def _correlations(samples: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return correlations (F, lags) of each frame with itself later, and which are loud enough."""
    lags = _lags()
    size = _PITCH_WINDOW + int(lags[-1])
    blocks = _frames(samples.astype(np.float64), len(samples) // _HOP, size)
    transform = 1 << (2 * size).bit_length()
    first = np.fft.rfft(blocks[:, :_PITCH_WINDOW], transform)
    products = np.fft.irfft(first.conj() * np.fft.rfft(blocks, transform), transform)[:, lags]
    sums = np.pad(np.cumsum(blocks**2, axis=1), ((0, 0), (1, 0)))
    energies = sums[:, lags + _PITCH_WINDOW] - sums[:, lags]
    energy = sums[:, _PITCH_WINDOW]
    floor = 1e-4 * max(float(energy.max()), 1e-12)
    scores = products / np.sqrt(energy[:, None] * energies + floor**2)
    return scores, energy > floor


def _cheapest_path(voiced: FloatArray, unvoiced: FloatArray, lags: IndexArray) -> IndexArray:
    """Return per frame the place of a lag, or ``len(lags)`` for unvoiced (Viterbi)."""
    octaves = np.log2(lags)
    moves = _JUMP_COST * np.abs(octaves[:, None] - octaves)
    num_frames, L = voiced.shape
    came_from = np.zeros((num_frames, L + 1), dtype=np.intp)
    costs = np.append(voiced[0], unvoiced[0])
    for frame in range(1, num_frames):
        through = costs[:L, None] + moves  # (from, to)
        best = through.argmin(axis=0)
        stay = through[best, np.arange(L)]
        begin = costs[L] + _SWITCH_COST
        loudest = int(costs[:L].argmin())
        end = costs[loudest] + _SWITCH_COST
        came_from[frame, :L] = np.where(stay <= begin, best, L)
        came_from[frame, L] = L if costs[L] <= end else loudest
        voiced_costs = np.minimum(stay, begin) + voiced[frame]
        costs = np.append(voiced_costs, min(costs[L], end) + unvoiced[frame])
    path = np.empty(num_frames, dtype=np.intp)
    path[-1] = costs.argmin()
    for frame in range(num_frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path


def _fraction(scores: FloatArray, places: IndexArray) -> FloatArray:
    """Return where, around the chosen lags, a parabola through the scores peaks, in samples."""
    rows = np.arange(len(places))
    inner = np.clip(places, 1, scores.shape[1] - 2)
    left, middle, right = (scores[rows, inner + shift] for shift in (-1, 0, 1))
    bend = left - 2 * middle + right
    is_peak = (bend < -1e-9) & (inner == places)
    return np.where(is_peak, np.clip(0.5 * (left - right) / np.where(is_peak, bend, 1), -1, 1), 0)


def _correlation(ours: FloatArray, other: FloatArray) -> float | None:
    """Return Pearson's correlation of log pitches; None where it says nothing."""
    if len(ours) < _MIN_VOICED_FRAMES:
        return None
    ours, other = np.log(ours), np.log(other)
    spread = float(ours.std() * other.std())
    if spread < 1e-8:
        return None
    return float(((ours - ours.mean()) * (other - other.mean())).mean()) / spread


def _semitones(ours: FloatArray, other: FloatArray) -> float | None:
    """Return the root mean square of the difference."""
    if len(ours) < _MIN_VOICED_FRAMES:
        return None
    return float(12 * np.sqrt((np.log2(ours / other) ** 2).mean()))


def _distances(ours: FloatArray, other: FloatArray) -> FloatArray:
    """Return mel cepstral distances in dB (N, M) of all pairs of frames."""
    squares = (ours**2).sum(1)[:, None] + (other**2).sum(1) - 2 * ours @ other.T
    return np.asarray(_DECIBEL * np.sqrt(2 * np.maximum(squares, 0)))


def _frames(samples: FloatArray, num_frames: int, size: int) -> FloatArray:
    """Return frames (F, size) whose first hop lies in their middle."""
    side = (size - _HOP) // 2
    padded = np.pad(samples, (side, size))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::_HOP][:num_frames]


@lru_cache(maxsize=1)
def _mel_filters() -> FloatArray:
    """Return triangles (bands, bins), evenly spaced on the mel scale, each of unit sum."""
    top = 2595 * np.log10(1 + RATE_HZ / 1400)
    edges = 700 * (10 ** (np.linspace(0, top, NUM_BANDS + 2) / 2595) - 1)
    bins = np.linspace(0, RATE_HZ / 2, _FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(np.minimum(rising, falling), 0) + 1e-9  # no band without a bin
    return np.asarray(filters / filters.sum(axis=1, keepdims=True))
