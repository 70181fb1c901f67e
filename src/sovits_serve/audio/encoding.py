"""Writing int16 mono audio piece by piece: wav, pcm, flac, ogg (Vorbis), mp3, opus, aac.

Every writer works on a sink that can only be written to (a socket). Where the sink can seek, wav
and flac get their lengths in the header afterwards. Errors of the sink come out as they are
(``OSError``). mp3, opus and aac need the extra ``codecs``.

How soon bytes leave: wav and pcm at once, mp3, opus and aac within 100 ms, flac after 4096 samples,
ogg in pages of 4 KiB, a second of speech or several of silence (opus is the one to stream). What
leaves does not depend on how the audio was cut, up to the serial number of an ogg.
"""

import io
from enum import StrEnum
from pathlib import Path

import numpy as np

from sovits_serve.audio.av_writer import (
    AAC,
    MP3,
    OPUS,
    AvWriter,
    Codec,
    check_codec,
    nearest_rate,
)
from sovits_serve.audio.plain_writer import PcmWriter, WavWriter, wav_header
from sovits_serve.audio.sink import AudioSink, AudioWriter, ByteSink, PcmArray
from sovits_serve.audio.sound_file_writer import SoundFileWriter
from sovits_serve.errors import InvalidRequest

__all__ = [
    "AudioFormat",
    "AudioSink",
    "AudioWriter",
    "ByteSink",
    "PcmArray",
    "check_available",
    "check_format",
    "encode_file",
    "file_rate_hz",
    "make_writer",
    "media_type",
    "wav_header",
]

MAX_RATE_HZ = 192_000


class AudioFormat(StrEnum):
    """File formats that can be written; the values are file name suffixes."""

    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"  # Vorbis
    MP3 = "mp3"
    OPUS = "opus"  # in ogg
    AAC = "aac"  # in ADTS
    PCM = "pcm"  # samples without a header


_CODECS: dict[AudioFormat, Codec] = {
    AudioFormat.MP3: MP3,
    AudioFormat.OPUS: OPUS,
    AudioFormat.AAC: AAC,
}
_MEDIA_TYPES = {
    AudioFormat.WAV: "audio/wav",
    AudioFormat.FLAC: "audio/flac",
    AudioFormat.OGG: "audio/ogg",
    AudioFormat.MP3: "audio/mpeg",
    AudioFormat.OPUS: "audio/ogg; codecs=opus",
    AudioFormat.AAC: "audio/aac",
    AudioFormat.PCM: "audio/pcm",
}


def media_type(kind: AudioFormat) -> str:
    """Return a format's name in a Content-Type header."""
    return _MEDIA_TYPES[kind]


def file_rate_hz(kind: AudioFormat, rate_hz: int) -> int:
    """Return the sample rate of a file that is made of audio of ``rate_hz``."""
    codec = _CODECS.get(kind)
    return rate_hz if codec is None else nearest_rate(rate_hz, codec.rates_hz)


def check_available(kind: AudioFormat) -> None:
    """Check that this installation can write a format.

    The first call for mp3, opus or aac imports FFmpeg (a tenth of a second).

    Raises:
        UnsupportedFormat: it cannot; says what to install.
    """
    if kind in _CODECS:
        check_codec(kind, _CODECS[kind])


def check_format(path: Path) -> AudioFormat:
    """Return the format that a file name's suffix asks for, if it can be written here.

    Raises:
        InvalidRequest: the suffix is none of the formats.
        UnsupportedFormat: this installation cannot write it.
    """
    try:
        kind = AudioFormat(path.suffix[1:].lower())
    except ValueError as error:
        raise InvalidRequest(
            f"{path.name}: the suffix is {path.suffix or 'missing'}, must be one of "
            f"{', '.join(f'.{choice}' for choice in AudioFormat)}"
        ) from error
    check_available(kind)
    return kind


def make_writer(
    sink: AudioSink, kind: AudioFormat, rate_hz: int, *, bitrate: int | None = None
) -> AudioWriter:
    """Return a writer of ``kind`` that encodes audio of ``rate_hz`` into ``sink``.

    Args:
        sink: gets all bytes in order.
        kind: the format.
        rate_hz: of the samples that will be written, and of the file, except where the codec does
            not know it (opus is always 48 kHz).
        bitrate: bits per second of mp3, opus and aac; the others do not look at it.

    Raises:
        InvalidRequest: the rate or bit rate is out of range.
        UnsupportedFormat: this installation cannot write the format.
    """
    if not 1 <= rate_hz <= MAX_RATE_HZ:
        raise InvalidRequest(f"sample rate: {rate_hz} Hz is not between 1 and {MAX_RATE_HZ}")
    check_available(kind)
    if kind in _CODECS:
        return AvWriter(sink, _CODECS[kind], rate_hz, bitrate)
    if kind is AudioFormat.WAV:
        return WavWriter(sink, rate_hz)
    if kind is AudioFormat.PCM:
        return PcmWriter(sink)
    return SoundFileWriter(sink, "FLAC" if kind is AudioFormat.FLAC else "OGG", rate_hz)


def encode_file(
    samples: PcmArray, kind: AudioFormat, rate_hz: int, *, bitrate: int | None = None
) -> bytes:
    """Return one complete file, with its length in the header where the format has a place for it.

    Raises:
        InvalidRequest, UnsupportedFormat: as ``make_writer``.
    """
    file = io.BytesIO()
    with make_writer(file, kind, rate_hz, bitrate=bitrate) as writer:
        writer.write(np.asarray(samples, dtype=np.int16))
    return file.getvalue()
