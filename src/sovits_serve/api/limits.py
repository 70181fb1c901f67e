"""Limits on what clients send: the size of bodies, the time they take, how they are packed.

A body is read whole before the app sees the request, so that one that is too long or too slow
costs nothing but its bytes. What is read is counted until the response begins: until then its
recordings may wait for the decoder. Sizes are in bytes, times in seconds.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sovits_serve.api.errors import HttpError, error_response
from sovits_serve.config import ApiConfig
from sovits_serve.errors import CapacityError, InvalidRequest, ServingError

# Routes whose JSON may hold a recording in base64; elsewhere max_json_bytes is enough for any text.
AUDIO_IN_JSON = frozenset({"/v1/audio/speech", "/audio/speech", "/v1/speech"})
# Long bodies that are read or worked at, all together; one takes about five times its size.
_MAX_LONG_BYTES = 64 << 20
# How long, and how much, a client may go on sending after a refusal.
_LINGER_S = 1.0
_MAX_LINGER_BYTES = 64 << 20


def refusal(scope: Scope, error: ServingError) -> Response:
    """Return the answer of the layers in front of the routes, in the dialect of the path.

    It keeps its true status in every dialect: clients of api_v2 look for 401 or 413 by themselves.
    """
    response = error_response(scope["path"], error)
    response.status_code = error.status if isinstance(error, HttpError) else error.http_status
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        response.headers["www-authenticate"] = 'Bearer realm="sovits-serve"'
    if response.status_code == HTTPStatus.REQUEST_TIMEOUT:
        response.headers["connection"] = "close"
    return response


async def refuse(
    scope: Scope, receive: Receive, send: Send, error: ServingError, *, is_read: bool = False
) -> None:
    """Send a refusal, and for a moment throw away what still comes of the request's body.

    Who closes a connection with something unread resets it, and the client never sees why.
    """
    response = refusal(scope, error)
    headers = Headers(scope=scope)
    if is_read or not ("content-length" in headers or "transfer-encoding" in headers):
        await response(scope, receive, send)
        return
    start = {"status": response.status_code, "headers": response.raw_headers}
    await send({"type": "http.response.start", **start})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    num_bytes = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while num_bytes <= _MAX_LINGER_BYTES:
                message = await receive()
                num_bytes += len(message.get("body", b""))
                if not message.get("more_body", False):  # or the client has left
                    break
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class BodyLimits:
    """Reads bodies for the app and refuses what is too long, too slow or compressed."""

    def __init__(self, app: ASGIApp, config: ApiConfig) -> None:
        self._app = app
        self._config = config
        self._num_long_bytes = 0
        self._max_long_bytes = max(_MAX_LONG_BYTES, config.max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "content-length" not in headers and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        held = _Held()
        try:
            try:
                body = await self._read(receive, self._judge(scope["path"], headers), held)
            except ServingError as error:
                self._release(held)
                await refuse(scope, receive, send, error, is_read=held.is_read)
                return
            if body is not None:
                replay = _replay(body, receive)
                del body  # the app's alone
                await self._app(scope, replay, self._until_response(held, send))
        finally:
            self._release(held)

    def _judge(self, path: str, headers: Headers) -> int:
        """Return how long the body may be."""
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise HttpError(
                f"Content-Encoding: {encoding[:40]} is not read; send the body as it is",
                415,
                "unsupported_encoding",
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_short = path not in AUDIO_IN_JSON and not kind.startswith(("multipart/", "audio/"))
        key = "max_json_bytes" if is_short else "max_body_bytes"
        limit = min(int(getattr(self._config, key)), self._config.max_body_bytes)
        declared = headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit()):
            raise InvalidRequest(f"Content-Length: {declared[:40]!r} is not a number")
        if int(declared) > limit:
            raise _too_large(f"{int(declared)} bytes", limit)
        return limit

    async def _read(self, receive: Receive, limit: int, held: "_Held") -> bytes | None:
        """Return the body; None when the client has left."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._config.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    held.is_read = not message.get("more_body", False)
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise _too_large(f"more than {limit} bytes", limit)
                    self._count(len(body), held)
                    if held.is_read:
                        return bytes(body)
        except TimeoutError as error:
            raise HttpError(
                f"the body was not complete after {self._config.body_timeout_s:g} s "
                "(body_timeout_s)",
                408,
                "body_timeout",
            ) from error

    def _count(self, length: int, held: "_Held") -> None:
        """Count a long body's bytes among those of all."""
        if length <= self._config.max_json_bytes:
            return
        added = length - held.num_bytes
        if self._num_long_bytes + added > self._max_long_bytes:
            raise CapacityError("too many uploads at the same time; try again in a second")
        self._num_long_bytes += added
        held.num_bytes = length

    def _release(self, held: "_Held") -> None:
        """Count a body no longer."""
        self._num_long_bytes -= held.num_bytes
        held.num_bytes = 0

    def _until_response(self, held: "_Held", send: Send) -> Send:
        """Return a ``send`` that ends the counting of a body as the response begins."""

        async def send_on(message: Message) -> None:
            self._release(held)
            await send(message)

        return send_on


@dataclass
class _Held:
    """What is known of one request's body while it is read."""

    num_bytes: int = 0  # that are counted
    is_read: bool = False  # to its end


def _too_large(what: str, limit: int) -> HttpError:
    return HttpError(f"the body is {what}; at most {limit} are taken here", 413, "body_too_large")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body first, then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message
