"""Connections against each other over real sockets: order, ends, halves, and slow readers."""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sovits_serve.protocol.codec import encode, encode_body
from sovits_serve.protocol.messages import Abort, AudioChunk, Message
from sovits_serve.protocol.transport import (
    BlockingConnection,
    Connection,
    ConnectionLost,
    connect,
    listen,
    parse_endpoint,
)
from tests.ports import reserved_port
from tests.protocol.samples import SAMPLES

_DEADLINE_S = 30.0


@dataclass
class Ends:
    """What one side's connections heard."""

    connections: list[Connection] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def make(self) -> Connection:
        """Make a connection that notes everything."""
        return Connection(self.on_message, self.on_lost, self.connections.append)

    def on_message(self, _connection: Connection, message: Message) -> None:
        """Note a message."""
        self.messages.append(message)

    def on_lost(self, _connection: Connection, reason: str) -> None:
        """Note an end."""
        self.lost.append(reason)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true."""
    deadline_s = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        await asyncio.sleep(0.002)


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return an endpoint of each kind."""
    if request.param == "ipc":
        yield f"ipc://{tmp_path}/socket"
    else:
        with reserved_port() as port:
            yield f"tcp://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def serving(endpoint: str) -> AsyncIterator[Ends]:
    """Listen, and end all connections at the end."""
    ends = Ends()
    server = await listen(endpoint, ends.make)
    try:
        yield ends
    finally:
        server.close()
        for connection in ends.connections:
            connection.close("the test ends")
        await until(lambda: len(ends.lost) == len(ends.connections))


def test_messages_arrive_in_order_both_ways(endpoint: str) -> None:
    """Two asyncio sides exchange every kind of message."""

    async def run() -> None:
        async with serving(endpoint) as ends:
            client = Ends()
            connection = await connect(endpoint, client.on_message, client.on_lost)
            await until(lambda: ends.connections)
            for message in SAMPLES:
                connection.send(message)
                ends.connections[0].send_body(encode_body(message))
            await until(lambda: len(ends.messages) == len(client.messages) == len(SAMPLES))
            connection.close("done")
            await until(lambda: ends.lost and client.lost)

            assert ends.messages == client.messages == list(SAMPLES)
            assert client.lost == ["done"]

    asyncio.run(run())


@pytest.mark.parametrize("sizes", [[2**20] * 8, [1 + 997 * index for index in range(200)]])
def test_blocking_side_exchanges_large_messages(endpoint: str, sizes: list[int]) -> None:
    """A loop that looks at its socket now and then gets and gives megabytes, in order."""
    chunks = [
        AudioChunk("a", index, 0, 1, bytes([index]) * size) for index, size in enumerate(sizes)
    ]

    def engine() -> list[Message]:
        connection = BlockingConnection(endpoint)
        connection.send(chunks)
        received: list[Message] = []
        while len(received) < len(chunks) or connection.has_unsent:
            received += connection.receive(1.0)
        connection.close()
        return received

    async def run() -> None:
        async with serving(endpoint) as ends:
            thread = asyncio.create_task(asyncio.to_thread(engine))
            await until(lambda: ends.connections)
            for chunk in chunks:
                ends.connections[0].send(chunk)
            received = await thread
            await until(lambda: ends.lost)

            assert received == chunks
            assert ends.messages == chunks

    asyncio.run(run())


def test_killed_peer_is_noticed_at_once(endpoint: str) -> None:
    """The end of a process that was killed arrives, without any heartbeat."""
    code = (
        "import sys, time; from sovits_serve.protocol.transport import BlockingConnection\n"
        "connection = BlockingConnection(sys.argv[1]); time.sleep(60)"
    )

    async def run() -> None:
        async with serving(endpoint) as ends:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, endpoint)
            try:
                await until(lambda: ends.connections)
                child.kill()
                await until(lambda: ends.lost)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()

    asyncio.run(run())


def test_blocking_side_notices_the_end(endpoint: str) -> None:
    """An engine whose dispatcher is gone is told by its next look at the socket."""

    async def run() -> None:
        async with serving(endpoint) as ends:
            connection = BlockingConnection(endpoint)
            await until(lambda: ends.connections)
            ends.connections[0].close("gone")
            with pytest.raises(ConnectionLost):
                await asyncio.to_thread(connection.receive, _DEADLINE_S)
            connection.close()

    asyncio.run(run())


def test_half_a_frame_is_no_message(endpoint: str) -> None:
    """A peer that dies in the middle of a message is lost; what it began is never delivered."""

    async def run() -> None:
        async with serving(endpoint) as ends:
            connection = BlockingConnection(endpoint)
            whole = encode(Abort("whole"))
            connection._socket.sendall(whole + encode(Abort("half"))[:-3])
            connection.close()
            await until(lambda: ends.lost)

            assert ends.messages == [Abort("whole")]

    asyncio.run(run())


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x03abc"])
def test_garbage_ends_the_connection(endpoint: str, garbage: bytes) -> None:
    """Something that is no peer of ours is disconnected; others are not."""

    async def run() -> None:
        async with serving(endpoint) as ends:
            good, bad = BlockingConnection(endpoint), BlockingConnection(endpoint)
            bad._socket.sendall(garbage)
            await until(lambda: ends.lost)
            good.send([Abort("a")])
            await until(lambda: ends.messages)
            good.close()
            bad.close()

            assert len(ends.lost) == 1

    asyncio.run(run())


def test_peer_that_does_not_read_is_given_up(endpoint: str) -> None:
    """What waits for a peer is bounded; past the bound the connection ends."""

    async def run() -> None:
        async with serving(endpoint) as ends:
            silent = BlockingConnection(endpoint)
            await until(lambda: ends.connections)
            ends.connections[0].max_unsent_bytes = 2**20
            most = 0
            while not ends.lost:
                ends.connections[0].send(AudioChunk("a", 0, 0, 1, bytes(2**18)))
                most = max(most, ends.connections[0].unsent_bytes)
                await asyncio.sleep(0)
            silent.close()

            assert "does not read" in ends.lost[0]
            assert most < 2**21

    asyncio.run(run())


def test_nothing_is_sent_after_the_end(endpoint: str) -> None:
    """Sending on a connection that is over does nothing, rather than fail."""

    async def run() -> None:
        async with serving(endpoint) as ends:
            client = Ends()
            connection = await connect(endpoint, client.on_message, client.on_lost)
            await until(lambda: ends.connections)
            connection.close("over")
            connection.send(Abort("a"))
            await until(lambda: ends.lost and client.lost)
            connection.send(Abort("b"))

            assert not ends.messages

    asyncio.run(run())


def test_last_words_are_sent(endpoint: str) -> None:
    """close_after_send loses nothing, however much it is."""

    async def run() -> None:
        async with serving(endpoint) as ends:
            client = Ends()
            connection = await connect(endpoint, client.on_message, client.on_lost)
            chunk = AudioChunk("a", 0, 0, 1, bytes(2**20))
            for _ in range(5):
                connection.send(chunk)
            connection.close_after_send("done")
            await until(lambda: ends.lost and client.lost)

            assert ends.messages == [chunk] * 5

    asyncio.run(run())


def test_socket_file_of_the_dead_is_replaced(tmp_path: Path) -> None:
    """A file that a killed process left does not keep the next one from listening."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/socket")

    async def run() -> None:
        async with serving(f"ipc://{tmp_path}/socket") as ends:
            BlockingConnection(f"ipc://{tmp_path}/socket").close()
            await until(lambda: ends.lost)

    asyncio.run(run())


def test_socket_of_the_living_is_respected(endpoint: str) -> None:
    """Two processes cannot listen on one endpoint; the first one goes on."""

    async def run() -> None:
        async with serving(endpoint) as ends:
            with pytest.raises(OSError, match="listens there|in use"):
                await listen(endpoint, Ends().make)
            await until(lambda: endpoint.startswith("tcp") or ends.lost)
            num_lost = len(ends.lost)
            BlockingConnection(endpoint).close()
            await until(lambda: len(ends.lost) > num_lost)

    asyncio.run(run())


@pytest.mark.parametrize("make", [BlockingConnection, parse_endpoint])
@pytest.mark.parametrize("endpoint", ["", "ipc://", "udp://x:1", "tcp://host", "/tmp/socket"])
def test_bad_endpoints_are_named(endpoint: str, make: Callable[[str], object]) -> None:
    """What is no endpoint is refused with the value."""
    with pytest.raises(ValueError, match=r"endpoint: "):
        make(endpoint)


def test_nobody_listens(tmp_path: Path) -> None:
    """Connecting to nothing fails at once on both sides, and leaves no socket open."""

    async def run() -> None:
        with pytest.raises(FileNotFoundError):
            await connect(f"ipc://{tmp_path}/none", Ends().on_message, Ends().on_lost)

    asyncio.run(run())
    with pytest.raises(FileNotFoundError):
        BlockingConnection(f"ipc://{tmp_path}/none")


def test_works_on_uvloop(endpoint: str) -> None:
    """The faster loop's transports do the same."""
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        async with serving(endpoint) as ends:
            client = Ends()
            connection = await connect(endpoint, client.on_message, client.on_lost)
            for message in SAMPLES:
                connection.send(message)
            await until(lambda: len(ends.messages) == len(SAMPLES))
            connection.close_after_send("done")
            await until(lambda: ends.lost and client.lost)

            assert ends.messages == list(SAMPLES)

    uvloop.run(run())
