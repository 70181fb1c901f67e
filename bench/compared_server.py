"""A server in processes of its own, started for a comparison and ended with all its children."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from sovits_serve.bench.load import Target

ROOT = Path(__file__).parent.parent
_START_S = 300.0
_KINDS = {
    "sovits_serve": "supervisor",
    "dispatcher.process": "dispatcher",
    "api.worker": "workers",
    "engine.process": "engine",
}


class ComparedServer:
    """One that listens on a port of this machine, ready when ``ready_path`` answers 200."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        *,
        ready_path: str,
        directory: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.port = port
        self._ready_path = ready_path
        self._log = tempfile.NamedTemporaryFile("wb", prefix="bench-log-")  # noqa: SIM115
        self._started_at = time.monotonic()
        self._start_s = 0.0  # once it is ready
        self._process = psutil.Popen(
            list(command),
            cwd=directory,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        everything = self._family()
        with suppress(psutil.NoSuchProcess):
            self._process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(everything, timeout=10)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=10)
        self._log.close()

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_tail(self) -> str:
        """Return the end of what its processes wrote."""
        return Path(self._log.name).read_text(errors="replace")[-4000:]

    def rss_gib(self) -> float:
        """Return the resident memory of all its processes; what they share counts once each."""
        size = 0
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                size += process.memory_info().rss
        return size / 2**30

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time so far of each kind of its processes, and of this one.

        Kinds of ours are named after their packages; ``engine thread`` is the busiest one's.
        """
        times = {"client": sum(psutil.Process().cpu_times()[:2])}
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                words = process.cmdline()
                module = words[words.index("-m") + 1] if "-m" in words else ""
                kind = _KINDS.get(module.removeprefix("sovits_serve."), "server")
                times[kind] = times.get(kind, 0.0) + sum(process.cpu_times()[:2])
                if kind == "engine":
                    busiest = max(sum(thread[1:]) for thread in process.threads())
                    times["engine thread"] = max(times.get("engine thread", 0.0), busiest)
        return times

    def wait_until_ready(self) -> float:
        """Return the seconds from the start until it was ready."""
        if self._start_s:
            return self._start_s
        while self._status() != 200:
            waited_s = time.monotonic() - self._started_at
            if self._process.poll() is not None or waited_s > _START_S:
                raise SystemExit(f"the server did not start:\n{self.log_tail}")
            time.sleep(0.1)
        self._start_s = time.monotonic() - self._started_at
        return self._start_s

    def _family(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return [self._process, *self._process.children(recursive=True)]
        return []

    def _status(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self._ready_path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


def our_server(model: Path, device: str, options: Sequence[str]) -> ComparedServer:
    """Start ``sovits-serve serve`` with limits that one client address does not meet."""
    port = free_port()
    command = [sys.executable, "-m", "sovits_serve", "serve", "--model", str(model)]
    command += ["--port", str(port), "--devices", "cuda:0" if device == "cuda" else device]
    command += ["--allowed-paths", str(model.resolve())]
    command += ["--max-per-key", "0", "--max-waiting", "4096", *options]
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))))
    return ComparedServer(
        command, port, ready_path="/readyz", directory=ROOT, environment={"PYTHONPATH": path}
    )


def sentence_target(url: str, model: Path, *, streaming_mode: int) -> Target:
    """Return what both servers are asked: api_v2, the model's reference, a sentence in one piece.

    Everything else is upstream's default.
    """
    extra: dict[str, object] = {
        "prompt_text": (model / "reference.txt").read_text(encoding="utf-8").strip(),
        "prompt_lang": "en",
        "text_split_method": "cut0",
        "streaming_mode": streaming_mode,
    }
    return Target(
        url,
        api="api_v2",
        voice=str((model / "reference.wav").resolve()),
        language="en",
        is_streaming=streaming_mode > 0,
        extra=extra,
    )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
