"""Reading encoded audio back, and finding in it what was written."""

import io

import numpy as np
import numpy.typing as npt
import soundfile

from sovits_serve.audio.decode import AudioLimits, decode_audio
from sovits_serve.audio.encoding import AudioFormat
from sovits_serve.audio.resample import soxr_resample

FloatArray = npt.NDArray[np.float32]
RATE_HZ = 32_000
_DURATION_S = 3.6


def voiced_to_the_end() -> npt.NDArray[np.int16]:
    """Return a voice whose pitch wanders, so that no two moments are alike, cut off abruptly."""
    num_samples = int(_DURATION_S * RATE_HZ)
    knots = np.cumsum(np.random.default_rng(0).normal(0, 0.15, num_samples // 800 + 2))
    pitch_hz = 150 * np.exp2(np.interp(np.arange(num_samples) / 800, np.arange(len(knots)), knots))
    phase = 2 * np.pi * np.cumsum(np.clip(pitch_hz, 80, 400)) / RATE_HZ
    sound = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 9))
    return np.asarray(8_000 * sound, dtype=np.int16)


def listen(kind: AudioFormat, data: bytes, rate_hz: int = RATE_HZ) -> FloatArray:
    """Return what a listener hears, float32 (T,) in the scale of int16, at ``rate_hz``."""
    if kind is AudioFormat.PCM:
        return np.frombuffer(data, dtype="<i2").astype(np.float32)
    waveform = decode_audio(data, AudioLimits())
    assert waveform.num_channels == 1
    return soxr_resample(waveform.samples[0] * np.float32(32_768), waveform.rate_hz, rate_hz)


def listen_with_libsndfile(data: bytes) -> npt.NDArray[np.int16]:
    """Return the samples of a file as libsndfile reads it."""
    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    return np.asarray(samples, dtype=np.int16)


def find_in(heard: FloatArray, wanted: npt.NDArray[np.int16]) -> tuple[int, float]:
    """Return where ``wanted`` is heard best, and the correlation there (1: the same)."""
    template = wanted.astype(np.float64)
    template /= np.linalg.norm(template)
    size = 1 << (len(heard) + len(template)).bit_length()
    spectrum = np.fft.rfft(heard.astype(np.float64), size) * np.conj(np.fft.rfft(template, size))
    scores = np.fft.irfft(spectrum, size)[: len(heard) - len(template) + 1]
    energy = np.convolve(heard.astype(np.float64) ** 2, np.ones(len(template)), "valid")
    scores = scores / np.sqrt(np.maximum(energy, 1.0))
    place = int(np.argmax(scores))
    return place, float(scores[place])
