"""``sovits-serve top`` against a small server that answers as ours does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from sovits_serve.cli import app
from sovits_serve.protocol.messages import EngineStatus, QueueStatus, Status
from sovits_serve.top import StepRates, run_top, show_bytes, show_time
from tests.ports import reserved_port

ENGINE = EngineStatus(
    name="cuda:0",
    state="ready",
    device="H100",
    pid=4321,
    num_starts=3,
    num_running=7,
    num_waiting=5,
    rss_bytes=3 << 30,
    device_bytes=5 << 30,
    device_limit_bytes=72 << 30,
)
QUEUE = QueueStatus(
    num_waiting=12,
    num_running=8,
    max_waiting=256,
    num_finished=9000,
    num_failed=3,
    num_refused=44,
    wait_p50_s=0.035,
    first_audio_p50_s=0.21,
    first_audio_p95_s=1.25,
    audio_s_per_s=104.25,
)
READY = Status(serial=1, state="ready", reason="", engines=(ENGINE,), queue=QUEUE)


@dataclass
class FakeServer:
    """What is answered, and what was asked."""

    body: bytes = msgspec.json.encode(READY)
    code: int = 200
    location: str = ""
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(fake: FakeServer, port: int = 0) -> Iterator[FakeServer]:
    """Answer until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.seen.append((self.path, self.headers["Authorization"]))
            self.send_response(fake.code)
            if fake.location:
                self.send_header("Location", fake.location)
            self.end_headers()
            self.wfile.write(fake.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def once(fake: FakeServer, *more: str) -> Result:
    """Run ``top --once``."""
    command = ["top", "--once", "--url", fake.url, *more]
    return CliRunner().invoke(app, command, env={"COLUMNS": "80"})


def test_once_shows_server_engines_and_queue() -> None:
    """One table has everything that is to be seen, and the exit code is 0."""
    with serving(FakeServer()) as fake:
        result = once(fake)

    words = " ".join(result.stdout.split())
    assert result.exit_code == 0, result.output
    assert f"{fake.url} ready" in words
    assert "cuda:0 ready H100 4321 7 5 - 3.0G 5.0G/72G 2" in words
    assert "12 of 256 waiting, 8 running" in words
    assert "wait p50 35 ms, first audio p50 210 ms p95 1.25 s, 104.2 audio s/s" in words
    assert "9000 finished, 44 refused, 3 failed" in words
    assert fake.seen == [("/health", None)]


def test_the_key_is_sent_and_can_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """--api-key goes before the variable that the server reads, too."""
    monkeypatch.setenv("SOVITS_SERVE_API_KEY", "first,second")
    with serving(FakeServer()) as fake:
        once(fake)
        once(fake, "--api-key", "given")

    assert [key for _, key in fake.seen] == ["Bearer first", "Bearer given"]


def test_a_loading_engine_shows_its_progress_and_a_failed_one_its_log() -> None:
    """What is not ready says why; a server's words are no markup and steer no terminal."""
    engines = (
        EngineStatus("a", "loading", progress=0.4, detail="[red]t2s"),
        EngineStatus("b", "failed", detail="crashed 5 times", last_lines=("boom \x1b[2J",)),
    )
    status = Status(serial=1, state="failed", reason="no engine is left", engines=engines)
    with serving(FakeServer(msgspec.json.encode(status), code=503)) as fake:
        result = once(fake)

    assert result.exit_code == 0
    assert "loading 40%" in result.stdout
    assert "a: [red]t2s" in result.stdout
    assert "b: crashed 5 times" in result.stdout
    assert "failed  no engine is left" in result.stdout
    assert r"boom \x1b[2J" in result.stdout


@pytest.mark.parametrize(
    ("fake", "words"),
    [
        (FakeServer(code=401), "HTTP 401: a key is needed (--api-key)"),
        (FakeServer(code=404), "HTTP 404: no sovits-serve answers there"),
        (FakeServer(code=302, location="http://127.0.0.1:1/"), "HTTP 302: no sovits-serve"),
        (FakeServer(b"hello"), "is no sovits-serve"),
        (FakeServer(b'{"status": "ok"}'), "is no sovits-serve"),
    ],
)
def test_once_without_a_useful_answer(fake: FakeServer, words: str) -> None:
    """What answers and does not say how it is counts as away, with the reason."""
    with serving(fake):
        result = once(fake)

    assert result.exit_code == 69
    assert words in " ".join(result.stdout.split())


def test_once_without_a_server() -> None:
    """Nobody there: it says so and the exit code is 69."""
    with reserved_port() as port:
        result = once(FakeServer(url=f"http://127.0.0.1:{port}"))

    assert result.exit_code == 69
    assert "away" in result.stdout


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://", "ftp://x"])
def test_only_http_is_asked(url: str) -> None:
    """Another scheme is wrong usage."""
    result = CliRunner().invoke(app, ["top", "--once", "--url", url])

    assert result.exit_code == 2
    assert "is not http://host:port" in result.stderr


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_keeps_trying_while_the_server_is_away(is_terminal: bool) -> None:
    """A server that goes and comes back is shown as such; Ctrl-C ends it well."""
    output = StringIO()
    console = Console(file=output, width=160, force_terminal=is_terminal)
    looks: list[float] = []

    def sleep(interval_s: float) -> None:
        looks.append(interval_s)
        if len(looks) == 2:
            raise KeyboardInterrupt
        server.__enter__()

    with reserved_port() as port:
        server = serving(FakeServer(), port)
        url = f"http://127.0.0.1:{port}"
        try:
            code = run_top(url, "", is_once=False, interval_s=0.5, console=console, sleep=sleep)
        finally:
            server.__exit__(None, None, None)

    shown = output.getvalue()
    assert code == 0
    assert looks == [0.5, 0.5]
    assert shown.index("trying again") < shown.index("4321")


def test_step_rates_are_between_two_looks() -> None:
    """Steps per second need two answers of the same process; a new process starts anew."""
    now = [10.0]
    rates = StepRates(clock=lambda: now[0])

    def look(pid: int, num_steps: int) -> dict[str, float]:
        now[0] += 2.0
        return rates.update((EngineStatus("a", "ready", pid=pid, num_steps=num_steps),))

    assert look(1, 100) == {}
    assert look(1, 150) == {"a": 25.0}
    assert look(2, 5) == {}


def test_numbers_for_people() -> None:
    """Sizes and times have three digits or so, and nothing is a dash."""
    sizes = [show_bytes(size) for size in (0, 900, 5 << 20, 3 << 29, 2 << 40)]

    assert sizes == ["-", "900B", "5.0M", "1.5G", "2.0T"]
    assert [show_time(time_s) for time_s in (0, 0.0354, 1.254)] == ["-", "35 ms", "1.25 s"]
