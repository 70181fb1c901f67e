"""Reading ranges of one regular file that stays open, without mapping it.

A mapped file would count as resident memory beside the module that is being filled, so ranges
are read into buffers of their own. Not for use from two threads at once.
"""

import io
import os
import stat
import weakref
from pathlib import Path
from typing import Self

from sovits_serve.errors import CheckpointError

# Without it, opening a FIFO or a device would wait for its other end.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class SourceFile:
    """An open file of known size. Closes with ``close`` or when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = os.open(path, _OPEN_FLAGS)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CheckpointError(f"{path}: cannot be opened: {reason}") from error
        self._finalizer = weakref.finalize(self, os.close, descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise CheckpointError(f"{path}: is not a regular file")
        self.size_bytes = status.st_size
        self._raw = io.FileIO(descriptor, closefd=False)

    def close(self) -> None:
        """Close the file; later reads raise ``CheckpointError``."""
        self._finalizer()

    def read_at(self, start: int, size_bytes: int) -> bytes:
        """Return exactly ``size_bytes`` bytes from ``start``."""
        buffer = bytearray(self._checked(start, size_bytes))
        self.read_into(start, buffer)
        return bytes(buffer)

    def read_into(self, start: int, buffer: bytearray | memoryview) -> None:
        """Fill ``buffer`` from ``start``.

        Raises:
            CheckpointError: the file ends first, cannot be read, or is closed.
        """
        view = memoryview(buffer)
        if not self._finalizer.alive:
            raise CheckpointError(f"{self.path}: is closed already")
        try:
            self._raw.seek(start)
            done = 0
            while done < len(view):
                count = self._raw.readinto(view[done:])
                if not count:
                    raise CheckpointError(f"{self.path}: became shorter while it was read")
                done += count
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from error

    def _checked(self, start: int, size_bytes: int) -> int:
        if start < 0 or size_bytes < 0 or start + size_bytes > self.size_bytes:
            raise CheckpointError(
                f"{self.path}: is truncated: bytes {start} to {start + size_bytes} are needed, "
                f"the file has {self.size_bytes}"
            )
        return size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
