"""Decoding the audio that strangers send: bytes in, checked float32 samples out.

The kind of file is told from its first bytes, decoding stops at the limits whatever a header
claims, and every sample is checked. ``sandbox`` does the same in a process of its own.
"""

from collections.abc import Callable

import numpy as np

from sovits_serve.audio.containers import Container, DecoderName, find_container
from sovits_serve.audio.decoders import UndecodableAudio, check_layout, decode_with, max_samples
from sovits_serve.audio.waveform import AudioLimits, Waveform
from sovits_serve.errors import BadReferenceAudio

__all__ = ["AudioLimits", "Decode", "Waveform", "decode_audio", "decode_by"]

Decode = Callable[[DecoderName, bytes, Container, AudioLimits], Waveform]


def decode_audio(data: bytes, limits: AudioLimits | None = None) -> Waveform:
    """Decode wav, flac, ogg, mp3, aiff, caf; with the extra ``codecs`` also m4a, aac, webm.

    Raises:
        BadReferenceAudio: the data is no such file, is damaged, is past a limit, or holds samples
            that are no sound.
    """
    return decode_by(decode_with, data, limits or AudioLimits())


def decode_by(decode: Decode, data: bytes, limits: AudioLimits) -> Waveform:
    """Decode with ``decode``, trying the decoders of the container in turn, and check the result.

    Raises:
        BadReferenceAudio: as ``decode_audio``.
    """
    container = _identify(data, limits)
    reasons = []
    for decoder in container.decoders:
        try:
            waveform = decode(decoder, data, container, limits)
        except UndecodableAudio as error:
            reasons.append(f"{decoder}: {error}")
        else:
            _check_samples(waveform, limits)
            return waveform
    raise BadReferenceAudio(
        f"reference audio: cannot be read as {container.name} ({'; '.join(reasons)})"
    )


def _identify(data: bytes, limits: AudioLimits) -> Container:
    if not data:
        raise BadReferenceAudio("reference audio: is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise BadReferenceAudio(
            f"reference audio: is {len(data)} bytes, must be at most {limits.max_bytes}"
        )
    container = find_container(data)
    if container is None:
        raise BadReferenceAudio(
            f"reference audio: begins with {data[:8]!r}, which is no audio file we read; send wav, "
            "flac, ogg, mp3, m4a or webm"
        )
    return container


def _check_samples(waveform: Waveform, limits: AudioLimits) -> None:
    """Check everything about decoded audio, also what a decoder has promised."""
    check_layout(waveform.num_channels, waveform.rate_hz, limits)
    samples = waveform.samples
    if not 0 < samples.shape[1] <= max_samples(waveform.rate_hz, limits):
        raise BadReferenceAudio(
            f"reference audio: is {waveform.duration_s:g} s, must be more than 0 and at most "
            f"{limits.max_duration_s:g} s"
        )
    lowest, highest = float(samples.min()), float(samples.max())
    if not np.isfinite([lowest, highest]).all():
        raise BadReferenceAudio("reference audio: holds samples that are not finite (NaN or inf)")
    peak = max(-lowest, highest)
    if peak > limits.max_amplitude:
        raise BadReferenceAudio(
            f"reference audio: its peak is {peak:.3g}, must be at most {limits.max_amplitude:g}; "
            "full scale is 1"
        )
