"""Each request under its id: in the response, in every log line, in one line when it is over.

The outermost layer of the app. It also mends paths (``//v1/audio/speech``, ``/tts/``) before
anybody decides by them, and hands what it saw of each response to the metrics. Times are in
seconds.
"""

import logging
import re
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sovits_serve.protocol.messages import HttpSample

REQUEST_ID_HEADER = "x-request-id"
current_request_id: ContextVar[str] = ContextVar("request_id", default="")
_logger = logging.getLogger(__name__)
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SLASHES = re.compile(r"/{2,}")
_REFUSALS = frozenset({401, 403, 408, 413, 415, 429, 503})
_UNMATCHED = "(none)"  # no route has that path; the raw one is never a label
# Asked every few seconds by machines.
_QUIET = frozenset({"/livez", "/readyz", "/startupz", "/health", "/metrics", "/ping"})


class AddRequestId(logging.Filter):
    """Puts the id of the request that is being served into log records that bring none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        if not hasattr(record, "request_id"):
            record.request_id = current_request_id.get()
        return True


class RequestLog:
    """Gives every request an id and reports how it ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        scope["path"] = _mended(scope["path"])
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        watch = _Watch(request_id, receive, send)
        token = current_request_id.set(request_id)
        try:
            if scope["type"] == "http":
                await self._app(scope, watch.receive, watch.send)
            else:
                await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                _report(scope, watch)
            current_request_id.reset(token)


@dataclass
class _Watch:
    """Sees what goes in and out of one request."""

    request_id: str
    receive_next: Receive
    send_next: Send
    started_status: int = 0  # 0: no response began
    is_complete: bool = False
    is_disconnected: bool = False

    def __post_init__(self) -> None:
        self.started_at = time.monotonic()

    async def receive(self) -> Message:
        """Pass on what the client sends."""
        message = await self.receive_next()
        if message["type"] == "http.disconnect" and not self.is_complete:
            self.is_disconnected = True
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the app sends, with the request's id."""
        if message["type"] == "http.response.start":
            self.started_status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID_HEADER] = self.request_id
        await self.send_next(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.is_complete = True

    @property
    def status(self) -> int:
        """Return the status that was sent, or what stands for it in statistics."""
        if self.started_status:
            return self.started_status
        return 499 if self.is_disconnected else 500

    @property
    def outcome(self) -> str:
        """Return how it ended, in the words of ``HttpSample``."""
        if not self.is_complete:
            return "disconnected" if self.is_disconnected else "broken"
        return "refused" if self.status in _REFUSALS else "complete"


def _report(scope: Scope, watch: _Watch) -> None:
    route = str(getattr(scope.get("route"), "path", _UNMATCHED))
    duration_s = time.monotonic() - watch.started_at
    _logger.log(
        logging.DEBUG if route in _QUIET else logging.INFO,
        "response method=%s route=%s status=%d outcome=%s duration_s=%.3f",
        scope["method"],
        route,
        watch.status,
        watch.outcome,
        duration_s,
        extra={"request_id": watch.request_id},
    )
    app = scope.get("app")
    if app is not None and hasattr(app.state, "context"):
        sample = HttpSample(route, watch.status, duration_s, watch.outcome)
        app.state.context.client.observe(sample)


def _mended(path: str) -> str:
    """Return a path without repeated slashes and the one at its end."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def _request_id(scope: Scope) -> str:
    """Return the client's id of the request if it can go into a log, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
