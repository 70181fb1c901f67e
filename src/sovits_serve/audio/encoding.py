"""Writing int16 mono audio piece by piece: wav, flac, ogg (Vorbis).

Every writer works on a sink that can only be written to (a socket), and mends the lengths in the
header afterwards where the sink can seek. Errors of the sink come out as they are (``OSError``).
"""

import struct
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np
import numpy.typing as npt

from sovits_serve.errors import InvalidRequest

PcmArray = npt.NDArray[np.int16]

_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_SAMPLE_BYTES = 2
# What a wav header says when the length is not known, or past what 32 bits can say.
_UNKNOWN_SIZE = 0xFFFF_FFFF


class AudioFormat(StrEnum):
    """File formats that can be written; the values are file name suffixes."""

    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"


class AudioSink(Protocol):
    """Where encoded bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take all of the bytes, or raise ``OSError``."""


class AudioWriter(Protocol):
    """Encodes audio as it comes."""

    def write(self, samples: PcmArray) -> None:
        """Encode samples, int16 (T,)."""

    def close(self) -> None:
        """Write what is held back. The sink stays open."""

    def __enter__(self) -> Self:
        """Return the writer."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the writer."""


def check_format(path: Path) -> AudioFormat:
    """Return the format that a file name's suffix asks for.

    Raises:
        InvalidRequest: the suffix is none of the formats.
    """
    try:
        return AudioFormat(path.suffix[1:].lower())
    except ValueError as error:
        raise InvalidRequest(
            f"{path.name}: the suffix is {path.suffix or 'missing'}, must be one of "
            f"{', '.join(f'.{choice}' for choice in AudioFormat)}"
        ) from error


def make_writer(sink: AudioSink, kind: AudioFormat, rate_hz: int) -> AudioWriter:
    """Return a writer of ``kind`` that encodes into ``sink``."""
    if kind is AudioFormat.WAV:
        return WavWriter(sink, rate_hz)
    return SoundFileWriter(sink, kind, rate_hz)


class _Writer:
    """A context manager that closes itself."""

    def close(self) -> None:
        """Write what is held back."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class WavWriter(_Writer):
    """Writes 16-bit mono wav; the header says "length unknown" until the sink can be mended."""

    def __init__(self, sink: AudioSink, rate_hz: int) -> None:
        self._sink = sink
        self._rate_hz = rate_hz
        self._num_bytes = 0
        self._is_closed = False
        sink.write(wav_header(rate_hz))

    def write(self, samples: PcmArray) -> None:
        """Encode samples, int16 (T,)."""
        data = samples.astype("<i2", copy=False).tobytes()
        self._sink.write(data)
        self._num_bytes += len(data)

    def close(self) -> None:
        """Write the true length into the header, if the sink can seek."""
        if self._is_closed:
            return
        self._is_closed = True
        file = _seekable(self._sink)
        if file is not None:
            file.seek(-self._num_bytes - _WAV_HEADER.size, 1)
            file.write(wav_header(self._rate_hz, self._num_bytes // _SAMPLE_BYTES))
            file.seek(0, 2)


def wav_header(rate_hz: int, num_samples: int | None = None) -> bytes:
    """Return the 44 bytes in front of 16-bit mono samples; None means a length not known yet."""
    size = _UNKNOWN_SIZE if num_samples is None else num_samples * _SAMPLE_BYTES
    data_size = min(size, _UNKNOWN_SIZE)
    riff_size = min(size + _WAV_HEADER.size - 8, _UNKNOWN_SIZE)
    rate_bytes = rate_hz * _SAMPLE_BYTES
    layout = (b"fmt ", 16, 1, 1, rate_hz, rate_bytes, _SAMPLE_BYTES, 8 * _SAMPLE_BYTES)
    return _WAV_HEADER.pack(b"RIFF", riff_size, b"WAVE", *layout, b"data", data_size)


class SoundFileWriter(_Writer):
    """Writes flac or ogg through libsndfile."""

    def __init__(self, sink: AudioSink, kind: AudioFormat, rate_hz: int) -> None:
        import soundfile

        self._rate_hz = rate_hz
        self._sink = _SoundFileSink(sink)
        self._file = soundfile.SoundFile(
            self._sink, "w", samplerate=rate_hz, channels=1, format=kind.upper()
        )
        self._sink.raise_error()

    def write(self, samples: PcmArray) -> None:
        """Encode samples, int16 (T,), a second at a time.

        libsndfile 1.2.2 overflows its stack on one long write to Vorbis (seen at 2.9 M samples).
        """
        for start in range(0, len(samples), self._rate_hz):
            self._file.write(np.ascontiguousarray(samples[start : start + self._rate_hz]))
            self._sink.raise_error()

    def close(self) -> None:
        """Write what the encoder holds back."""
        self._file.close()
        self._sink.raise_error()


class _SoundFileSink:
    """What libsndfile writes to: keeps a sink's error, because a callback in C cannot raise it.

    A sink that cannot seek is followed by counting; what would change bytes already sent (lengths
    in the header) is left out.
    """

    def __init__(self, sink: AudioSink) -> None:
        self._sink = sink
        self._file = _seekable(sink)
        self._start = self._file.tell() if self._file is not None else 0
        self._position = 0
        self._end = 0
        self._error: OSError | None = None

    def raise_error(self) -> None:
        """Raise the sink's first error."""
        if self._error is not None:
            raise self._error

    def write(self, data: memoryview) -> int:
        """Pass bytes on; report them as taken even after an error, which comes up later."""
        is_new = self._position == self._end
        if self._error is None and (is_new or self._file is not None):
            try:
                self._sink.write(bytes(data))
            except OSError as error:
                self._error = error
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move within what has been written."""
        base = (0, self._position, self._end)[whence]
        self._position = min(max(0, base + offset), self._end)
        if self._file is not None:
            self._file.seek(self._start + self._position)
        return self._position

    def tell(self) -> int:
        """Return the position after the first byte written here."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return nothing: libsndfile asks for the method, not for bytes."""
        del size
        return b""


def _seekable(sink: AudioSink) -> BinaryIO | None:
    """Return the sink as a file if one can go back in it."""
    is_seekable = getattr(sink, "seekable", None)
    if is_seekable is None or not is_seekable():
        return None
    return sink  # type: ignore[return-value]  # what has seekable() is a binary file
