"""The dispatcher's connections: handshake, who is who, and the clock's ticks. Knows no policy."""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Callable
from pathlib import Path

from sovits_serve.dispatcher.core import Dispatcher
from sovits_serve.protocol.codec import MAX_FRAME_BYTES
from sovits_serve.protocol.messages import PROTOCOL_VERSION, Hello, Message, Role, Welcome
from sovits_serve.protocol.transport import Connection, listen, parse_endpoint

_log = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 5.0
TICK_S = 0.05
# For peers to read what is left when the dispatcher ends.
_CLOSE_TIMEOUT_S = 1.0
# A stranger's first message is short.
_MAX_HELLO_BYTES = 4096
# What may wait for a peer of each role before it counts as one that does not read. Engines are sent
# recordings, and look at their socket between steps only.
_MAX_UNSENT_BYTES: dict[Role, int] = {
    "worker": 256 * 2**20,  # a GPU makes 100 MB of audio a second
    "engine": 256 * 2**20,
    "supervisor": 256 * 2**20,  # a Keepsake holds a recording
}


class DispatcherServer:
    """Listens on an endpoint and puts peers through to a ``Dispatcher``."""

    def __init__(self, dispatcher: Dispatcher, endpoint: str, token: str = "") -> None:
        self.dispatcher = dispatcher
        self._endpoint = endpoint
        kind, self._address = parse_endpoint(endpoint)
        # Whoever can reach a socket file is the same user; a TCP port can be reached by anybody.
        self._token = token if kind == "tcp" else None
        self._sessions: set[_Session] = set()
        self._is_empty = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.num_ticks = 0

    @property
    def endpoint(self) -> str:
        """Return where it listens; with the port it was given, for port 0."""
        if self._token is None or self._server is None:
            return self._endpoint
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"tcp://{host}:{port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is in use, or cannot be made.
            ValueError: a TCP endpoint without a token.
        """
        if self._token is not None and not self._token:
            raise ValueError(f"endpoint {self._endpoint!r} needs a token: anybody could connect")
        self._server = await listen(self._endpoint, self._make_connection)
        _log.info("the dispatcher listens on %s", self._endpoint)

    async def run(self, on_tick: Callable[[], None] | None = None) -> None:
        """Turn the clock until cancelled."""
        while True:
            self.dispatcher.tick()
            self.num_ticks += 1
            if on_tick is not None:
                on_tick()
            await asyncio.sleep(TICK_S)

    async def close(self) -> None:
        """Send what is to be sent yet, end all connections, stop listening."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.connection.close_after_send("the dispatcher ends")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wait_until_empty(), _CLOSE_TIMEOUT_S)
        for session in list(self._sessions):
            session.connection.close("the dispatcher ends")
        await self._wait_until_empty()
        if self._server is not None and self._token is None:
            self._remove_socket()

    async def _wait_until_empty(self) -> None:
        while self._sessions:
            self._is_empty.clear()
            await self._is_empty.wait()

    def _remove_socket(self) -> None:
        Path(self._address).unlink(missing_ok=True)

    def _make_connection(self) -> Connection:
        session = _Session(self.dispatcher, self._token, self._forget)
        self._sessions.add(session)
        return session.connection

    def _forget(self, session: "_Session") -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._is_empty.set()


class _Session:
    """One connection, from its first byte to its last."""

    def __init__(
        self, dispatcher: Dispatcher, token: str | None, on_end: "Callable[[_Session], None]"
    ) -> None:
        self._dispatcher = dispatcher
        self._token = token
        self._on_end = on_end
        self._handle: Callable[[Message], None] | None = None
        self._lose: Callable[[], None] | None = None
        self._name = "?"
        self._hello_timer: asyncio.TimerHandle | None = None
        self.connection = Connection(self._on_message, self._on_lost, self._on_open)
        self.connection.limit_frames(_MAX_HELLO_BYTES)

    def _on_open(self, connection: Connection) -> None:
        reason = f"no Hello within {HELLO_TIMEOUT_S:.0f} s"
        loop = asyncio.get_running_loop()
        self._hello_timer = loop.call_later(HELLO_TIMEOUT_S, connection.close, reason)

    def _on_message(self, connection: Connection, message: Message) -> None:
        if self._handle is not None:
            self._handle(message)
            return
        refusal = self._refusal(message)
        if refusal:
            _log.warning("connection refused: %s", refusal)
            connection.close(refusal)
            return
        assert isinstance(message, Hello)
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self._name = f"{message.role}={message.name} pid={message.pid}"
        connection.limit_frames(MAX_FRAME_BYTES)
        connection.max_unsent_bytes = _MAX_UNSENT_BYTES[message.role]
        connection.send(Welcome())
        self._join(connection, message)

    def _refusal(self, message: Message) -> str:
        """Return why a first message is not accepted; "" if it is."""
        if not isinstance(message, Hello):
            return f"the first message is a {type(message).__name__}, not a Hello"
        if message.version != PROTOCOL_VERSION:
            return (
                f"{message.role} {message.name} speaks version {message.version} of the protocol, "
                f"this dispatcher {PROTOCOL_VERSION}: start both from the same installation"
            )
        if self._token is not None and not _is_same(message.token, self._token):
            return f"{message.role} {message.name} has a wrong token"
        return ""

    def _join(self, connection: Connection, hello: Hello) -> None:
        dispatcher = self._dispatcher
        if hello.role == "worker":
            worker = dispatcher.add_worker(hello.name, hello.pid, connection)
            self._handle = lambda message: dispatcher.on_worker_message(worker, message)
            self._lose = lambda: dispatcher.lose_worker(worker)
        elif hello.role == "engine":
            engine = dispatcher.add_engine(hello.name, hello.pid, connection)
            if engine is None:
                connection.close(f"another process is connected as engine {hello.name}")
                return
            self._handle = lambda message: dispatcher.on_engine_message(engine, message)
            self._lose = lambda: dispatcher.lose_engine(engine)
        else:
            dispatcher.set_supervisor(connection)
            self._handle = lambda message: dispatcher.on_supervisor_message(connection, message)
            self._lose = lambda: dispatcher.lose_supervisor(connection)
        _log.info("%s connected", self._name)

    def _on_lost(self, _connection: Connection, reason: str) -> None:
        self._on_end(self)
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if self._lose is not None:
            _log.info("%s lost: %s", self._name, reason)
            self._lose()


def _is_same(first: str, second: str) -> bool:
    return hmac.compare_digest(first.encode(), second.encode())
