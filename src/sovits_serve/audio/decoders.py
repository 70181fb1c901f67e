"""The two decoders: libsndfile (soundfile) and FFmpeg (PyAV, the extra ``codecs``).

Both read bytes, never a name, and stop at the longest allowed length whatever the header says.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sovits_serve.audio.containers import Container, DecoderName
from sovits_serve.audio.waveform import AudioLimits, FloatArray, Waveform
from sovits_serve.errors import BadReferenceAudio

if TYPE_CHECKING:
    import av

# libsndfile says this where a file does not know its length; soundfile cannot read such a file.
_UNKNOWN_LENGTH = 2**62
# Zero of every integer sample format, and its full scale.
_INTEGER_SCALES = {"u1": (128, 128.0), "i2": (0, 2.0**15), "i4": (0, 2.0**31)}


class UndecodableAudio(Exception):
    """A decoder cannot read the data; the message says why."""


def decode_with(
    decoder: DecoderName, data: bytes, container: Container, limits: AudioLimits
) -> Waveform:
    """Decode with the named decoder. Samples are not checked yet.

    Raises:
        UndecodableAudio: this decoder cannot read the data.
        BadReferenceAudio: channels, rate or length are past a limit.
    """
    if decoder == "libsndfile":
        return _decode_with_soundfile(data, container, limits)
    return _decode_with_av(data, container, limits)


def check_layout(num_channels: int, rate_hz: int, limits: AudioLimits) -> None:
    """Check what must be known before memory is spent on samples.

    Raises:
        BadReferenceAudio: there are too many channels, or the rate is out of range.
    """
    if not 1 <= num_channels <= limits.max_channels:
        raise BadReferenceAudio(
            f"reference audio: has {num_channels} channels, must be 1 to {limits.max_channels}"
        )
    if not limits.min_rate_hz <= rate_hz <= limits.max_rate_hz:
        raise BadReferenceAudio(
            f"reference audio: sample rate is {rate_hz} Hz, must be {limits.min_rate_hz} to "
            f"{limits.max_rate_hz} Hz"
        )


def _check_length(num_samples: int, rate_hz: int, limits: AudioLimits) -> None:
    if num_samples > max_samples(rate_hz, limits):
        raise BadReferenceAudio(
            f"reference audio: is longer than {limits.max_duration_s:g} s; cut it shorter"
        )


def max_samples(rate_hz: int, limits: AudioLimits) -> int:
    """Return the longest allowed length in samples."""
    return int(limits.max_duration_s * rate_hz)


def _decode_with_soundfile(data: bytes, container: Container, limits: AudioLimits) -> Waveform:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            check_layout(file.channels, file.samplerate, limits)
            if file.frames >= _UNKNOWN_LENGTH:
                raise UndecodableAudio("does not say how long it is")
            # One sample more than allowed tells a file that is too long from one that just fits.
            wanted = min(file.frames, max_samples(file.samplerate, limits) + 1)
            samples = file.read(wanted, dtype="float32", always_2d=True)  # (T, channels)
            _check_length(len(samples), file.samplerate, limits)
            if len(samples) < wanted and container.name == "flac":
                raise UndecodableAudio(
                    f"ends after {len(samples)} of the {file.frames} samples it promises"
                )
            return Waveform(np.ascontiguousarray(samples.T), file.samplerate)
    except soundfile.SoundFileError as error:
        raise UndecodableAudio(_plain(error)) from error


def _plain(error: Exception) -> str:
    """Return an error's text without the address of the memory file that soundfile puts in it."""
    return str(error).rpartition(">: ")[2].rstrip(". ")


def _decode_with_av(data: bytes, container: Container, limits: AudioLimits) -> Waveform:
    try:
        import av
    except ImportError as error:
        raise UndecodableAudio(
            'needs the extra `codecs`: pip install "sovits-serve[codecs]"'
        ) from error
    # A fixed demuxer without protocols: nothing the file names is ever opened.
    options = {"protocol_whitelist": "none", "format_whitelist": container.ffmpeg_format}
    try:
        with av.open(
            io.BytesIO(data), mode="r", format=container.ffmpeg_format, options=options
        ) as file:
            return _read_stream(file, limits)
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UndecodableAudio(reason) from error


def _read_stream(file: "av.container.InputContainer", limits: AudioLimits) -> Waveform:
    if not file.streams.audio:
        raise UndecodableAudio("holds no audio")
    stream = file.streams.audio[0]
    # FFmpeg lists streams in codecs that it does not know; PyAV types them as if it knew all.
    if getattr(stream, "codec_context", None) is None:
        raise UndecodableAudio("is in a codec that is not known")
    stream.codec_context.thread_count = 1
    blocks: list[FloatArray] = []
    num_samples, layout = 0, None
    for frame in _frames(file, stream):
        if layout is None:
            layout = (frame.layout.nb_channels, frame.sample_rate)
            check_layout(*layout, limits)
        if (frame.layout.nb_channels, frame.sample_rate) != layout:
            raise UndecodableAudio("changes its channels or sample rate midway")
        blocks.append(_to_float(frame))
        num_samples += frame.samples
        _check_length(num_samples, layout[1], limits)
    if layout is None:
        raise UndecodableAudio("holds no audio")
    return Waveform(np.ascontiguousarray(np.concatenate(blocks, axis=1)), layout[1])


def _frames(
    file: "av.container.InputContainer", stream: "av.audio.stream.AudioStream"
) -> Iterator["av.AudioFrame"]:
    yield from file.decode(stream)


def _to_float(frame: "av.AudioFrame") -> FloatArray:
    """Return float32 (channels, T) of a frame in any sample format."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    zero, scale = _INTEGER_SCALES[values.dtype.str[1:]]
    return ((values.astype(np.float64) - zero) / scale).astype(np.float32)
