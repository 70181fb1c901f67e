"""An engine's connection to the dispatcher: made, greeted, and made again when it is lost.

Never waits by itself but for the connecting (on one machine that is at once); ``wait`` is where
the engine's loop sleeps. Not thread-safe.
"""

import logging
import select
import socket
import time
from collections.abc import Iterable

from sovits_serve.protocol.messages import PROTOCOL_VERSION, Hello, Message, Welcome
from sovits_serve.protocol.transport import BlockingConnection, ConnectionLost

_log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.05
MAX_BEHIND_BYTES = 32 * 2**20
MAX_RETRY_S = 1.0
# A dispatcher that lives answers Hello at once.
_WELCOME_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_S = 1.0


class DispatcherLink:
    """One connection at a time; ``is_welcome`` once the dispatcher has accepted it."""

    def __init__(self, endpoint: str, hello: Hello) -> None:
        self.is_welcome = False
        self._endpoint = endpoint
        self._hello = hello
        self._connection: BlockingConnection | None = None
        self._retry_s = FIRST_RETRY_S
        self._due_s = 0.0  # when to try again; while greeting, when to give up
        self._has_complained = False

    def receive(self) -> list[Message]:
        """Return what has come, without waiting; connect if it is time to.

        A ``Welcome`` is passed on: from then on messages can be sent.

        Raises:
            ConnectionLost: the connection is over; later calls make a new one.
        """
        if self._connection is None:
            self._connect()
            return []
        try:
            messages = self._connection.receive(0.0)
            if not self.is_welcome:
                self._greet(messages)
        except ConnectionLost as error:
            self._lose(str(error))
            raise
        return messages

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages; what nobody is there for is dropped.

        Raises:
            ConnectionLost: the connection is over.
        """
        if self._connection is None or not self.is_welcome:
            return
        try:
            self._connection.send(messages)
        except ConnectionLost as error:
            self._lose(str(error))
            raise

    @property
    def is_clogged(self) -> bool:
        """Return whether the dispatcher is so far behind with reading that more would be too much."""
        return self._connection is not None and self._connection.unsent_bytes > MAX_BEHIND_BYTES

    def wait(self, timeout_s: float, wake: socket.socket) -> None:
        """Sleep until there is something to receive or send, ``wake`` is readable, or time is up."""
        readers: list[BlockingConnection | socket.socket] = [wake]
        writers: list[BlockingConnection] = []
        if self._connection is not None:
            readers.append(self._connection)
            if self._connection.has_unsent:
                writers.append(self._connection)
        if not self.is_welcome:
            timeout_s = min(timeout_s, max(0.0, self._due_s - time.monotonic()))
        select.select(readers, writers, [], timeout_s)

    def close(self, linger_s: float) -> None:
        """Send what is still unsent, for up to ``linger_s``, and end the connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        deadline = time.monotonic() + linger_s
        try:
            while connection.has_unsent and time.monotonic() < deadline:
                select.select([], [connection], [], max(0.0, deadline - time.monotonic()))
                connection.send(())
        except ConnectionLost as error:
            _log.warning("the dispatcher left first: %s", error)
        connection.close()

    def _connect(self) -> None:
        if time.monotonic() < self._due_s:
            return
        try:
            self._connection = BlockingConnection(self._endpoint, _CONNECT_TIMEOUT_S)
            self._connection.send([self._hello])
        except (OSError, ConnectionLost) as error:
            self._lose(f"{type(error).__name__}: {error}")
            return
        self._due_s = time.monotonic() + _WELCOME_TIMEOUT_S

    def _greet(self, messages: list[Message]) -> None:
        if not messages:
            if time.monotonic() > self._due_s:
                raise ConnectionLost("the dispatcher does not answer")
            return
        match messages[0]:
            case Welcome(version=version) if version == PROTOCOL_VERSION:
                self.is_welcome = True
                self._retry_s = FIRST_RETRY_S
                self._has_complained = False
                _log.info("connected to the dispatcher at %s", self._endpoint)
            case other:
                raise ConnectionLost(f"a greeting was expected, not {other!r:.200}")

    def _lose(self, reason: str) -> None:
        if not self._has_complained:
            _log.warning("no dispatcher at %s: %s; trying on", self._endpoint, reason)
        self._has_complained = True  # once per absence
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.is_welcome = False
        self._due_s = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)
