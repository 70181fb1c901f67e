"""HTTP on one connection: uvicorn's, with limits on time, size and number, and a way to cut it off.

uvicorn alone waits for ever for headers and for a client that does not read. Here headers have a
deadline and a size, the end of a connection a deadline, a connection too many is answered 503, and
the app gets a function that ends the connection at once as
``scope["extensions"]["sovits_serve.abort"]``. An offer to speak another protocol is not taken.
Times are in seconds.
"""

import asyncio
import os
import socket
import struct
from typing import Any

import httptools
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sovits_serve.api.errors import error_response
from sovits_serve.api.security import PROBES
from sovits_serve.config import ApiConfig
from sovits_serve.errors import CapacityError

ABORT_EXTENSION = "sovits_serve.abort"
# Connections past the limit that are still told so, and how long they may take to ask.
_MAX_REFUSED = 256
_REFUSED_TIMEOUT_S = 1.0
# To close without sending what the kernel still holds (struct linger: on, 0 s).
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"content-length: 0\r\n\r\n"
)


class _Refusing:
    """What a connection too many gets; the probes of an orchestrator are answered all the same."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        error = CapacityError(
            "this worker has as many connections as max_connections allows; try again"
        )
        response = error_response(scope["path"], error)
        response.headers["connection"] = "close"
        await response(scope, receive, send)


def limited_protocol(limits: ApiConfig) -> type[HttpToolsProtocol]:
    """Return the protocol class that keeps these limits."""

    class Limited(LimitedProtocol):
        config_limits = limits

    return Limited


class _DeafToOffers:
    """httptools' parser, that reads a request with an Upgrade header as if it had none.

    Java's and curl's clients offer HTTP/2 that way (RFC 9110 7.8: a server may ignore it).
    httptools takes what follows such headers, the body first, for the other protocol. It is given
    the same headers once more, without the offer, and whatever follows.
    """

    def __init__(self, protocol: "LimitedProtocol") -> None:
        self._protocol = protocol
        self._parser = protocol.parser

    def feed_data(self, data: bytes) -> None:
        """Parse."""
        rest = memoryview(data)
        while True:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                if not self.is_offer:  # CONNECT
                    raise
                rest = rest[offer.args[0] :]
                head = self._protocol.head_without_offer()
                self._parser = httptools.HttpRequestParser(self._protocol)
                self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn
                self._parser.feed_data(head)
            else:
                return

    @property
    def is_offer(self) -> bool:
        """Return whether the headers being read will be given once more."""
        return bool(self._parser.should_upgrade()) and self._parser.get_method() != b"CONNECT"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


class _ClosingTransport:
    """A transport that, once closed, gives up a client that takes none of what is left for it.

    Those of asyncio and uvloop wait for ever until everything has been taken.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, timeout_s: float
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._timeout_s = timeout_s
        self._num_left_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Close once everything has been taken, or nothing was for so long."""
        self._transport.close()
        if self._timer is None:
            self._wait()

    def forget(self) -> None:
        """The connection is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._num_left_bytes = self._transport.get_write_buffer_size()
        if self._num_left_bytes:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() < self._num_left_bytes:
            self._wait()
        else:
            self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    config_limits = ApiConfig()
    _header_timer: asyncio.TimerHandle | None = None
    _num_header_bytes = 0
    _is_in_body = False
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Start the deadline of the first headers, or refuse a connection too many."""
        self._closing = _ClosingTransport(transport, self.loop, self.config_limits.send_timeout_s)
        super().connection_made(self._closing)  # type: ignore[arg-type]  # has all that it calls
        self._requests = _DeafToOffers(self)
        self.parser = self._requests  # type: ignore[assignment]  # has all that uvicorn calls
        num_over = len(self.connections) - self.config_limits.max_connections
        if num_over > _MAX_REFUSED:
            transport.abort()
            return
        self._is_refused = num_over > 0
        if self._is_refused:
            self.app = _Refusing(self.app)
        self._start_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._stop_headers()
        super().connection_lost(exc)
        self._closing.forget()

    @property
    def _is_between_requests(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's own type leaves None out
        return cycle is None or cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Parse; between requests, the first byte starts the deadline of the next headers.

        The rest of a body that was refused has that deadline, too, but counts as no header.
        """
        if self._header_timer is None and self._is_between_requests:
            self._start_headers()
        if not self._is_in_body:
            self._num_header_bytes += len(data)
        super().data_received(data)
        if (
            self._header_timer is not None
            and self._num_header_bytes > self.config_limits.max_json_bytes
            and not self.transport.is_closing()
        ):
            self._end(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Give the app a way to cut the connection off."""
        super().on_message_begin()
        extensions: dict[str, Any] = {ABORT_EXTENSION: self._cut_off}
        self.scope["extensions"] = extensions

    def on_headers_complete(self) -> None:
        """Start the request; the time of its body is the app's business."""
        if self._requests.is_offer:
            return
        self._stop_headers()
        self._is_in_body = True
        super().on_headers_complete()
        if self._is_refused:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Take what follows for the headers of another request."""
        if self._requests.is_offer:
            return
        self._is_in_body = False
        super().on_message_complete()

    def head_without_offer(self) -> bytes:
        """Return the headers just read, without Upgrade, as they came."""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _cut_off(self) -> None:
        """End the connection with a reset, so that it holds no memory for who does not read."""
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        if connection is not None and not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def _start_headers(self) -> None:
        seconds = _REFUSED_TIMEOUT_S if self._is_refused else self.config_limits.header_timeout_s
        self._num_header_bytes = 0
        self._header_timer = self.loop.call_later(seconds, self._headers_overdue)

    def _stop_headers(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_overdue(self) -> None:
        self._header_timer = None
        if not self.transport.is_closing():
            self._end(_TIMED_OUT if self._num_header_bytes else b"")

    def _end(self, response: bytes) -> None:
        """Say why, if something, and close."""
        if response and self._is_between_requests:
            self.transport.write(response)
        self.transport.close()
