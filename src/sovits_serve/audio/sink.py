"""Where encoded audio goes, and what the writers of all formats have in common."""

from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np
import numpy.typing as npt

PcmArray = npt.NDArray[np.int16]


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


class ClosingWriter:
    """A context manager that closes itself."""

    def close(self) -> None:
        """Write what is held back."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the writer."""
        self.close()


class ByteSink:
    """A sink that keeps bytes until they are taken, for those who send them on themselves."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        """Keep the bytes."""
        self._parts.append(data)
        return len(data)

    def take(self) -> bytes:
        """Return what has been written since the last time."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def seekable(sink: AudioSink) -> BinaryIO | None:
    """Return the sink as a file if one can go back in it."""
    is_seekable = getattr(sink, "seekable", None)
    if is_seekable is None or not is_seekable():
        return None
    return sink  # type: ignore[return-value]  # what has seekable() is a binary file
