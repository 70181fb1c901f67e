"""Writing flac and ogg (Vorbis) through libsndfile.

Flac leaves in blocks of 4096 samples, Vorbis in pages of 4 KiB: a second of speech, or several of
silence.
"""

from typing import Literal

import numpy as np

from sovits_serve.audio.sink import AudioSink, ClosingWriter, PcmArray, seekable

# libsndfile's Vorbis encoder depends on how its input is cut (its first block is extrapolated from
# all that came with it), and 1.2.2 overflows its stack on one long write (seen at 2.9 M samples).
_BLOCKS_PER_SECOND = 50


class SoundFileWriter(ClosingWriter):
    """Writes flac or ogg. What comes out does not depend on how the samples were cut.

    Except for the serial number of an ogg, which libsndfile draws.
    """

    def __init__(self, sink: AudioSink, kind: Literal["FLAC", "OGG"], rate_hz: int) -> None:
        self._sink = _SoundFileSink(sink)
        import soundfile

        self._block_samples = max(1, rate_hz // _BLOCKS_PER_SECOND)
        self._rest = np.zeros(0, dtype=np.int16)
        self._file = soundfile.SoundFile(
            self._sink, "w", samplerate=rate_hz, channels=1, format=kind
        )
        self._sink.raise_error()

    def write(self, samples: PcmArray) -> None:
        """Encode samples, int16 (T,)."""
        held = np.concatenate((self._rest, samples))
        end = len(held) - len(held) % self._block_samples
        for start in range(0, end, self._block_samples):
            self._write(held[start : start + self._block_samples])
        self._rest = held[end:]

    def close(self) -> None:
        """Write what is held back, here and by the encoder."""
        if self._file.closed:
            return
        try:
            self._write(self._rest)
        finally:
            self._file.close()
        self._sink.raise_error()

    def __del__(self) -> None:
        """Let libsndfile close an abandoned file without a word to its sink."""
        self._sink.is_open = False

    def _write(self, block: PcmArray) -> None:
        self._file.write(np.ascontiguousarray(block, dtype=np.int16))
        self._sink.raise_error()


class _SoundFileSink:
    """What libsndfile writes to: keeps a sink's error, because a callback in C cannot raise it.

    A sink that cannot seek is followed by counting; what would change bytes already sent (lengths
    in the header) is left out.
    """

    def __init__(self, sink: AudioSink) -> None:
        self._sink = sink
        self._file = seekable(sink)
        self._start = self._file.tell() if self._file is not None else 0
        self._position = 0
        self._end = 0
        self._error: OSError | None = None
        self.is_open = True

    def raise_error(self) -> None:
        """Raise the sink's first error."""
        if self._error is not None:
            raise self._error

    def write(self, data: memoryview) -> int:
        """Pass bytes on; report them as taken even after an error, which comes up later."""
        is_new = self._position == self._end
        can_write = self.is_open and (is_new or self._file is not None)
        if can_write and self._error is None:
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
        if self._file is not None and self.is_open:
            self._file.seek(self._start + self._position)
        return self._position

    def tell(self) -> int:
        """Return the position after the first byte written here."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return nothing: libsndfile asks for the method, not for bytes."""
        del size
        return b""
