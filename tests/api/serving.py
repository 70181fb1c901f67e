"""A real HTTP server in a thread, with our protocol class; and raw sockets to it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from sovits_serve.api.http_protocol import limited_protocol
from sovits_serve.config import ApiConfig

RECEIVE_TIMEOUT_S = 30.0


@contextmanager
def serving(
    app: ASGIApp, config: ApiConfig, *, loop: Literal["auto", "asyncio", "uvloop"] = "auto"
) -> Iterator[int]:
    """Serve an app on a free port of the loopback interface; give the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=limited_protocol(config),
            loop=loop,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(RECEIVE_TIMEOUT_S)
        listener.close()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """Give a plain socket to a server."""
    with socket.create_connection(("127.0.0.1", port), timeout=RECEIVE_TIMEOUT_S) as client:
        yield client


def receive_all(client: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    received = bytearray()
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return bytes(received)


def receive_head(client: socket.socket) -> bytes:
    """Return the head of one response."""
    received = bytearray()
    while b"\r\n\r\n" not in received and (data := client.recv(65536)):
        received += data
    return bytes(received)
