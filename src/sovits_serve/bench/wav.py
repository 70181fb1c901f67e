"""Reading a WAV as it arrives, to know its rate and where its samples begin."""

import struct

_MAX_HEADER_BYTES = 4096


class NotWav(ValueError):
    """What came is no 16-bit PCM in a WAV."""


class WavStream:
    """Takes bytes in; says how many of them were samples.

    Attributes:
        bytes_per_second: of the samples; 0 until the header is complete.
        num_bytes: of samples so far.
        is_silent: all samples so far are zero.
    """

    def __init__(self) -> None:
        self.bytes_per_second = 0
        self.num_bytes = 0
        self.is_silent = True
        self._header = b""

    def feed(self, data: bytes) -> int:
        """Take bytes in and return how many samples' bytes were among them.

        Raises:
            NotWav: it is none.
        """
        if not self.bytes_per_second:
            self._header += data
            start = self._read_header()
            if not start:
                return 0
            data, self._header = self._header[start:], b""
        self.num_bytes += len(data)
        self.is_silent = self.is_silent and data.count(0) == len(data)
        return len(data)

    def _read_header(self) -> int:
        """Return where the samples begin; 0: the header is not complete."""
        head = self._header
        if head[:4] != b"RIFF"[: len(head)] or head[8:12] != b"WAVE"[: max(0, len(head) - 8)]:
            raise NotWav("no WAV")
        at = 12
        while at + 8 <= len(head):
            kind, size = head[at : at + 4], struct.unpack_from("<I", head, at + 4)[0]
            if kind == b"data":
                if not self.bytes_per_second:
                    raise NotWav("a WAV without a format")
                return at + 8
            if at + 8 + size > len(head):
                break
            if kind == b"fmt ":
                code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at + 8)
                if code not in {1, 0xFFFE} or bits != 16:
                    raise NotWav(f"a WAV of format {code} with {bits} bits")
                self.bytes_per_second = rate * channels * 2
            at += 8 + size + size % 2
        if len(head) > _MAX_HEADER_BYTES:
            raise NotWav("a WAV whose header does not end")
        self.bytes_per_second = 0  # read again when there is more
        return 0
