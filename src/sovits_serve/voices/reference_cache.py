"""A least-recently-used cache bounded in bytes, keyed by content.

Keys are content hashes, never paths: a changed file is another reference. Knows no torch; the
owner says how many bytes an entry takes.
"""

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

from sovits_serve.protocol.messages import ReferenceAudio

V = TypeVar("V")


def content_key(audio: ReferenceAudio) -> str:
    """Return the SHA-256 of what a recording holds: samples, rate and channels."""
    digest = hashlib.sha256(f"{audio.rate_hz} {audio.num_channels} ".encode())
    digest.update(audio.samples)
    return digest.hexdigest()


class BoundedCache(Generic[V]):
    """Entries by key, the least recently used dropped once ``max_bytes`` are exceeded.

    An entry larger than the whole cache is not kept. Not thread-safe: one engine loop owns it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[str, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def get(self, key: str) -> V | None:
        """Return the entry and make it the most recent one, or None."""
        if key not in self._entries:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: str, value: V, size_bytes: int) -> None:
        """Store an entry and drop old ones until the cache fits its bound."""
        assert size_bytes >= 0
        if key in self._entries:
            self.size_bytes -= self._entries.pop(key)[1]
        if size_bytes > self.max_bytes:
            return
        self._entries[key] = (value, size_bytes)
        self.size_bytes += size_bytes
        while self.size_bytes > self.max_bytes:
            _, (_, dropped) = self._entries.popitem(last=False)
            self.size_bytes -= dropped

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self.size_bytes = 0
