"""Writing audio as it is: wav, and bare samples without a header. 16 bits, mono, little-endian."""

import struct

from sovits_serve.audio.sink import AudioSink, ClosingWriter, PcmArray, seekable

_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_SAMPLE_BYTES = 2
# What a wav header says when the length is not known, or past what 32 bits can say.
_UNKNOWN_SIZE = 0xFFFF_FFFF


class PcmWriter(ClosingWriter):
    """Writes the samples and nothing else; whoever reads them must know their rate."""

    def __init__(self, sink: AudioSink) -> None:
        self._sink = sink

    def write(self, samples: PcmArray) -> None:
        """Write samples, int16 (T,)."""
        self._sink.write(samples.astype("<i2", copy=False).tobytes())

    def close(self) -> None:
        """Do nothing: nothing is held back."""


class WavWriter(ClosingWriter):
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
        file = seekable(self._sink)
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
