"""A made-up recording where any will do, as for an engine's first synthesis: a pulsating buzz.

The same seed gives the same sound. Audio is int16 mono at 32 kHz.
"""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

DEMO_TEXT = "This is a made-up voice."
DEMO_RATE_HZ = 32_000
_DURATION_S = 4
_NUM_HARMONICS = 24
_PEAK = 0.5


def make_demo_voice(directory: Path, *, seed: int = 0) -> Path:
    """Write default.wav and default.txt into a directory, made if needed; return the recording."""
    directory.mkdir(parents=True, exist_ok=True)
    recording = directory / "default.wav"
    write_demo_recording(recording, seed)
    recording.with_suffix(".txt").write_text(DEMO_TEXT + "\n", encoding="utf-8")
    return recording


def write_demo_recording(path: Path, seed: int) -> None:
    """Write four seconds of the demo voice as wav."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(DEMO_RATE_HZ)
        file.writeframes(demo_sound(seed).astype("<i2").tobytes())


def demo_sound(seed: int) -> npt.NDArray[np.int16]:
    """Return the sound: voiced, with a formant and pauses, far from clipping; int16 (T,)."""
    time_s = np.arange(_DURATION_S * DEMO_RATE_HZ) / DEMO_RATE_HZ
    pitch_hz = 120 + seed % 80 + 25 * np.sin(2 * np.pi * 0.6 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / DEMO_RATE_HZ
    harmonics = np.arange(1, _NUM_HARMONICS + 1)
    gains = (1 + 2 * np.exp(-(((harmonics - 5) / 2) ** 2))) / harmonics
    sound = sum(gain * np.sin(n * phase) for n, gain in zip(harmonics, gains, strict=True))
    syllables = np.sqrt(np.clip(np.sin(3 * np.pi * time_s), 0, None))
    sound = _PEAK * sound * syllables / np.abs(sound).max()
    return np.asarray(sound * 32_767, dtype=np.int16)
