"""Goldens of reference audio: resampling, spectrograms, filterbanks, HuBERT, speaker embedding."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from sovits_serve.audio.decode import AudioLimits, decode_audio
from sovits_serve.audio.waveform import Waveform
from sovits_serve.models.reference.features import (
    PreparedReference,
    ReferenceRules,
    prepare_reference,
    reference_mel,
)
from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.reference.speaker import SpeakerEncoder, kaldi_fbank
from sovits_serve.models.reference.spectrogram import MEL_V3, MEL_V4, linear_spectrogram
from sovits_serve.parity import limits, models
from sovits_serve.parity.golden import Arrays, GoldenDirectory
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.report import Check, Lazy, Report, Step, Task

_AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
_RULES = ReferenceRules(min_s=0.0, max_s=3600.0)


@dataclass(frozen=True)
class Recording:
    """One recording with its recorded features, and the encoders they went through."""

    name: str
    prefix: str
    arrays: Arrays
    reference: Lazy[PreparedReference]
    hubert: Callable[[str], HubertEncoder]
    speaker: Callable[[], SpeakerEncoder]
    precision: Precision

    def recorded(self, feature: str) -> Tensor:
        """Return a recorded feature."""
        return self.arrays.tensor(f"{self.prefix}_{feature}")


def find(directory: GoldenDirectory, precision: Precision, report: Report) -> Iterator[Task]:
    """Yield a task per ``.npz`` whose keys are features of the directory's recordings."""
    for stem, arrays in directory.arrays.items():
        prefixes = sorted({match.group(1) for match in arrays.match(r"(.+)_(?:spec|librosa16)")})
        if not prefixes:
            continue
        paths = {prefix: audio_file(directory, prefix) for prefix in prefixes}
        found = {prefix: path for prefix, path in paths.items() if path is not None}
        if not found:
            continue
        for prefix in paths.keys() - found.keys():
            report.note(
                f"parity: {stem}/{prefix} skipped: no recording {prefix}.* in the directory"
            )
        files = (*directory.files(stem), *found.values())
        yield Task(stem, files, partial(_steps, stem, arrays, found, directory, precision, report))


def audio_file(directory: GoldenDirectory, stem: str) -> Path | None:
    """Return the recording of a stem, or None without one."""
    paths = (directory.file(stem + suffix) for suffix in _AUDIO_SUFFIXES)
    return next((path for path in paths if path is not None), None)


def read_audio(path: Path) -> Waveform:
    """Decode a recording."""
    return decode_audio(path.read_bytes(), AudioLimits())


def _steps(
    stem: str,
    arrays: Arrays,
    paths: dict[str, Path],
    directory: GoldenDirectory,
    precision: Precision,
    report: Report,
) -> Iterator[Step]:
    encoders = _Encoders(directory, precision)
    for prefix, path in paths.items():
        recording = Recording(
            f"{stem}/{prefix}",
            prefix,
            arrays,
            Lazy(partial(_read, path)),
            encoders.hubert,
            encoders.speaker,
            precision,
        )
        for match in arrays.match(rf"{prefix}_(.+)"):
            feature = match.group(1)
            missing = encoders.missing(feature)
            if missing:
                report.note(f"parity: {recording.name}_{feature} skipped: no {missing}")
            elif check := _check_for(feature):
                name = f"{recording.name}_{feature}"
                yield Step(name, partial(check, name, recording, feature))


def _read(path: Path) -> PreparedReference:
    return prepare_reference(read_audio(path), _RULES)


class _Encoders:
    """The networks that features went through, built once, by the names of their recipes."""

    def __init__(self, directory: GoldenDirectory, precision: Precision) -> None:
        self._directory = directory
        self._precision = precision
        self._huberts: dict[str, HubertEncoder] = {}
        self.speaker = Lazy(self._make_speaker)

    def missing(self, feature: str) -> str | None:
        """Return the recipe that a feature needs and the directory lacks."""
        stem = feature if feature.startswith("hubert") else "sv" if feature == "sv" else None
        if stem is None or self._directory.file(f"{stem}.weights.json"):
            return None
        return f"{stem}.weights.json"

    def hubert(self, stem: str) -> HubertEncoder:
        """Return the encoder of the recipe ``stem``."""
        if stem not in self._huberts:
            recipe = self._directory.recipe(stem)
            assert recipe is not None
            self._huberts[stem] = models.hubert(recipe, self._precision)
        return self._huberts[stem]

    def _make_speaker(self) -> SpeakerEncoder:
        recipe = self._directory.recipe("sv")
        assert recipe is not None
        return models.speaker(recipe, self._precision)


_Comparison = Callable[[str, Recording, str], Iterator[Check]]


def _check_for(feature: str) -> _Comparison | None:
    if feature.startswith("hubert"):
        return _check_hubert
    return {
        "spec": _check_signal,
        "a16": _check_signal,
        "librosa16": _check_signal,
        "mel_v3": _check_mel,
        "mel_v4": _check_mel,
        "fbank": _check_fbank,
        "sv": _check_speaker,
    }.get(feature)


def _check_signal(name: str, recording: Recording, feature: str) -> Iterator[Check]:
    """Compare signal processing, which is float32 at every precision."""
    ours, recorded = _signal(recording, feature), recording.recorded(feature)
    if feature == "spec":
        ours = ours[: recorded.shape[0]]  # a golden may hold only the lowest bins
    yield limits.relative_difference(name, ours, recorded.reshape(ours.shape), limits.FEATURES)


def _signal(recording: Recording, feature: str) -> Tensor:
    reference = recording.reference()
    if feature == "spec":
        wave = torch.from_numpy(reference.style_wave).to(recording.precision.device)
        return linear_spectrogram(wave[None])[0]
    if feature == "a16":
        return torch.from_numpy(reference.speaker_wave)
    if feature == "librosa16":
        assert reference.ssl_wave is not None
        padded = torch.from_numpy(reference.ssl_wave)
        return padded[: recording.recorded(feature).numel()]  # recorded before the zeros
    raise AssertionError(f"{feature} is no signal")


def _check_mel(name: str, recording: Recording, feature: str) -> Iterator[Check]:
    settings = MEL_V3 if feature == "mel_v3" else MEL_V4
    ours = reference_mel(recording.reference(), settings)
    recorded = recording.recorded(feature).reshape(ours.shape)
    yield limits.relative_difference(name, ours, recorded, limits.MEL_RELATIVE)
    yield limits.mostly_close(name, ours, recorded, limits.largest(recorded))


def _check_fbank(name: str, recording: Recording, feature: str) -> Iterator[Check]:
    wave = torch.from_numpy(recording.reference().speaker_wave)
    ours = kaldi_fbank(wave.to(recording.precision.device)).cpu()
    recorded = recording.recorded(feature)
    yield limits.difference(name, ours, recorded, limits.FBANK)
    yield limits.mostly_close(name, ours, recorded)


def _check_speaker(name: str, recording: Recording, feature: str) -> Iterator[Check]:
    wave = torch.from_numpy(recording.reference().speaker_wave)
    ours = recording.speaker().embed([wave])[0]
    recorded = recording.recorded(feature)
    yield recording.precision.close_relative(name, ours, recorded, limits.SPEAKER_RELATIVE)


def _check_hubert(name: str, recording: Recording, feature: str) -> Iterator[Check]:
    wave = recording.reference().ssl_wave
    assert wave is not None
    ours = recording.hubert(feature).encode([torch.from_numpy(wave)])[0]
    yield recording.precision.close(name, ours, recording.recorded(feature), limits.FEATURES)
