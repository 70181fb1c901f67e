"""A real engine process, and a dispatcher of a few lines for it to talk to."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from sovits_serve.config import EngineConfig, EngineSetup, ModelConfig
from sovits_serve.protocol.codec import FrameReader, encode
from sovits_serve.protocol.messages import EngineReady, Hello, Message, Welcome
from sovits_serve.protocol.reports import Report, Reports, Setup

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
M = TypeVar("M", bound=msgspec.Struct)


class Peer:
    """The dispatcher's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received: list[Message] = []
        self.is_over = False
        self._reader = FrameReader()

    def send(self, *messages: Message) -> None:
        """Send messages."""
        self.socket.sendall(b"".join(map(encode, messages)))

    def take(self, deadline_s: float = DEADLINE_S) -> Message:
        """Return the next message."""
        self._fill(lambda: bool(self.received), deadline_s)
        return self.received.pop(0)

    def take_until(self, kind: type[M], deadline_s: float = DEADLINE_S) -> tuple[list[Message], M]:
        """Return what comes before the first message of a kind, and that message."""
        before: list[Message] = []
        while True:
            message = self.take(deadline_s)
            if isinstance(message, kind):
                return before, message
            before.append(message)

    def wait_for_end(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the engine has closed the connection."""
        self._fill(lambda: self.is_over, deadline_s)

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def _fill(self, is_enough: Callable[[], bool], deadline_s: float) -> None:
        end = time.monotonic() + deadline_s
        while not is_enough():
            assert not self.is_over, "the engine closed the connection"
            left = end - time.monotonic()
            assert left > 0, f"nothing came for {deadline_s} s"
            if select.select([self.socket], [], [], left)[0]:
                data = b""
                with contextlib.suppress(ConnectionResetError):
                    data = self.socket.recv(1 << 18)
                self.is_over = not data
                self.received += self._reader.feed(data)


class Dispatcher:
    """Listens where engines connect."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.endpoint = f"ipc://{path}"
        self._listener: socket.socket | None = None
        self._peers: list[Peer] = []

    def __enter__(self) -> Self:
        """Listen."""
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything."""
        self.close()

    def listen(self) -> None:
        """Take the socket's path."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()

    def accept(self, deadline_s: float = DEADLINE_S) -> Peer:
        """Return the next connection, unanswered."""
        assert self._listener is not None
        self._listener.settimeout(deadline_s)
        peer = Peer(self._listener.accept()[0])
        self._peers.append(peer)
        return peer

    def welcome(self, deadline_s: float = DEADLINE_S) -> tuple[Peer, EngineReady]:
        """Return the next connection, greeted, and what its engine says of itself."""
        peer = self.accept(deadline_s)
        hello = peer.take(deadline_s)
        assert isinstance(hello, Hello)
        assert hello.role == "engine"
        peer.send(Welcome())
        ready = peer.take(deadline_s)
        assert isinstance(ready, EngineReady)
        return peer, ready

    def close(self) -> None:
        """Vanish, as a dispatcher that is killed."""
        for peer in self._peers:
            peer.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class EngineProcess:
    """An engine as its supervisor holds it."""

    def __init__(
        self,
        endpoint: str,
        *,
        module: str = "tests.fake_engine",
        config: EngineSetup | None = None,
        name: str = "cpu",
        switches: Mapping[str, str] | None = None,
        **environment: str,
    ) -> None:
        self.reports: list[Report] = []
        self.log: list[str] = []
        inherited = os.environ.get("PYTHONPATH", "")
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT), inherited])
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths, **(switches or {}), **environment},
        )
        config = config or EngineSetup(EngineConfig(), ModelConfig())
        raw = msgspec.Raw(msgspec.json.encode(config))
        self.tell(Setup(name, endpoint, "", raw))
        self._readers = [
            threading.Thread(target=self._read_reports, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def tell(self, order: Report) -> None:
        """Write a line to the engine's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        self.process.stdin.flush()

    def wait_for(
        self,
        kind: type[M],
        deadline_s: float = DEADLINE_S,
        is_it: Callable[[M], bool] | None = None,
    ) -> M:
        """Return the first report of a kind that is not yet taken, and take it."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            for report in list(self.reports):
                if isinstance(report, kind) and (is_it is None or is_it(report)):
                    self.reports.remove(report)
                    return report
            time.sleep(0.005)
        raise AssertionError(f"no {kind.__name__} in {deadline_s} s; log: {self.log}")

    def wait_log(self, text: str) -> None:
        """Wait until a line of the log has a text: it is read a moment after it was written."""
        end = time.monotonic() + DEADLINE_S
        while not any(text in line for line in self.log):
            assert time.monotonic() < end, f"no {text!r} in the log: {self.log}"
            time.sleep(0.005)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Return the exit code, with all of the log read."""
        code = self.process.wait(deadline_s)
        for reader in self._readers:
            reader.join(deadline_s)
        return code

    def end(self) -> None:
        """Kill it if it still lives, and close the pipes."""
        self.process.kill()
        self.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _read_reports(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):  # else it was killed in the middle of one
                self.reports.append(msgspec.json.decode(line, type=Reports))

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.decode(errors="replace").rstrip())


@contextlib.contextmanager
def running_engine(
    endpoint: str,
    *,
    config: EngineSetup | None = None,
    module: str = "tests.fake_engine",
    switches: Mapping[str, str] | None = None,
    **environment: str,
) -> Iterator[EngineProcess]:
    """Run an engine process for the length of a block."""
    engine = EngineProcess(endpoint, module=module, config=config, switches=switches, **environment)
    try:
        yield engine
    finally:
        engine.end()
