import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest

from sovits_serve.api import worker as worker_module
from sovits_serve.config import ApiConfig, FrontendConfig, ModelConfig, WorkerSetup
from sovits_serve.protocol.pipes import EXIT_PARENT_GONE
from sovits_serve.protocol.reports import ChildReady, DrainChild, Dying, Heartbeat, Reports, Setup
from tests.api.app_server import recording
from tests.api.fake_dispatcher import dispatching, hold, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sockets are inherited on POSIX")

DEADLINE_S = 30.0
SPEECH = {"input": "Hello.", "voice": "default", "response_format": "wav"}


@dataclass
class Worker:
    """A real worker process, and a supervisor's ends of its pipes."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def order(self, order: DrainChild) -> None:
        """Send an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        self.process.stdin.flush()

    def report(self) -> Reports:
        """Wait for the next report."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        report: Reports = msgspec.json.decode(line, type=Reports)
        return report

    def wait_until_ready(self) -> None:
        """Read reports up to ChildReady."""
        while not isinstance(self.report(), ChildReady):
            pass


@contextmanager
def working(tmp_path: Path, endpoint: str, *, api: ApiConfig | None = None) -> Iterator[Worker]:
    """Run a worker."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    voices = tmp_path / "voices"
    voices.mkdir(exist_ok=True)
    (voices / "default.wav").write_bytes(recording())
    told = WorkerSetup(
        api or ApiConfig(), FrontendConfig(), ModelConfig(voices=str(voices)), (listener.fileno(),)
    )
    setup = Setup("worker-0", endpoint, "", msgspec.Raw(msgspec.json.encode(told)))
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "sovits_serve.api.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=(listener.fileno(),),
        )
    listener.close()  # the worker's copy is the only one
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(setup) + b"\n")
        process.stdin.flush()
        yield Worker(process, url, log)
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        process.wait()


def nowhere(tmp_path: Path) -> str:
    """Return an endpoint that nobody listens on."""
    return f"ipc://{tmp_path}/none.sock"


def test_it_is_alive_at_once_though_there_is_no_dispatcher(tmp_path: Path) -> None:
    """/livez answers without dispatcher and engines, /readyz says what is missing, no log lines."""
    with working(tmp_path, nowhere(tmp_path)) as worker:
        # Who connects before the worker accepts waits in the backlog.
        alive = httpx.get(f"{worker.url}/livez", timeout=DEADLINE_S)
        ready = httpx.get(f"{worker.url}/readyz", timeout=DEADLINE_S)
        worker.wait_until_ready()
        beats = [worker.report() for _ in range(3)]
        worker.process.send_signal(signal.SIGTERM)
        exit_code = worker.process.wait(DEADLINE_S)
        log = worker.log.read_text()

    assert alive.status_code == 200
    assert ready.status_code == 503
    assert "no dispatcher" in ready.json()["reason"]
    assert "retry-after" in ready.headers
    assert all(isinstance(beat, Heartbeat) for beat in beats)
    assert exit_code == 0
    assert "Traceback" not in log


def test_heartbeats_come_twice_a_second(tmp_path: Path) -> None:
    """The supervisor hears from the loop again and again, at least twice a second."""
    with working(tmp_path, nowhere(tmp_path)) as worker:
        worker.wait_until_ready()
        for _ in range(4):
            assert isinstance(worker.report(), Heartbeat)

    assert worker_module._HEARTBEAT_S <= 0.5


@pytest.mark.parametrize("how", ["order", "signal"])
def test_it_finishes_what_runs_and_takes_nothing_more(tmp_path: Path, how: str) -> None:
    """After DrainChild or SIGTERM a running stream ends whole, then the process, with 0."""

    async def run() -> tuple[bytes, int]:
        async with dispatching() as dispatcher:
            dispatcher.answer = hold
            with working(tmp_path, dispatcher.endpoint) as worker:
                await asyncio.to_thread(worker.wait_until_ready)
                await until(lambda: bool(dispatcher.connections), "the worker")
                async with httpx.AsyncClient(base_url=worker.url, timeout=DEADLINE_S) as client:
                    asked = asyncio.create_task(client.post("/v1/audio/speech", json=SPEECH))
                    submit = await dispatcher.wait_for_submit()
                    dispatcher.sound(submit.request_id, b"\x01\x02" * 8000)
                    if how == "order":
                        worker.order(DrainChild())
                    else:
                        worker.process.send_signal(signal.SIGTERM)
                    await until(lambda: is_refused(worker.url), "the listener to close")
                    dispatcher.sound(submit.request_id, b"\x01\x02" * 8000)
                    dispatcher.finish(submit.request_id)
                    audio = (await asked).content
                return audio, await asyncio.to_thread(worker.process.wait, DEADLINE_S)

    audio, exit_code = asyncio.run(run())

    assert len(audio) == 44 + 2 * 16000
    assert exit_code == 0


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """When the supervisor's end of the pipe closes, the worker is gone, too."""
    with working(tmp_path, nowhere(tmp_path)) as worker:
        worker.wait_until_ready()
        assert worker.process.stdin is not None
        worker.process.stdin.close()

        assert worker.process.wait(DEADLINE_S) == EXIT_PARENT_GONE


def test_a_terminals_interrupt_is_the_supervisors_affair(tmp_path: Path) -> None:
    """SIGINT changes nothing, whenever it comes."""
    with working(tmp_path, nowhere(tmp_path)) as worker:
        worker.wait_until_ready()
        worker.process.send_signal(signal.SIGINT)
        httpx.get(f"{worker.url}/livez", timeout=DEADLINE_S).raise_for_status()

        assert worker.process.poll() is None


def test_a_bad_setting_is_permanent(tmp_path: Path) -> None:
    """What another start cannot mend is said as such, with the exit code of bad settings."""
    with working(tmp_path, "nonsense://x") as worker:
        report = worker.report()
        exit_code = worker.process.wait(DEADLINE_S)

    assert isinstance(report, Dying)
    assert report.is_permanent
    assert exit_code == 78


def test_the_request_id_is_in_the_log_and_no_text_is(tmp_path: Path) -> None:
    """One line per request, under its id; what was to be said stays out."""
    with working(tmp_path, nowhere(tmp_path)) as worker:
        query = {"text": "a secret", "text_lang": "en"}
        headers = {"x-request-id": "trace-77"}
        answer = httpx.get(f"{worker.url}/tts", params=query, headers=headers, timeout=DEADLINE_S)
        worker.wait_until_ready()
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(DEADLINE_S)
        log = worker.log.read_text()

    assert answer.status_code == 503
    assert answer.headers["x-request-id"] == "trace-77"
    assert "request_id=trace-77 response method=GET route=/tts status=503" in log
    assert "secret" not in log


def test_control_asks_the_supervisor(tmp_path: Path) -> None:
    """``exit`` is SIGTERM to the parent, ``restart`` SIGHUP, each after the answer is out."""
    received: list[int] = []
    old = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        with working(tmp_path, nowhere(tmp_path), api=ApiConfig(control=True)) as worker:
            for command in ("restart", "exit"):
                answer = httpx.get(
                    f"{worker.url}/control", params={"command": command}, timeout=DEADLINE_S
                )
                assert answer.json() == {"message": "success"}
            end = time.monotonic() + DEADLINE_S
            while len(received) < 2 and time.monotonic() < end:
                time.sleep(0.01)  # polls
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

    assert received == [signal.SIGHUP, signal.SIGTERM]


def is_refused(url: str) -> bool:
    """Return whether nobody listens any more."""
    port = int(url.rpartition(":")[2])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
