"""Writing mp3, opus and aac through FFmpeg (PyAV, the extra ``codecs``).

Only calls that PyAV has had unchanged since 14 are used. Bytes leave with every packet (20 to
36 ms); rates that a codec does not know are resampled to one that it does.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sovits_serve.audio.resample import PcmResampler
from sovits_serve.audio.sink import AudioSink, ClosingWriter, PcmArray
from sovits_serve.errors import InvalidRequest, UnsupportedFormat

if TYPE_CHECKING:
    import av

MIN_BITRATE = 8_000
_FIRST_SAMPLES = 576  # the encoder is made when it has as many; the shortest frame of mp3
_MPEG_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@dataclass(frozen=True)
class Codec:
    """How FFmpeg is to write one format."""

    encoder: str
    container: str
    rates_hz: tuple[int, ...]
    bitrate: int  # bits per second, unless the caller says
    max_bitrate: int
    options: Mapping[str, str] = field(default_factory=dict)


# No Xing header and no tags: they would want to go back to the beginning.
MP3 = Codec(
    "libmp3lame", "mp3", _MPEG_RATES_HZ, 96_000, 320_000, {"write_xing": "0", "id3v2_version": "0"}
)
# Pages of 20 ms, in microseconds; by default a page is held for a second.
OPUS = Codec("libopus", "ogg", (48_000,), 64_000, 256_000, {"page_duration": "20000"})
AAC = Codec("aac", "adts", (*_MPEG_RATES_HZ, 64_000, 88_200, 96_000), 96_000, 320_000)


def check_codec(name: str, codec: Codec) -> None:
    """Check that this installation can write a format; ``name`` is what people call it.

    Raises:
        UnsupportedFormat: it cannot; says what to install.
    """
    try:
        import av
    except ImportError as error:
        raise UnsupportedFormat(
            f"format: {name} needs the extra `codecs`: pip install sovits-serve[codecs]"
        ) from error
    try:
        av.Codec(codec.encoder, "w")
    except ValueError as error:  # of PyAV: UnknownCodecError
        raise UnsupportedFormat(
            f"format: {name} needs FFmpeg's {codec.encoder}, which the installed `av` "
            f"{av.__version__} does not have"
        ) from error


class AvWriter(ClosingWriter):
    """Writes through FFmpeg. What comes out does not depend on how the samples were cut."""

    def __init__(
        self, sink: AudioSink, codec: Codec, rate_hz: int, bitrate: int | None = None
    ) -> None:
        self._sink = _WriteOnly(sink)
        self._container: av.container.OutputContainer | None = None
        self._stream: av.AudioStream | None = None
        self._is_closed = False
        self._codec = codec
        self._bitrate = codec.bitrate if bitrate is None else bitrate
        if not MIN_BITRATE <= self._bitrate <= codec.max_bitrate:
            raise InvalidRequest(
                f"bitrate: {bitrate} is not between {MIN_BITRATE} and {codec.max_bitrate}"
            )
        self._rate_hz = nearest_rate(rate_hz, codec.rates_hz)
        self._resampler = PcmResampler(rate_hz, self._rate_hz)
        self._first = np.zeros(0, dtype=np.int16)
        self._num_samples = 0

    def write(self, samples: PcmArray) -> None:
        """Encode samples, int16 (T,)."""
        samples = self._resampler.process(samples)
        if self._container is None:
            samples = self._first = np.concatenate((self._first, samples))
            if len(samples) < _FIRST_SAMPLES:
                return  # as few make no packet either
            self._open(samples)
            self._first = samples[:0].copy()
        self._encode(samples)

    def close(self) -> None:
        """Encode the last samples and what the encoder holds back, and free the encoder."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            samples = self._resampler.finish()
            if self._container is None:
                samples = np.concatenate((self._first, samples))
                self._open(samples).start_encoding()  # an opus file of nothing has a header
            self._encode(samples)
            self._encode_frame(None)
        finally:
            self._free()
        self._sink.raise_error()

    def __del__(self) -> None:
        """Free an encoder that was never closed, without a word to its sink.

        Container and stream refer to each other; some 300 KB of C memory would else wait for the
        garbage collector, which does not see how much it is.
        """
        self._sink.is_open = False
        self._free()

    def _free(self) -> None:
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            container.close()

    def _encode(self, samples: PcmArray) -> None:
        import av

        if not len(samples):
            return
        block = np.ascontiguousarray(samples, dtype=np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        frame.pts = self._num_samples
        self._num_samples += len(samples)
        self._encode_frame(frame)

    def _encode_frame(self, frame: "av.AudioFrame | None") -> None:
        """Encode a frame, or with None what the encoder holds back."""
        assert self._container is not None
        assert self._stream is not None
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
        self._sink.raise_error()

    def _open(self, samples: PcmArray) -> "av.container.OutputContainer":
        """Make and return the encoder, once the first samples are known."""
        import av

        options = {**self._codec.options, "fflags": "+bitexact"}
        if self._codec.container == "ogg":
            # Streams that follow each other in one file must differ in this number; FFmpeg would
            # draw it, and the same speech would not be the same bytes.
            serial = zlib.crc32(samples[:_FIRST_SAMPLES].tobytes()) >> 1
            options["serial_offset"] = str(serial)
        self._container = av.open(
            self._sink, mode="w", format=self._codec.container, options=options
        )
        stream = self._container.add_stream(self._codec.encoder, rate=self._rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        stream.bit_rate = self._bitrate
        self._stream = stream
        return self._container


class _WriteOnly:
    """What FFmpeg writes to: hides that a sink can seek, so that all get the same bytes.

    Keeps a sink's error, because PyAV gives it back as one of its own.
    """

    def __init__(self, sink: AudioSink) -> None:
        self._sink = sink
        self._error: OSError | None = None
        self.is_open = True

    def raise_error(self) -> None:
        """Raise the sink's first error."""
        if self._error is not None:
            raise self._error

    def write(self, data: bytes) -> int:
        """Pass bytes on; report them as taken even after an error, which comes up later."""
        if self.is_open and self._error is None:
            try:
                self._sink.write(bytes(data))
            except OSError as error:
                self._error = error
        return len(data)


def nearest_rate(rate_hz: int, rates_hz: tuple[int, ...]) -> int:
    """Return the lowest of the rates that loses nothing, or the highest there is."""
    return next((rate for rate in rates_hz if rate >= rate_hz), rates_hz[-1])
