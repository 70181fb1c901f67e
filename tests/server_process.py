"""A whole server as real processes, with engines that have no model: started, watched, ended.

``sovits-serve serve`` on a free port, everything that it may leave behind (sockets, temporary
files) in a directory of its own. Leaving the context kills whatever is still there; ``stop`` and
``assert_gone`` say what should not be.
"""

import http.client
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psutil

from sovits_serve.voices.demo import write_demo_recording
from tests.liveness import is_alive
from tests.ports import reserved_port

ROOT = Path(__file__).parents[1]
FAKE_ENGINE = "tests.fake_engine"
VOICES = ("alice", "bob", "carol", "default")
PROMPT = "These words were said."
# For what comes at once on a quiet machine: others share this one.
DEADLINE_S = 30.0

Role = Literal["dispatcher", "worker", "engine"]
_MODULES: dict[str, Role] = {
    "sovits_serve.dispatcher.process": "dispatcher",
    "sovits_serve.api.worker": "worker",
    "sovits_serve.engine.process": "engine",
    FAKE_ENGINE: "engine",
}
_NOT_INHERITED = ("SOVITS_SERVE_", "FAKE_", "NOTIFY_", "XDG_RUNTIME_DIR", "TMPDIR")


@dataclass(frozen=True)
class Event:
    """A line of the fake engines' log."""

    what: str
    pid: int
    at_s: float  # time.monotonic(), which all processes share
    name: str


class ServerProcess:
    """``sovits-serve serve``; a context manager.

    Args:
        directory: for voices and logs.
        options: of the command line, after those that every test wants.
        num_engines: fake engines on the CPU.
        num_workers: HTTP workers.
        has_fake_engines: False: the real one instead; ``options`` name its model.
        switches: FAKE_* variables (without the prefix) and any other variable in full.
        prefix: a command that becomes the server, as ``nice`` does.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        num_engines: int = 1,
        num_workers: int = 1,
        has_fake_engines: bool = True,
        switches: Mapping[str, object] | None = None,
        prefix: Sequence[str] = (),
        port: int = 0,
    ) -> None:
        self.directory = directory
        self._num_workers = num_workers
        self._reserved = ExitStack()
        self.port = port or self._reserved.enter_context(reserved_port())
        # Paths of sockets are short; those of pytest are not.
        self.scratch = Path(tempfile.mkdtemp(prefix="sst-", dir="/tmp"))
        self.runtime = self.scratch / "run"
        self.hold_file = self.scratch / "hold"  # while it exists, fake engines finish nothing
        self.voices = directory / "voices"
        self.log_path = directory / "server.txt"
        self._events_path = directory / "events.txt"
        self.exit_code: int | None = None
        _write_voices(self.voices)
        self.runtime.mkdir()
        (self.scratch / "tmp").mkdir()
        self.command = [sys.executable, "-m", "sovits_serve", "serve", "--port", str(self.port)]
        self.command += [
            "--workers",
            str(num_workers),
            "--devices",
            ",".join(["cpu"] * num_engines),
        ]
        self.command += ["--voices", str(self.voices), "--max-per-key", "0"]
        if has_fake_engines:
            self.command += ["--engine-module", FAKE_ENGINE]
        self.command += options
        self.environment = self._environment(switches or {})
        self.started_at_s = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.command],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self, switches: Mapping[str, object]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
        own = {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "TMPDIR": str(self.scratch / "tmp"),
            "FAKE_LOG": str(self._events_path),
            "FAKE_STATE_DIR": str(self.scratch),
            "FAKE_HOLD_FILE": str(self.hold_file),
            "OMP_NUM_THREADS": "1",
        }
        full = {
            (name if "_" in name and name.startswith("SOVITS_") else f"FAKE_{name}"): str(value)
            for name, value in switches.items()
        }
        return {**kept, **own, **full}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill all that is left."""
        for process in self.everyone():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait(30)
        self._reserved.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    # What it is.

    @property
    def url(self) -> str:
        """Return where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Return what all processes have written."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_end(self) -> str:
        """Return the end of that, for messages."""
        return self.log[-4000:]

    def events(self, what: str = "", name: str = "") -> list[Event]:
        """Return the fake engines' events of a kind, of engines whose names begin so."""
        if not self._events_path.exists():
            return []
        text = self._events_path.read_text()
        lines = (line.split() for line in text[: text.rfind("\n") + 1].splitlines())
        found = (Event(event, int(pid), float(at), whose) for event, pid, at, whose in lines)
        return [e for e in found if what in {"", e.what} and e.name.startswith(name)]

    def get(self, path: str, timeout_s: float = 10.0) -> tuple[int, bytes]:
        """Return status and body of a page; status 0 when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path, headers={"connection": "close"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def health(self) -> dict[str, Any]:
        """Return the page /health, once it is there: who is asked may have just been killed."""
        answers: list[tuple[int, bytes]] = []

        def is_there() -> bool:
            answers.append(self.get("/health"))
            return answers[-1][0] == 200

        self.wait_until(is_there, what="/health answers")
        return dict(json.loads(answers[-1][1]))

    def metric(self, name: str) -> float:
        """Return a metric's value, the sum over all its labels; NaN when nobody says now."""
        text = self.get("/metrics")[1].decode()
        if "\nsovits_serve_dispatcher_up 1" not in text:
            return math.nan
        found = re.findall(rf"^sovits_serve_{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for value in found)

    def everyone(self) -> list[psutil.Process]:
        """Return every living process that belongs to this server, orphans as well."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError, PermissionError):
                is_ours = process.pid == self.process.pid or os.getsid(process.pid) == (
                    self.process.pid
                )
                if is_ours and is_alive(process.pid):
                    found.append(process)
        return found

    def children(self) -> dict[Role, list[psutil.Process]]:
        """Return the supervisor's living children by role, the oldest first."""
        found: dict[Role, list[psutil.Process]] = {"dispatcher": [], "worker": [], "engine": []}
        for process in sorted(self.everyone(), key=lambda one: one.pid):
            with suppress(psutil.Error):
                words = process.cmdline()
                role = next((_MODULES[word] for word in words if word in _MODULES), None)
                if role is not None and process.ppid() == self.process.pid:
                    found[role].append(process)
        return found

    def pids(self, role: Role) -> list[int]:
        """Return the pids of a role."""
        return [process.pid for process in self.children()[role]]

    def only(self, role: Role) -> int:
        """Return the pid of the only process of a role."""
        [pid] = self.pids(role)
        return pid

    # What is waited for.

    def wait_until(
        self, is_true: Callable[[], Any], timeout_s: float = DEADLINE_S, what: str = "that"
    ) -> float:
        """Poll until something is true; return the seconds that it took."""
        begun = time.monotonic()
        while not is_true():
            waited_s = time.monotonic() - begun
            assert waited_s < timeout_s, f"not within {timeout_s} s: {what}\n{self.log_end()}"
            time.sleep(0.005)
        return time.monotonic() - begun

    def wait_log(self, *texts: str) -> None:
        """Wait until the log has all of these texts: it tells of an event a moment later."""
        self.wait_until(lambda: all(text in self.log for text in texts), what=f"{texts} in the log")

    def wait_ready(self, timeout_s: float = 60.0, *, num_engines: int = 0) -> float:
        """Wait for /readyz to say so; return the seconds.

        With ``num_engines`` also for that many engines, of those that live, and for every worker:
        after the end of a dispatcher one may know of the next one before another does.
        """

        def is_ready() -> bool:
            assert self.process.poll() is None, f"it has ended: {self.log_end()}"
            if self.get("/readyz")[0] != 200:
                return False
            if not num_engines:
                return True
            # The page may speak of one that has just died.
            told = {one["pid"] for one in self.health()["engines"] if one["state"] == "ready"}
            has_engines = len(told.intersection(self.pids("engine"))) >= num_engines
            return has_engines and self.metric("http_workers") >= self._num_workers

        return self.wait_until(is_ready, timeout_s, "ready")

    def wait_for(
        self, what: str, count: int = 1, name: str = "", timeout_s: float = DEADLINE_S
    ) -> Event:
        """Wait for the ``count``-th event of a kind and return it."""
        self.wait_until(
            lambda: len(self.events(what, name)) >= count, timeout_s, f"{count} x {what}"
        )
        return self.events(what, name)[count - 1]

    def wait_idle(self, timeout_s: float = DEADLINE_S) -> None:
        """Wait until nothing waits or runs anywhere."""

        def is_idle() -> bool:
            status = self.health()
            engines = status["engines"]
            busy = [e.get("num_running", 0) + e.get("num_waiting", 0) for e in engines]
            queue = status["queue"]
            return not any(busy) and not queue["num_waiting"] and not queue["num_running"]

        self.wait_until(is_idle, timeout_s, "idle")

    # How it ends.

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        self.process.send_signal(number)

    def wait_exit(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait for the supervisor's end; return its exit code."""
        try:
            self.exit_code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"alive after {timeout_s} s: {self.log_end()}") from None
        return self.exit_code

    def stop(self, timeout_s: float = DEADLINE_S) -> float:
        """Send SIGTERM and check that all ends well; return the seconds that it took."""
        begun = time.monotonic()
        self.signal(signal.SIGTERM)
        exit_code = self.wait_exit(timeout_s)
        took_s = time.monotonic() - begun
        # Before the first line is run nobody can hear a signal; nothing was started then, either.
        was_heard = exit_code == 0 or (exit_code == -signal.SIGTERM and not self.log)
        assert was_heard, (exit_code, self.log_end())
        self.assert_gone()
        return took_s

    def assert_gone(self, within_s: float = 10.0, *, leaves_files: bool = False) -> None:
        """Check that nothing is left: no process, no file, nobody on the port."""
        self.wait_until(lambda: not self.everyone(), within_s, "no process left")
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", self.port)) != 0, "somebody listens still"
        if not leaves_files:
            left = [path for path in self.runtime.rglob("*") if path.name]
            left += list((self.scratch / "tmp").rglob("*"))
            assert not left, left


def _write_voices(directory: Path) -> None:
    if directory.exists():
        return
    directory.mkdir(parents=True)
    for index, name in enumerate(VOICES):
        write_demo_recording(directory / f"{name}.wav", index)
        (directory / f"{name}.txt").write_text(PROMPT, encoding="utf-8")
