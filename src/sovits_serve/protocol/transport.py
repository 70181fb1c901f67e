"""Connections that carry messages, without knowing what they mean.

One stream socket per peer, Unix or TCP: bytes arrive in order or the connection ends, and a peer
that dies is noticed at once by the end of its stream. ``Connection`` is for asyncio (dispatcher,
HTTP workers, supervisor), ``BlockingConnection`` for the engine's loop, which computes between
looks at its socket.
"""

import asyncio
import contextlib
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from sovits_serve.protocol.codec import FrameReader, ProtocolError, encode, frame
from sovits_serve.protocol.messages import Message

_READ_BYTES = 256 * 1024
# What may wait to be written to one peer. A peer that far behind does not read at all.
MAX_UNSENT_BYTES = 256 * 2**20
_MAX_BUFFERS = 64  # of one system call


class ConnectionLost(Exception):
    """The other side is gone, or sent what is no message."""


class Connection(asyncio.Protocol):
    """One peer, on an event loop.

    ``on_message`` is called for each message, ``on_lost`` once at the end with a reason; both
    from the loop. Nothing is called after ``on_lost``.
    """

    def __init__(
        self,
        on_message: Callable[["Connection", Message], None],
        on_lost: Callable[["Connection", str], None],
        on_open: Callable[["Connection"], None] | None = None,
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_open = on_open
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._num_outgoing_bytes = 0
        self._reason = "the connection ended"
        self.is_open = False
        # How far the peer may be behind with reading before it is given up.
        self.max_unsent_bytes = MAX_UNSENT_BYTES

    def limit_frames(self, max_frame_bytes: int) -> None:
        """Take no longer messages than this from the peer, from now on."""
        self._reader.max_frame_bytes = max_frame_bytes

    def send(self, message: Message) -> None:
        """Send a message; dropped if the connection is over (``on_lost`` has told or will)."""
        self._write(encode(message))

    def send_body(self, body: bytes) -> None:
        """Send a message that is encoded already."""
        self._write(frame(body))

    @property
    def unsent_bytes(self) -> int:
        """Return how much waits for the peer to read."""
        buffered = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return buffered + self._num_outgoing_bytes

    def close(self, reason: str) -> None:
        """End the connection now; ``on_lost`` follows with this reason."""
        self._reason = reason
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def close_after_send(self, reason: str) -> None:
        """End the connection once all that was sent is out."""
        self._flush()
        self._reason = reason
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # Not asserted by its class: uvloop's transports are of none of asyncio's.
        self._transport = transport  # type: ignore[assignment]  # what stream protocols are given
        self.is_open = True
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            messages = self._reader.feed(data)
        except ProtocolError as error:
            self.close(str(error))
            return
        for message in messages:
            if not self.is_open:
                return
            self._on_message(self, message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.is_open = False
        if exc is not None:
            self._reason = f"{type(exc).__name__}: {exc}"
        self._on_lost(self, self._reason)

    def _write(self, data: bytes) -> None:
        if not self.is_open:
            return
        if not self._outgoing:
            # All that one turn of the loop sends goes out in one system call.
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(data)
        self._num_outgoing_bytes += len(data)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._num_outgoing_bytes = 0
        if not outgoing or self._transport is None or self._transport.is_closing():
            return
        # What has waited since before says whether the peer reads; what is new says nothing.
        if self.unsent_bytes > self.max_unsent_bytes:
            self.close(f"the peer does not read: {self.unsent_bytes} bytes wait for it")
            return
        self._transport.write(b"".join(outgoing))


async def connect(
    endpoint: str,
    on_message: Callable[[Connection, Message], None],
    on_lost: Callable[[Connection, str], None],
) -> Connection:
    """Connect to a dispatcher.

    Raises:
        OSError: nothing listens there.
        ValueError: not an endpoint.
    """
    loop = asyncio.get_running_loop()
    kind, address = parse_endpoint(endpoint)

    def make() -> Connection:
        return Connection(on_message, on_lost)

    if kind == "ipc":
        _, connection = await loop.create_unix_connection(make, address)
    else:
        host, _, port = address.rpartition(":")
        _, connection = await loop.create_connection(make, host, int(port))
    return connection


async def listen(endpoint: str, make: Callable[[], Connection]) -> asyncio.Server:
    """Listen for peers; a socket file that nobody listens on any more is replaced.

    Raises:
        OSError: the address is in use, or cannot be made.
        ValueError: not an endpoint.
    """
    loop = asyncio.get_running_loop()
    kind, address = parse_endpoint(endpoint)
    if kind == "tcp":
        host, _, port = address.rpartition(":")
        return await loop.create_server(make, host, int(port))
    _remove_stale(address)
    # Who may connect is the directory's matter: it is the user's alone (0700).
    return await loop.create_unix_server(make, address, backlog=512)


def parse_endpoint(endpoint: str) -> tuple[str, str]:
    """Split "ipc:///path" or "tcp://host:port" into kind and address.

    Raises:
        ValueError: it is neither.
    """
    kind, separator, address = endpoint.partition("://")
    if not separator or not address or kind not in {"ipc", "tcp"}:
        raise ValueError(f"endpoint: {endpoint!r} is not ipc:///path or tcp://host:port")
    if kind == "tcp" and not address.rpartition(":")[2].isdigit():
        raise ValueError(f"endpoint: {endpoint!r} has no port")
    return kind, address


def _remove_stale(address: str) -> None:
    """Remove a socket file that a dead process left; a live one makes ``listen`` fail."""
    path = Path(address)
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
    raise OSError(f"{address}: another process listens there")


class BlockingConnection:
    """One peer, for a loop that looks at its socket between steps. Not thread-safe."""

    def __init__(self, endpoint: str, timeout_s: float = 5.0) -> None:
        """Connect.

        Raises:
            OSError: nothing listens there.
            ValueError: not an endpoint.
        """
        kind, address = parse_endpoint(endpoint)
        if kind == "ipc":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(timeout_s)
            try:
                self._socket.connect(address)
            except OSError:
                self._socket.close()
                raise
        else:
            host, _, port = address.rpartition(":")
            self._socket = socket.create_connection((host, int(port)), timeout_s)
        self._socket.setblocking(False)
        self._reader = FrameReader()
        # Not one buffer: to append to what a slow peer leaves would copy all of it, each time.
        self._unsent: deque[memoryview] = deque()
        self._num_unsent_bytes = 0

    def fileno(self) -> int:
        """Return the socket's descriptor, for ``select``."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Return whether something waits until the socket takes more."""
        return bool(self._unsent)

    @property
    def unsent_bytes(self) -> int:
        """Return how much waits until the socket takes more."""
        return self._num_unsent_bytes

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages as far as the socket takes them now; the rest goes with the next call.

        Raises:
            ConnectionLost: the peer is gone, or does not read.
        """
        for message in messages:
            data = encode(message)
            self._unsent.append(memoryview(data))
            self._num_unsent_bytes += len(data)
        self._flush()
        if self.unsent_bytes > MAX_UNSENT_BYTES:
            raise ConnectionLost(f"the peer does not read: {self.unsent_bytes} bytes wait for it")

    def receive(self, timeout_s: float) -> list[Message]:
        """Return what has come; wait up to ``timeout_s`` for the first bytes.

        Raises:
            ConnectionLost: the peer is gone, or sent what is no message.
        """
        wants_write = [self._socket] if self._unsent else []
        readable, writable, _ = select.select([self._socket], wants_write, [], timeout_s)
        if writable:
            self._flush()
        messages: list[Message] = []
        while readable:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                raise ConnectionLost(str(error)) from error
            if not data:
                raise ConnectionLost("the connection ended")
            try:
                messages += self._reader.feed(data)
            except ProtocolError as error:
                raise ConnectionLost(str(error)) from error
            if len(data) < _READ_BYTES:
                break
        return messages

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _flush(self) -> None:
        while self._unsent:
            try:
                num_sent = self._socket.sendmsg(islice(self._unsent, _MAX_BUFFERS))
            except BlockingIOError:
                return
            except OSError as error:
                raise ConnectionLost(str(error)) from error
            self._num_unsent_bytes -= num_sent
            while num_sent:
                first = self._unsent.popleft()
                if num_sent < len(first):
                    self._unsent.appendleft(first[num_sent:])
                num_sent -= min(num_sent, len(first))
