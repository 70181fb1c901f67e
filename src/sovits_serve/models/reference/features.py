"""From decoded reference audio to everything the models want to know about a speaker.

Two steps, so that one can be cached without the other: ``prepare_reference`` is signal processing
alone (numpy), ``ReferenceEncoder`` runs the networks, batched. Features are per reference;
averaging several is the caller's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sovits_serve.audio.resample import FloatArray, sinc_resample, soxr_resample
from sovits_serve.audio.waveform import Waveform
from sovits_serve.errors import BadReferenceAudio
from sovits_serve.models.reference.hubert import SSL_RATE_HZ, HubertEncoder
from sovits_serve.models.reference.speaker import SPEAKER_RATE_HZ, SpeakerEncoder
from sovits_serve.models.reference.spectrogram import (
    MelSettings,
    linear_spectrogram,
    mel_spectrogram,
    normalize_mel,
)

STYLE_RATE_HZ = 32_000

# 0.3 s at 32 kHz, but appended at 16 kHz: a slip upstream that its models are used with.
_NUM_TRAILING_ZEROS = 9_600
# Quieter than -80 dBFS there is no voice to take.
_SILENCE_PEAK = 1e-4
_MIN_STYLE_S = 0.1


@dataclass(frozen=True)
class ReferenceRules:
    """How long a reference may be. ``trim`` cuts one that is too long instead of refusing it."""

    min_s: float = 3.0
    max_s: float = 10.0
    trim: bool = False


@dataclass(frozen=True)
class PreparedReference:
    """Reference signals, float32 (T,) each.

    Attributes:
        mono: at ``mono_rate_hz``, untouched but for the mixing; mel spectrograms start here.
        style_wave: at 32 kHz, peak-limited; the spectrogram's input.
        ssl_wave: at 16 kHz with silence behind it, HuBERT's input; None for an auxiliary reference.
    """

    mono: FloatArray
    mono_rate_hz: int
    style_wave: FloatArray
    ssl_wave: FloatArray | None

    @property
    def speaker_wave(self) -> FloatArray:
        """Return the speaker encoder's input, at 16 kHz."""
        return sinc_resample(self.style_wave, STYLE_RATE_HZ, SPEAKER_RATE_HZ)


@dataclass(frozen=True)
class ReferenceFeatures:
    """What the networks say about one reference.

    Attributes:
        ssl_features: (T_ssl, D), or None for an auxiliary reference.
        spectrogram: float32 (1025, T_spec).
        speaker_embedding: float32 (20480,), or None where the model has no use for it.
    """

    ssl_features: Tensor | None
    spectrogram: Tensor
    speaker_embedding: Tensor | None


def prepare_reference(
    waveform: Waveform, rules: ReferenceRules | None = None, *, is_auxiliary: bool = False
) -> PreparedReference:
    """Check a reference's length and compute the signals that the networks read.

    An auxiliary reference only lends its style: its length is free and it has no ``ssl_wave``.

    Raises:
        BadReferenceAudio: the reference is silent, too short, or too long and not to be trimmed.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, _get_ref_spec and _set_prompt_semantic.
    Differs: trims by setting, refuses silence.
    """
    rules = rules or ReferenceRules()
    if not is_auxiliary and rules.trim:
        waveform = _trim(waveform, rules.max_s)
    mono = _mix_to_mono(waveform)
    _check_signal(mono, waveform.rate_hz)
    ssl_wave = None
    if not is_auxiliary:
        resampled = soxr_resample(mono, waveform.rate_hz, SSL_RATE_HZ)
        _check_duration(resampled.shape[0] / SSL_RATE_HZ, rules)
        ssl_wave = np.pad(resampled, (0, _NUM_TRAILING_ZEROS))
    style_wave = _limit_peak(sinc_resample(mono, waveform.rate_hz, STYLE_RATE_HZ))
    return PreparedReference(mono, waveform.rate_hz, style_wave, ssl_wave)


def _trim(waveform: Waveform, max_s: float) -> Waveform:
    return Waveform(waveform.samples[:, : int(max_s * waveform.rate_hz)], waveform.rate_hz)


def _mix_to_mono(waveform: Waveform) -> FloatArray:
    channels = waveform.samples
    mixed = channels[0] if waveform.num_channels == 1 else channels.mean(axis=0)
    return np.asarray(mixed, dtype=np.float32)


def _check_signal(mono: FloatArray, rate_hz: int) -> None:
    duration_s = mono.shape[0] / rate_hz
    if duration_s < _MIN_STYLE_S:
        raise BadReferenceAudio(f"reference is {duration_s:.3f} s; needs at least {_MIN_STYLE_S} s")
    peak = float(np.abs(mono).max())
    if not np.isfinite(peak):
        raise BadReferenceAudio("reference holds samples that are not finite (NaN or infinity)")
    if peak < _SILENCE_PEAK:
        raise BadReferenceAudio(
            f"reference is silent: its peak is {peak:.1e}, needs at least {_SILENCE_PEAK:.0e}"
        )


def _check_duration(duration_s: float, rules: ReferenceRules) -> None:
    if rules.min_s <= duration_s <= rules.max_s:
        return
    shown = f"{round(duration_s, 2):g}"
    if rules.min_s <= float(shown) <= rules.max_s:  # by a hair: do not round it away
        shown = f"{duration_s:.5f}"
    raise BadReferenceAudio(f"reference is {shown} s; needs {rules.min_s:g} to {rules.max_s:g} s")


def _limit_peak(samples: FloatArray) -> FloatArray:
    peak = float(np.abs(samples).max())
    return samples if peak <= 1 else samples / np.float32(min(2.0, peak))


class ReferenceEncoder:
    """Runs the reference networks over prepared signals."""

    def __init__(
        self,
        hubert: HubertEncoder,
        speaker: SpeakerEncoder | None,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self._hubert = hubert
        self._speaker = speaker
        self._device = device

    def encode(self, references: Sequence[PreparedReference]) -> list[ReferenceFeatures]:
        """Return the features of each reference; each equals that reference alone."""
        ssl_waves = [item.ssl_wave for item in references if item.ssl_wave is not None]
        ssl_rows = iter(self._hubert.encode([torch.from_numpy(wave) for wave in ssl_waves]))
        embeddings: Sequence[Tensor | None] = [None] * len(references)
        if self._speaker is not None and references:
            waves = [torch.from_numpy(item.speaker_wave) for item in references]
            embeddings = list(self._speaker.embed(waves))
        return [
            ReferenceFeatures(
                None if item.ssl_wave is None else next(ssl_rows),
                self._spectrogram(item),
                embedding,
            )
            for item, embedding in zip(references, embeddings, strict=True)
        ]

    def _spectrogram(self, reference: PreparedReference) -> Tensor:
        wave = torch.from_numpy(reference.style_wave).to(self._device)
        return linear_spectrogram(wave[None])[0]


def reference_mel(reference: PreparedReference, settings: MelSettings) -> Tensor:
    """Return the normalised mel spectrogram that v3 and v4 read: float32 (bands, T_mel).

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, using_vocoder_synthesis: from the signal
    before the peak rule.
    """
    resampled = sinc_resample(reference.mono, reference.mono_rate_hz, settings.rate_hz)
    return normalize_mel(mel_spectrogram(torch.from_numpy(resampled)[None], settings))[0]
