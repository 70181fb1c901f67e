"""What ``sovits-serve top`` shows: state, engines and queue of a server, live in a terminal.

Asks ``GET /health`` over plain HTTP, so that it works from any machine that may. Everything that
a server says is shown as text, never as markup or control characters.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sovits_serve.config_checks import is_loopback
from sovits_serve.errors import StopCommand
from sovits_serve.log import escape
from sovits_serve.protocol.messages import EngineStatus, QueueStatus, Status

EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
_TIMEOUT_S = 5.0
_MAX_BODY_BYTES = 4 << 20
_NUM_LAST_LINES = 5
_MAX_LINE_CHARACTERS = 300
_COLOURS = {"ready": "green", "failed": "red", "backoff": "red"}
_UNITS = "BKMGT"  # as top(1) has them, of 1024


class NoAnswer(Exception):
    """The server did not say how it is; the message says why."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a key must not travel to another server."""

    def redirect_request(self, *_: object) -> None:
        """Called by urllib; None leaves the answer as it is."""


@dataclass
class StepRates:
    """Steps per second of each engine, from what two answers say."""

    clock: Callable[[], float] = time.monotonic
    _seen: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)

    def update(self, engines: tuple[EngineStatus, ...]) -> dict[str, float]:
        """Take in an answer; return the rates of those engines that were in the last one, too."""
        now, before = self.clock(), self._seen
        self._seen = {(one.name, one.pid): (now, one.num_steps) for one in engines}
        rates = {}
        for (name, pid), (_, num_steps) in self._seen.items():
            then_s, num_before = before.get((name, pid), (now, num_steps))
            if now > then_s:
                rates[name] = max(0, num_steps - num_before) / (now - then_s)
        return rates


def run_top(
    url: str,
    api_key: str,
    *,
    is_once: bool,
    interval_s: float,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Show a server until interrupted, or once; return the exit code.

    Raises:
        StopCommand: the URL is none.
    """
    console = console or Console()
    request = _make_request(url, api_key)
    rates = StepRates()
    if is_once:
        try:
            console.print(render(url, fetch_status(request), rates))
        except NoAnswer as error:
            console.print(render_away(url, str(error)))
            return EXIT_UNAVAILABLE
        return 0
    try:
        if not console.is_terminal:  # a file or a pipe gets one page after another
            while True:
                console.print(_look(url, request, rates))
                sleep(interval_s)
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                live.update(_look(url, request, rates), refresh=True)
                sleep(interval_s)
    except KeyboardInterrupt:  # how one leaves
        return 0


def _look(url: str, request: urllib.request.Request, rates: StepRates) -> RenderableType:
    try:
        return render(url, fetch_status(request), rates)
    except NoAnswer as error:
        return render_away(url, f"{error}; trying again")


def _make_request(url: str, api_key: str) -> urllib.request.Request:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise StopCommand(f"--url: {url!r} is not http://host:port", EXIT_USAGE)
    address = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/health"
    headers = {"Accept": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return urllib.request.Request(address, headers=headers)  # noqa: S310 -- the scheme is checked


def fetch_status(request: urllib.request.Request) -> Status:
    """Ask a server how it is.

    Raises:
        NoAnswer: it is away, wants a key, or is no server of ours.
    """
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_loopback(urlsplit(request.full_url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_S) as answer:
            body = answer.read(_MAX_BODY_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(_MAX_BODY_BYTES)
        if error.code in {401, 403}:
            raise NoAnswer(f"HTTP {error.code}: a key is needed (--api-key)") from error
        if error.code != 503:  # that one is an answer: not ready, and why
            raise NoAnswer(f"HTTP {error.code}: no sovits-serve answers there") from error
    except urllib.error.URLError as error:
        raise NoAnswer(f"no answer: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"no answer: {type(error).__name__}: {error}") from error
    try:
        return msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswer(f"what answers there is no sovits-serve: {error}") from error


def render_away(url: str, reason: str) -> RenderableType:
    """Return what is shown while no server answers."""
    return Text.assemble(_text(url), "  ", ("away", "bold red"), "  ", _text(reason))


def render(url: str, status: Status, rates: StepRates) -> RenderableType:
    """Return a server's state as a page for the terminal."""
    head = Text.assemble(_text(url), "  ", _state(status.state), "  ", _text(status.reason))
    steps = rates.update(status.engines)
    notes = [note for engine in status.engines for note in _engine_notes(engine)]
    table = _engine_table(status.engines, steps)
    return Group(head, "", table, *notes, "", _queue_lines(status.queue))


def _engine_table(engines: tuple[EngineStatus, ...], rates: dict[str, float]) -> Table:
    # Fits in 80 columns: what people watch beside something else.
    table = Table(box=None, pad_edge=False, header_style="bold underline")
    table.add_column("engine", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("device", min_width=6, overflow="fold")
    for name in ("pid", "run", "wait", "steps/s", "RSS", "dev. mem", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in engines:
        rate = rates.get(one.name)
        table.add_row(
            _text(one.name),
            _engine_state(one),
            _text(one.device),
            str(one.pid or "-"),
            str(one.num_running),
            str(one.num_waiting),
            "-" if rate is None else f"{rate:.0f}",
            show_bytes(one.rss_bytes),
            _device_memory(one),
            str(max(0, one.num_starts - 1)),
        )
    return table


def _queue_lines(queue: QueueStatus) -> Text:
    limit = f" of {queue.max_waiting}" if queue.max_waiting else ""
    return Text(
        f"queue        {queue.num_waiting}{limit} waiting, {queue.num_running} running\n"
        f"last minute  wait p50 {show_time(queue.wait_p50_s)}, first audio "
        f"p50 {show_time(queue.first_audio_p50_s)} p95 {show_time(queue.first_audio_p95_s)}, "
        f"{queue.audio_s_per_s:.1f} audio s/s\n"
        f"in all       {queue.num_finished} finished, {queue.num_refused} refused, "
        f"{queue.num_failed} failed"
    )


def _engine_state(engine: EngineStatus) -> Text:
    shown = _state(engine.state)
    if engine.state in {"loading", "warming"}:
        shown.append(f" {engine.progress:.0%}")
    return shown


def _engine_notes(engine: EngineStatus) -> list[Text]:
    """Return what an engine that is not ready is doing, or why it failed."""
    if engine.state == "ready" or not engine.detail:
        return []
    lines = engine.last_lines[-_NUM_LAST_LINES:] if engine.state == "failed" else ()
    shown = (f"{engine.name}: {engine.detail}", *(f"  {line}" for line in lines))
    return [_text(line[:_MAX_LINE_CHARACTERS]) for line in shown]


def _device_memory(engine: EngineStatus) -> str:
    if not engine.device_limit_bytes:
        return show_bytes(engine.device_bytes)
    return f"{show_bytes(engine.device_bytes)}/{show_bytes(engine.device_limit_bytes)}"


def _state(state: str) -> Text:
    return Text(state, style=f"bold {_COLOURS.get(state, 'yellow')}")


def _text(text: str) -> Text:
    return Text("\n".join(escape(line) for line in text.split("\n")))


def show_bytes(size_bytes: float) -> str:
    """Return a size for people: "1.5G"; "-" for none."""
    if size_bytes <= 0:
        return "-"
    unit = 0
    while size_bytes >= 1000 and unit < len(_UNITS) - 1:
        size_bytes /= 1024
        unit += 1
    return (
        f"{size_bytes:.1f}{_UNITS[unit]}"
        if size_bytes < 10 and unit
        else f"{size_bytes:.0f}{_UNITS[unit]}"
    )


def show_time(time_s: float) -> str:
    """Return a time for people: "35 ms"; "-" for none."""
    if time_s <= 0:
        return "-"
    return f"{time_s * 1000:.0f} ms" if time_s < 1 else f"{time_s:.2f} s"
