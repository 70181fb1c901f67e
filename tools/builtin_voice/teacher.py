"""The teachers: two free synthesisers from Debian's packages, as four speakers.

English text goes to the synthesiser as it is, Mandarin as pinyin made from our own frontend's
phonemes, so that both pronounce the same syllables with the same tones.
"""

import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sovits_serve.audio.resample import soxr_resample
from sovits_serve.config import FrontendConfig
from sovits_serve.frontend.text_frontend import TextFrontend

FloatArray = npt.NDArray[np.float32]

RATE_HZ = 16_000  # what everything is trained on; no teacher has more than 11 kHz
_RMS = 0.088  # about -23 LUFS for speech with few pauses
_PEAK = 0.95
_EDGE_S = 0.08  # silence kept before and after the words
_SILENCE_RATIO = 0.01
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Speaker:
    """One teacher: which program, which voice, and the languages it is used for."""

    program: str
    voice: str
    languages: tuple[str, ...]
    pitch: int = 50
    words_per_minute: int = 160


SPEAKERS = {
    "ada": Speaker("flite", "slt", ("en",)),
    "max": Speaker("flite", "rms", ("en",)),
    "mei": Speaker("espeak-ng", "+f2", ("zh", "en"), pitch=58),
    "bo": Speaker("espeak-ng", "+m3", ("zh", "en"), pitch=62),
}

# Finals of our phonemes to pinyin, where they differ.
_FINALS = {"ir": "i", "i0": "i", "E": "e", "En": "an"}
_MARKS = {",": ",", ".": ".", "?": "?", "!": "!", "…": ",", "-": ","}


class Unpronounceable(Exception):
    """The teacher has no way to say this text as our frontend reads it."""


def synthesize(text: str, speaker: str, language: str) -> tuple[FloatArray, int]:
    """Return a teacher's speech: float32 (T,) at ``RATE_HZ``, loudness normalised, and the rate.

    Raises:
        Unpronounceable: the text cannot be said so that it fits our frontend's phonemes.
    """
    samples, _ = synthesize_with_phones(text, speaker, language)
    return samples, RATE_HZ


def synthesize_with_phones(text: str, speaker: str, language: str) -> tuple[FloatArray, list[str]]:
    """Return the speech, and the synthesiser's own phones where it tells them (flite)."""
    teacher = SPEAKERS[speaker]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "speech.wav"
        phones: list[str] = []
        if teacher.program == "flite":
            phones = _flite(text, teacher, path)
        elif language == "zh":
            _espeak(to_pinyin(phonemize(text, "zh")), "cmn-latn-pinyin", teacher, path)
        else:
            _espeak(text, "en-us", teacher, path)
        samples, rate_hz = _read(path)
    return _tidy(soxr_resample(samples, rate_hz, RATE_HZ)), phones


def _flite(text: str, teacher: Speaker, path: Path) -> list[str]:
    command = ["flite", "-voice", teacher.voice, "-ps", "-t", text, "-o", str(path)]
    return _run(command).split()


def _espeak(text: str, language: str, teacher: Speaker, path: Path) -> None:
    pitch, speed = str(teacher.pitch), str(teacher.words_per_minute)
    voice = language + teacher.voice
    _run(["espeak-ng", "-v", voice, "-p", pitch, "-s", speed, "-w", str(path), "--", text])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
    return done.stdout


def _read(path: Path) -> tuple[FloatArray, int]:
    with wave.open(str(path), "rb") as file:
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return (data / 32_768).astype(np.float32), file.getframerate()


def _tidy(samples: FloatArray) -> FloatArray:
    """Cut silence at the edges, remove DC, set the loudness."""
    samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    loud = np.flatnonzero(np.abs(samples) > _SILENCE_RATIO * np.abs(samples).max())
    if len(loud) < RATE_HZ // 10:
        raise Unpronounceable("silence")
    edge = int(_EDGE_S * RATE_HZ)
    samples = samples[max(0, loud[0] - edge) : loud[-1] + edge]
    fade = np.linspace(0, 1, edge // 2, dtype=np.float32)
    samples[: len(fade)] *= fade
    samples[-len(fade) :] *= fade[::-1]
    active = samples[np.abs(samples) > 0.02 * np.abs(samples).max()]
    samples = samples * np.float32(_RMS / max(1e-4, float(np.sqrt((active**2).mean()))))
    peak = float(np.abs(samples).max())
    return samples if peak <= _PEAK else samples * np.float32(_PEAK / peak)


@lru_cache(maxsize=1)
def frontend() -> TextFrontend:
    """Return the frontend, which never cuts: one text is one segment."""
    return TextFrontend("v2", FrontendConfig(cut="cut0"))


def phonemize(text: str, language: str) -> list[str]:
    """Return our frontend's phonemes of a text.

    Raises:
        Unpronounceable: it is no single segment.
    """
    segments = list(frontend().iterate(text, language))
    if len(segments) != 1:
        raise Unpronounceable(f"{len(segments)} segments")
    return list(segments[0].phonemes)


def to_pinyin(phonemes: Sequence[str]) -> str:
    """Return the pinyin, with tone digits, of a Mandarin segment's phonemes.

    Raises:
        Unpronounceable: a phoneme is neither an initial, a final nor a mark.
    """
    words: list[str] = []
    initial = ""
    for phoneme in phonemes:
        if phoneme in _MARKS and not initial:
            words.append(_MARKS[phoneme])
        elif phoneme[-1:].isdigit() and initial:
            words.append(_syllable(initial, phoneme[:-1], phoneme[-1]))
            initial = ""
        elif not initial and phoneme.isalpha():
            initial = phoneme
        else:
            raise Unpronounceable(phoneme)
    if initial:
        raise Unpronounceable(initial)
    return " ".join(words).replace(" ,", ",").replace(" .", ".").replace(" ?", "?")


def _syllable(initial: str, final: str, tone: str) -> str:
    final = _FINALS.get(final, final)
    if initial in ("AA", "EE", "OO"):  # no initial at all
        return final + tone
    if initial in ("y", "j", "q", "x"):
        final = {"v": "u", "van": "uan", "ve": "ue", "vn": "un"}.get(final, final)
    return initial + final + tone
