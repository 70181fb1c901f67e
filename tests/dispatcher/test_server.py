"""The dispatcher over real sockets: handshakes, floods, silent peers; and its process."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import msgspec
import psutil
import pytest

from sovits_serve.config import QueueConfig
from sovits_serve.dispatcher import process as process_module
from sovits_serve.dispatcher import server as server_module
from sovits_serve.dispatcher.core import Dispatcher
from sovits_serve.dispatcher.server import DispatcherServer
from sovits_serve.metrics import ServerMetrics
from sovits_serve.protocol.messages import (
    Abort,
    AudioChunk,
    EngineReady,
    Failed,
    Finished,
    Fleet,
    GetMetrics,
    Hello,
    Message,
    Metrics,
    QueueReport,
    Role,
    Status,
    SynthesisRequest,
    Welcome,
)
from sovits_serve.protocol.reports import (
    ChildReady,
    DrainChild,
    Dying,
    Heartbeat,
    Report,
    Reports,
    Setup,
)
from sovits_serve.protocol.transport import BlockingConnection, ConnectionLost
from tests.dispatcher.world import BASE, recording, submit

ROOT = Path(__file__).parents[2]
_DEADLINE_S = 30.0


class Client:
    """A peer that waits for what it expects."""

    def __init__(self, endpoint: str) -> None:
        self.connection = BlockingConnection(endpoint)
        self.received: list[Message] = []

    @classmethod
    def join(cls, endpoint: str, role: Role, name: str = "", pid: int = 1) -> "Client":
        """Connect and be welcome."""
        client = cls(endpoint)
        client.say(Hello(role, name or role, pid, token="secret"))
        client.until(Welcome)
        return client

    @classmethod
    def engine(cls, endpoint: str, name: str = "cpu#1", pid: int = 1) -> "Client":
        """Connect as an engine that is ready."""
        client = cls.join(endpoint, "engine", name, pid)
        client.say(EngineReady("cpu", (BASE,), 4))
        return client

    @classmethod
    def supervisor(cls, endpoint: str) -> "Client":
        """Connect as a supervisor that has nothing to add."""
        client = cls.join(endpoint, "supervisor")
        client.say(Fleet("ready", "", ()))
        return client

    def say(self, *messages: Message) -> None:
        """Send messages, all of them."""
        self.connection.send(messages)
        while self.connection.has_unsent:
            self.received += self.connection.receive(0.05)

    def until(self, kind: type[Message], count: int = 1) -> list[Message]:
        """Receive until there are so many messages of a kind; return them."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while len(found := [m for m in self.received if isinstance(m, kind)]) < count:
            assert time.monotonic() < deadline_s, f"{len(found)} of {count} {kind.__name__}"
            self.received += self.connection.receive(0.1)
        return found

    def until_state(self, state: str) -> None:
        """Receive until a status says so."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while not any(isinstance(m, Status) and m.state == state for m in self.received):
            assert time.monotonic() < deadline_s, f"never {state}"
            self.received += self.connection.receive(0.1)

    def until_lost(self) -> None:
        """Receive until the connection ends."""
        deadline_s = time.monotonic() + _DEADLINE_S
        with contextlib.suppress(ConnectionLost):
            while time.monotonic() < deadline_s:
                self.received += self.connection.receive(0.1)
            raise AssertionError("the connection is still open")


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    """Collect clients that are closed at the end."""
    made: list[Client] = []
    yield made
    for client in made:
        client.connection.close()


@contextlib.asynccontextmanager
async def serving(endpoint: str, config: QueueConfig | None = None) -> AsyncIterator[str]:
    """Run a server; its clients live in threads."""
    dispatcher = Dispatcher(config or QueueConfig(), ServerMetrics())
    server = DispatcherServer(dispatcher, endpoint, "secret")
    await server.start()
    turning = asyncio.create_task(server.run())
    try:
        yield server.endpoint
        dispatcher.ledger.check_integrity()
    finally:
        turning.cancel()
        await server.close()


def play(endpoint: str, scene: Callable[[str], None], config: QueueConfig | None = None) -> None:
    """Run a server and a scene of clients against it."""

    async def run() -> None:
        async with serving(endpoint, config) as where:
            await asyncio.to_thread(scene, where)

    asyncio.run(run())


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an endpoint of each kind."""
    return f"ipc://{tmp_path}/socket" if request.param == "ipc" else "tcp://127.0.0.1:0"


def test_request_travels_all_the_way(endpoint: str, clients: list[Client]) -> None:
    """Worker, dispatcher and engine over real sockets: a request, a recording, audio, the end."""

    def scene(where: str) -> None:
        engine, worker = Client.engine(where), Client.join(where, "worker")
        clients.extend([engine, worker])
        worker.until_state("ready")
        worker.say(recording("voice", 5_000_000), submit("a", recordings=("voice",)))
        engine.until(SynthesisRequest)
        chunk = AudioChunk("a", 0, 0, 32_000, bytes(3_000_000))
        engine.say(chunk, Finished("a", 1_500_000, (1,)))

        assert engine.received[1] == recording("voice", 5_000_000)
        assert worker.until(Finished)
        assert worker.until(AudioChunk) == [chunk]

    play(endpoint, scene)


@pytest.mark.parametrize(
    "first",
    [
        Hello("worker", "w", 1, version=0, token="secret"),
        Abort("a"),
        GetMetrics("call"),
        Hello("worker", "w" * 5000, 1, token="secret"),
    ],
    ids=["version", "abort", "metrics", "long"],
)
def test_bad_first_message_is_refused(endpoint: str, clients: list[Client], first: Message) -> None:
    """Another version, no Hello, or a very long one: closed without a word."""

    def scene(where: str) -> None:
        client = Client(where)
        clients.append(client)
        client.say(first)
        client.until_lost()

        assert client.received == []

    play(endpoint, scene)


@pytest.mark.parametrize("token", ["", "wrong", "sécret"])
def test_tcp_needs_the_token(clients: list[Client], token: str) -> None:
    """On a port that anybody can reach, only those who know the token are let in."""

    def scene(where: str) -> None:
        client = Client(where)
        clients.append(client)
        client.say(Hello("engine", "cpu#1", 1, token=token))
        client.until_lost()

        assert client.received == []

    play("tcp://127.0.0.1:0", scene)


def test_tcp_without_a_token_does_not_start() -> None:
    """A dispatcher does not listen on a port without protection."""
    dispatcher = Dispatcher(QueueConfig(), ServerMetrics())

    with pytest.raises(ValueError, match="token"):
        asyncio.run(DispatcherServer(dispatcher, "tcp://127.0.0.1:0").start())


def test_silent_stranger_is_disconnected(
    endpoint: str, clients: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects and says nothing does not stay; who has said Hello does."""
    monkeypatch.setattr(server_module, "HELLO_TIMEOUT_S", 1.0)

    def scene(where: str) -> None:
        silent, worker = Client(where), Client.join(where, "worker")
        clients.extend([silent, worker])
        silent.until_lost()
        worker.until(Status, 2)

    play(endpoint, scene)


def test_second_engine_of_one_name_is_refused(endpoint: str, clients: list[Client]) -> None:
    """The engine that was there first stays."""

    def scene(where: str) -> None:
        first = Client.engine(where, "cpu#1", pid=1)
        clients.append(first)
        second = Client(where)
        clients.append(second)
        second.say(Hello("engine", "cpu#1", 2, token="secret"))
        second.until_lost()
        worker = Client.join(where, "worker")
        clients.append(worker)
        worker.until_state("ready")

    play(endpoint, scene)


def test_dead_engine_is_noticed_within_100_ms(endpoint: str, clients: list[Client]) -> None:
    """Readiness flips and held requests move on when an engine's connection ends."""

    def scene(where: str) -> None:
        dying, worker = Client.engine(where), Client.join(where, "worker")
        clients.extend([dying, worker])
        worker.until_state("ready")
        worker.say(submit("a"))
        dying.until(SynthesisRequest)
        worker.received.clear()
        dying.connection.close()
        worker.until_state("starting")
        successor = Client.engine(where, "cpu#2")
        clients.append(successor)
        (request,) = successor.until(SynthesisRequest)
        assert isinstance(request, SynthesisRequest)
        assert request.request_id == "a"

    play(endpoint, scene)


def test_flood_is_refused_in_no_time(tmp_path: Path, clients: list[Client]) -> None:
    """Of 10,000 requests at once a few wait, the rest is refused though none ends; metrics too."""
    flood = [submit(f"{index:05d}", timeout_s=60.0) for index in range(10_000)]
    num_admitted = 8 + QueueConfig().max_waiting  # an engine takes twice its max_running

    def scene(where: str) -> None:
        engine, worker = Client.engine(where), Client.join(where, "worker")
        clients.extend([engine, worker])
        worker.until_state("ready")
        num_bytes = psutil.Process().memory_info().rss
        for index in range(0, len(flood), 500):
            worker.say(*flood[index : index + 500])
            worker.until(Failed, index + 500 - num_admitted)
        worker.say(GetMetrics("call"))
        worker.until(Metrics)
        refused = [m for m in worker.received if isinstance(m, Failed)]

        assert len(refused) == len(flood) - num_admitted
        assert {m.code for m in refused} == {"queue_full"}
        assert psutil.Process().memory_info().rss - num_bytes < 50 * 2**20

    play(f"ipc://{tmp_path}/socket", scene)


def test_worker_that_does_not_read_is_disconnected(
    tmp_path: Path, clients: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Audio for a hung worker does not pile up without end, and its request is aborted."""
    monkeypatch.setitem(server_module._MAX_UNSENT_BYTES, "worker", 4 * 2**20)

    def scene(where: str) -> None:
        engine, hung = Client.engine(where), Client.join(where, "worker")
        clients.extend([engine, hung])
        hung.until_state("ready")
        hung.say(submit("a"))
        engine.until(SynthesisRequest)
        deadline_s = time.monotonic() + _DEADLINE_S
        while not any(isinstance(message, Abort) for message in engine.received):
            assert time.monotonic() < deadline_s
            engine.say(AudioChunk("a", 0, 0, 32_000, bytes(2**20)))
            engine.received += engine.connection.receive(0.01)

    play(f"ipc://{tmp_path}/socket", scene)


# The process.


@contextlib.contextmanager
def process(endpoint: str, token: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """Run the dispatcher as the supervisor does; killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-m", "sovits_serve.dispatcher.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    config = msgspec.Raw(msgspec.json.encode(asdict(QueueConfig())))
    tell(child, Setup("dispatcher", endpoint, token, config))
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()


def tell(child: "subprocess.Popen[bytes]", line: Report) -> None:
    """Write a line to the child."""
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(line) + b"\n")
    child.stdin.flush()


def hear(child: "subprocess.Popen[bytes]") -> Reports:
    """Read a line of the child."""
    assert child.stdout is not None
    readable, _, _ = select.select([child.stdout], [], [], _DEADLINE_S)
    assert readable, "the dispatcher says nothing"
    report: Reports = msgspec.json.decode(child.stdout.readline(), type=Reports)
    return report


def test_process_reports_and_serves(tmp_path: Path, clients: list[Client]) -> None:
    """The process says when it listens, beats at least twice a second, and ends on SIGTERM."""
    endpoint = f"ipc://{tmp_path}/socket"
    with process(endpoint) as child:
        assert hear(child) == ChildReady()
        worker = Client.join(endpoint, "worker")
        clients.append(worker)
        beats = [hear(child) for _ in range(4)]
        child.send_signal(signal.SIGINT)  # Ctrl-C is for the supervisor
        hear(child)
        child.send_signal(signal.SIGTERM)
        worker.until_lost()

        assert child.wait(_DEADLINE_S) == 0
        assert all(isinstance(beat, Heartbeat) for beat in beats)
        assert process_module._HEARTBEAT_TICKS * server_module.TICK_S <= 0.5
        assert not (tmp_path / "socket").exists()


def test_process_drains(tmp_path: Path, clients: list[Client]) -> None:
    """Told to drain, it refuses what is new, finishes what it has, and ends with 0."""
    endpoint = f"ipc://{tmp_path}/socket"
    with process(endpoint) as child:
        hear(child)
        supervisor = Client.supervisor(endpoint)
        engine, worker = Client.engine(endpoint), Client.join(endpoint, "worker")
        clients.extend([supervisor, engine, worker])
        worker.until_state("ready")
        worker.say(submit("a"))
        engine.until(SynthesisRequest)
        tell(child, DrainChild())
        worker.until_state("draining")
        worker.say(submit("late"))
        (failed,) = worker.until(Failed)
        engine.say(Finished("a", 0, ()))

        assert isinstance(failed, Failed)
        assert (failed.request_id, failed.code) == ("late", "draining")
        assert worker.until(Finished) == [Finished("a", 0, ())]
        assert child.wait(_DEADLINE_S) == 0


def test_process_ends_requests_when_it_is_stopped(tmp_path: Path, clients: list[Client]) -> None:
    """On SIGTERM nothing is left without a terminal message."""
    endpoint = f"ipc://{tmp_path}/socket"
    with process(endpoint) as child:
        hear(child)
        supervisor = Client.supervisor(endpoint)
        engine, worker = Client.engine(endpoint), Client.join(endpoint, "worker")
        clients.extend([supervisor, engine, worker])
        worker.until_state("ready")
        worker.say(submit("a"))
        engine.until(SynthesisRequest)
        child.terminate()
        (failed,) = worker.until(Failed)

        assert isinstance(failed, Failed)
        assert failed.code == "draining"
        assert child.wait(_DEADLINE_S) == 0


def test_address_in_use_is_permanent(tmp_path: Path) -> None:
    """A second dispatcher on one endpoint says why it ends, and that trying again is no use."""
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(f"{tmp_path}/socket")
        living.listen()
        with process(f"ipc://{tmp_path}/socket") as child:
            report = hear(child)

            assert isinstance(report, Dying)
            assert report.is_permanent
            assert "another process listens there" in report.message
            assert child.wait(_DEADLINE_S) == 78


def test_supervisor_is_told_the_end_of_draining(tmp_path: Path, clients: list[Client]) -> None:
    """A supervisor that drains hears of 0 unfinished requests when it is so."""

    def scene(where: str) -> None:
        engine, worker = Client.engine(where), Client.join(where, "worker")
        supervisor = Client.join(where, "supervisor")
        clients.extend([engine, worker, supervisor])
        worker.until_state("ready")
        worker.say(submit("a"))
        engine.until(SynthesisRequest)
        supervisor.say(Fleet("draining", "stopping", ()))
        worker.until_state("draining")
        supervisor.received.clear()
        engine.say(Finished("a", 0, ()))
        deadline_s = time.monotonic() + _DEADLINE_S
        while QueueReport(0, 0, ("cpu#1",)) not in supervisor.received:
            assert time.monotonic() < deadline_s
            supervisor.received += supervisor.connection.receive(0.1)

    play(f"ipc://{tmp_path}/socket", scene)
