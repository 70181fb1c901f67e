"""A supervisor with stub children in a process of its own, and what can be seen of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.liveness import is_alive

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0  # for what comes at once on a quiet machine


@dataclass(frozen=True)
class Event:
    """A line of the stubs' log."""

    what: str
    pid: int
    at: float
    name: str


def say(figure: str) -> None:
    """Show a measured figure (pytest -s)."""
    sys.stdout.write(f"{figure}\n")


def wait_until(
    is_true: Callable[[], Any], timeout_s: float = DEADLINE_S, explain: Callable[[], str] = str
) -> Any:
    """Poll until something is true, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := is_true()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s. {explain()}"
        time.sleep(0.01)
    return found


class Server:
    """The supervisor's process; use as a context manager."""

    def __init__(
        self,
        directory: Path,
        settings: dict[str, Any] | None = None,
        stderr: int | None = None,
        **switches: object,
    ) -> None:
        self.directory = directory
        self.log = directory / "events"
        self.fleet_log = directory / "fleets"
        self.unfinished = directory / "unfinished"
        (directory / "runtime").mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "STUB_LOG": str(self.log),
            "STUB_FLEETS": str(self.fleet_log),
            "STUB_UNFINISHED": str(self.unfinished),
            "XDG_RUNTIME_DIR": str(directory / "runtime"),
            **{name: str(value) for name, value in switches.items()},
        }
        self.output = directory / "stdout"
        self.errors = directory / "stderr"
        self.started_at = time.monotonic()
        with self.output.open("ab") as out, self.errors.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.supervisor.run_stub", json.dumps(settings or {})],
                env=environment,
                cwd=ROOT,
                stdout=out,
                stderr=err if stderr is None else stderr,
                start_new_session=True,
            )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        pids = {event.pid for event in self.events()} | {self.process.pid}
        self.process.kill()
        self.process.wait()
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)

    def events(self, what: str = "", name: str = "") -> list[Event]:
        """Return the stubs' events of a kind, of processes whose names begin so."""
        if not self.log.exists():
            return []
        text = self.log.read_text()
        lines = (line.split() for line in text[: text.rfind("\n") + 1].splitlines())
        found = (Event(event, int(pid), float(at), whose) for event, pid, at, whose in lines)
        return [e for e in found if what in {"", e.what} and e.name.startswith(name)]

    def fleets(self) -> list[dict[str, Any]]:
        """Return all that the dispatcher was told."""
        if not self.fleet_log.exists():
            return []
        text = self.fleet_log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def fleet(self) -> dict[str, Any]:
        """Return what the dispatcher was told last."""
        return (self.fleets() or [{"state": "", "engines": [{"state": ""}]}])[-1]

    def wait_for(self, what: str, name: str, count: int = 1) -> Event:
        """Wait for the ``count``-th event of a kind and return it."""
        wait_until(
            lambda: len(self.events(what, name)) >= count,
            explain=lambda: f"{count} x {what} of {name}; {self.log_end()}",
        )
        return self.events(what, name)[count - 1]

    def wait_for_state(self, state: str) -> dict[str, Any]:
        """Wait until the server's state is this, and return the fleet."""
        wait_until(
            lambda: self.fleet()["state"] == state,
            explain=lambda: f"state {state}; {self.log_end()}",
        )
        return self.fleet()

    def wait_log(self, *texts: str) -> None:
        """Wait until the supervisor's log has all of these: it tells of an event a moment later."""
        wait_until(
            lambda: all(text in self.errors.read_text() for text in texts),
            explain=lambda: f"{texts} in the log; {self.log_end()}",
        )

    def wait_exit(self) -> int:
        """Wait until the supervisor ends by itself; return its exit code."""
        return self.process.wait(DEADLINE_S)

    def log_end(self) -> str:
        """Return the end of the supervisor's log."""
        return self.errors.read_text()[-3000:]

    def url(self) -> str:
        """Wait until the server says that it is ready, and return its URL."""
        found = wait_until(
            lambda: [x for x in self.output.read_text().splitlines() if x.startswith("ready ")],
            explain=self.log_end,
        )
        return str(found[0].split()[1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal and wait for the end; return the seconds that took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.wait_exit()
        return time.monotonic() - begun

    def pids(self) -> set[int]:
        """Return every process that was ever started."""
        return {event.pid for event in self.events("start")}

    def living(self) -> set[int]:
        """Return those that run."""
        return {pid for pid in self.pids() if is_alive(pid)}
