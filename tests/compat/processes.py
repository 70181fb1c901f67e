"""Processes under test: their whole tree is watched while they live, and gone when they end."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_SAMPLE_S = 0.1


class Running:
    """A process with all its descendants, from start to the last one's end."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.started = time.monotonic()
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*arguments],
                env={**environment},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._root = psutil.Process(self._popen.pid)
        self._seen: dict[int, psutil.Process] = {}
        self._children: dict[int, str] = {}
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> Self:
        """Return itself; leaving kills what is left."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every process of the tree, whatever it is doing."""
        self._ended.set()
        self._watcher.join()
        self._look()
        for process in [self._root, *self._seen.values()]:
            _kill(process)
        self._popen.wait(timeout=10)

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._popen.poll()

    def children(self, mark: str = "") -> dict[int, str]:
        """Return every direct child ever seen, by pid, whose command line has the mark."""
        self._look()
        return {pid: line for pid, line in self._children.items() if mark in line}

    def cpu_s(self) -> float:
        """Return the CPU time that all its living processes have taken."""
        self._look()
        return sum(_cpu_s(process) for process in [self._root, *self._seen.values()])

    def terminate(self, timeout_s: float) -> float | None:
        """Send SIGTERM to the first process alone; return its seconds until the end, or None."""
        self._look()
        start = time.monotonic()
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic() - start

    def orphans(self, grace_s: float = 5.0) -> list[str]:
        """Return what is still alive of the tree after its first process has ended."""
        deadline = time.monotonic() + grace_s
        while (alive := [process for process in self._seen.values() if _is_alive(process)]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.05)
        return [f"{process.pid} {_command(process)}" for process in alive]

    def last_lines(self, num_lines: int = 3) -> str:
        """Return the end of what the processes wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-num_lines:])

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self._look()

    def _look(self) -> None:
        try:
            direct = self._root.children()
            everyone = self._root.children(recursive=True)
        except psutil.NoSuchProcess:
            return
        for process in everyone:
            self._seen.setdefault(process.pid, process)
        for process in direct:
            if line := _command(process):  # the last look counts: between fork and exec it is wrong
                self._children[process.pid] = line


def base_environment(**settings: str) -> dict[str, str]:
    """Return an environment that hides the development environment from the processes."""
    hidden = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "WEB_CONCURRENCY"}
    hidden.add("PYTHONDONTWRITEBYTECODE")  # users keep compiled files; starts are faster with them
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.startswith(("SOVITS_SERVE_", "FAKE_"))
    }
    return {**kept, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **settings}


def wait_until(condition: Callable[[], bool], timeout_s: float, pause_s: float = 0.02) -> float:
    """Return the seconds until the condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout_s:
            raise TimeoutError(f"not within {timeout_s} s")
        time.sleep(pause_s)
    return time.monotonic() - start


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
    return float(times.user + times.system)


def _is_alive(process: psutil.Process) -> bool:
    try:
        # A zombie has ended; that nobody asked for its exit code is the matter of this machine's init.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()  # psutil compares start times: never another process with an old number
    except psutil.NoSuchProcess:
        return
