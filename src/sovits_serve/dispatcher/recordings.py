"""Who has which reference recording: the dispatcher's own store, and what each engine was sent.

Both forget the least recently used first, and never what an unfinished request names.
"""

from collections import OrderedDict

from sovits_serve.errors import QueueFull, UnknownRecording
from sovits_serve.protocol.codec import encode_body
from sovits_serve.protocol.messages import PutRecording

# Keys that were refused for want of room are remembered, so that a request that names one is told
# the truth: there is no room, rather than: never seen. Only the last so many.
_MAX_REFUSED = 1024


class RecordingStore:
    """The recordings that requests may name, as messages ready to be forwarded."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bodies: OrderedDict[str, bytes] = (
            OrderedDict()
        )  # those that nobody uses, oldest first
        self._pinned: dict[str, bytes] = {}
        self._num_users: dict[str, int] = {}
        self._refused: OrderedDict[str, None] = OrderedDict()
        self.size_bytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._pinned or key in self._bodies

    def put(self, message: PutRecording) -> None:
        """Keep a recording, if unused ones leave room for it."""
        if message.key in self._pinned:
            return
        if message.key in self._bodies:
            self._bodies.move_to_end(message.key)
            return
        body = encode_body(message)
        while self._bodies and self.size_bytes + len(body) > self._max_bytes:
            _, oldest = self._bodies.popitem(last=False)
            self.size_bytes -= len(oldest)
        if self.size_bytes + len(body) > self._max_bytes:
            self._refuse(message.key)
            return
        self._bodies[message.key] = body
        self._refused.pop(message.key, None)
        self.size_bytes += len(body)

    def check(self, keys: tuple[str, ...]) -> None:
        """Check that a request may name these.

        Raises:
            QueueFull: one did not fit in beside those in use.
            UnknownRecording: one was never sent, or is forgotten.
        """
        for key in keys:
            if key in self:
                continue
            if key in self._refused:
                raise QueueFull(
                    f"no room for the request's reference recording: {self.size_bytes} bytes are in "
                    f"use of {self._max_bytes} (max_recording_bytes): try later"
                )
            raise UnknownRecording(f"recording {key[:16]!r} is not known here (any more)")

    def pin(self, keys: tuple[str, ...]) -> None:
        """Keep recordings until ``unpin``; once for each time a key is named."""
        for key in keys:
            if key not in self._pinned:
                self._pinned[key] = self._bodies.pop(key)
            self._num_users[key] = self._num_users.get(key, 0) + 1

    def unpin(self, keys: tuple[str, ...]) -> None:
        """Undo one ``pin``."""
        for key in keys:
            self._num_users[key] -= 1
            if not self._num_users[key]:
                del self._num_users[key]
                self._bodies[key] = self._pinned.pop(key)

    def body(self, key: str) -> bytes:
        """Return the encoded PutRecording of a pinned recording."""
        return self._pinned[key]

    def check_integrity(self) -> None:
        """Assert that sizes and users agree."""
        bodies = [*self._pinned.values(), *self._bodies.values()]
        assert self.size_bytes == sum(map(len, bodies)) <= self._max_bytes
        assert self._pinned.keys() == self._num_users.keys()
        assert not self._pinned.keys() & self._bodies.keys()

    def _refuse(self, key: str) -> None:
        self._refused[key] = None
        if len(self._refused) > _MAX_REFUSED:
            self._refused.popitem(last=False)


class SentRecordings:
    """What one engine has been sent, and which of it its requests use."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()  # least recently used first
        self._num_users: dict[str, int] = {}
        self._size_bytes = 0

    def use(self, key: str, size_bytes: int) -> bool:
        """Count a request's use of a recording; return whether the engine must be sent it."""
        self._num_users[key] = self._num_users.get(key, 0) + 1
        if key in self._sizes:
            self._sizes.move_to_end(key)
            return False
        self._sizes[key] = size_bytes
        self._size_bytes += size_bytes
        return True

    def release(self, keys: tuple[str, ...]) -> None:
        """Undo one ``use`` of each."""
        for key in keys:
            self._num_users[key] -= 1
            if not self._num_users[key]:
                del self._num_users[key]

    def take_excess(self) -> list[str]:
        """Forget what is over the limit and unused; return it, for DropRecording."""
        if self._size_bytes <= self._max_bytes:
            return []
        dropped = []
        for key in [key for key in self._sizes if key not in self._num_users]:
            if self._size_bytes <= self._max_bytes:
                break
            self._size_bytes -= self._sizes.pop(key)
            dropped.append(key)
        return dropped

    def forget(self, keys: tuple[str, ...]) -> None:
        """Take note that the engine says it does not have these."""
        for key in keys:
            self._size_bytes -= self._sizes.pop(key, 0)
