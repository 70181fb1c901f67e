import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, Literal

import psutil
import pytest
from starlette.types import Receive, Scope, Send

from sovits_serve.config import ApiConfig
from tests.api.serving import (
    RECEIVE_TIMEOUT_S,
    connected,
    receive_all,
    receive_head,
    serving,
)

GET = b"GET /tts HTTP/1.1\r\nhost: localhost\r\n\r\n"
PROBE = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer anything at once."""
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


def test_half_a_header_is_cut_off_and_others_are_served() -> None:
    """Many clients that never finish their headers are closed, and cost others nothing."""
    with serving(hello, ApiConfig(header_timeout_s=1.0)) as port, ExitStack() as stack:
        clients = [stack.enter_context(connected(port)) for _ in range(50)]
        for client in clients:
            client.sendall(b"GET /tts HTTP/1.1\r\nhost: loc")
        other = stack.enter_context(connected(port))
        other.sendall(GET)
        answer = receive_head(other)
        endings = [receive_all(client) for client in clients]

    assert answer.startswith(b"HTTP/1.1 200")
    assert all(ending.startswith(b"HTTP/1.1 408") for ending in endings)


@pytest.mark.parametrize("sent", [b"", b"\r\n", GET + b"\r\n", GET + b"GET /tts HT"])
def test_a_connection_that_says_nothing_more_is_closed(sent: bytes) -> None:
    """No idle connection stays, before a first request or after one, blank lines or not."""
    with serving(hello, ApiConfig(header_timeout_s=0.3)) as port, connected(port) as client:
        client.sendall(sent[: len(GET)])
        if len(sent) > len(GET):
            receive_head(client)
            client.sendall(sent[len(GET) :])
        receive_all(client)  # a socket.timeout fails the test


def test_slow_but_steady_requests_are_served_on_one_connection() -> None:
    """The deadline is of each request's headers, not of the connection."""
    with serving(hello, ApiConfig(header_timeout_s=1.5)) as port, connected(port) as client:
        for _ in range(4):
            client.sendall(GET[:20])
            time.sleep(0.4)  # a slow client
            client.sendall(GET[20:])
            assert receive_head(client).startswith(b"HTTP/1.1 200")


def test_endless_headers_are_refused() -> None:
    """Headers have a size that they may not pass, however quickly they come."""
    limit = 4096
    with serving(hello, ApiConfig(max_json_bytes=limit)) as port, connected(port) as client:
        client.sendall(b"GET /tts HTTP/1.1\r\nx: " + b"a" * (limit + 1))
        answer = receive_all(client)

    assert answer.startswith(b"HTTP/1.1 431")


def test_a_connection_too_many_is_told_when_to_come_back_but_probes_are_answered() -> None:
    """Past max_connections there is 503 with Retry-After, while /livez still works."""
    with (
        serving(hello, ApiConfig(max_connections=2)) as port,
        connected(port) as first,
        connected(port) as second,
    ):
        for client in (first, second):  # both are accepted now
            client.sendall(GET)
            receive_head(client)
        with connected(port) as third, connected(port) as fourth:
            third.sendall(GET)
            refusal = receive_all(third)
            fourth.sendall(PROBE)
            probe = receive_all(fourth)

    assert refusal.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in refusal.lower()
    assert probe.startswith(b"HTTP/1.1 200")


def test_after_others_have_left_there_is_room_again() -> None:
    """Connections that are gone are not counted."""
    with serving(hello, ApiConfig(max_connections=1)) as port:
        answers: list[bytes] = []
        deadline = time.monotonic() + RECEIVE_TIMEOUT_S
        while len(answers) < 5 and time.monotonic() < deadline:
            with connected(port) as client:
                client.sendall(GET)
                head = receive_head(client)
                answers += [head] if head.startswith(b"HTTP/1.1 200") else []

    assert len(answers) == 5


def test_the_app_can_cut_a_connection_off() -> None:
    """The scope's extension ends the connection at once, without the end of the chunked body."""

    async def cut_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.sleep(0.05)
        scope["extensions"]["sovits_serve.abort"]()

    with serving(cut_off, ApiConfig()) as port, connected(port) as client:
        client.sendall(GET)
        answer = receive_all(client)

    assert b"half" in answer
    assert not answer.endswith(b"0\r\n\r\n")


def drain(client: socket.socket) -> None:
    """Read until the connection ends well."""
    while client.recv(1 << 20):
        pass


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_connection_that_is_cut_off_is_reset(loop: Literal["asyncio", "uvloop"]) -> None:
    """What the kernel still holds for a client that does not read is thrown away with it."""
    was_cut = threading.Event()

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            async with asyncio.timeout(0.2):
                while True:
                    part = bytes(1 << 20)
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        except TimeoutError:
            scope["extensions"]["sovits_serve.abort"]()
            was_cut.set()

    with serving(flood, ApiConfig(), loop=loop) as port, connected(port) as client:
        client.sendall(GET)
        assert was_cut.wait(RECEIVE_TIMEOUT_S)
        with pytest.raises(ConnectionResetError):
            drain(client)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("end", ["whole", "broken off"])
def test_a_client_that_does_not_read_the_end_is_not_waited_for(
    loop: Literal["asyncio", "uvloop"], end: str
) -> None:
    """What the server itself still holds when a response has ended does not keep a connection."""
    is_full = threading.Event()

    async def fill(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        # The end of the kernel's room, and not so much that sending would wait.
        while not send.__self__.transport.get_write_buffer_size():  # type: ignore[attr-defined]
            await send({"type": "http.response.body", "body": bytes(1 << 14), "more_body": True})
        is_full.set()
        if end == "broken off":
            raise RuntimeError(end)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    config = ApiConfig(send_timeout_s=0.3)
    with serving(fill, config, loop=loop) as port, connected(port) as client:
        client.sendall(GET.replace(b"host:", b"connection: close\r\nhost:"))
        assert is_full.wait(RECEIVE_TIMEOUT_S)
        deadline = time.monotonic() + RECEIVE_TIMEOUT_S
        while has_connection(port):
            assert time.monotonic() < deadline, "it is still held"
            time.sleep(0.05)


def has_connection(port: int) -> bool:
    """Return whether the server, in this process, holds a connection."""
    ours = (one for one in psutil.net_connections("tcp") if one.pid == os.getpid() and one.raddr)
    return any(one.laddr.port == port for one in ours)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_reads_the_end_slowly_gets_it(loop: Literal["asyncio", "uvloop"]) -> None:
    """However long it takes, as long as something is taken in each send timeout."""
    num_bytes = 8 << 20

    async def give(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", str(num_bytes).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(num_bytes)})

    config = ApiConfig(send_timeout_s=1.0)
    with serving(give, config, loop=loop) as port, connected(port) as client:
        client.sendall(GET.replace(b"host:", b"connection: close\r\nhost:"))
        _, _, body = receive_head(client).partition(b"\r\n\r\n")
        num_read = len(body)
        while data := client.recv(1 << 19):
            num_read += len(data)
            time.sleep(0.1)  # a slow client

    assert num_read == num_bytes


@pytest.mark.parametrize(("path", "key"), [(b"/tts", "Exception"), (b"/v1/speech", "error")])
def test_a_connection_too_many_is_refused_in_the_paths_dialect(path: bytes, key: str) -> None:
    """A refusal looks as all others of its route do."""
    with serving(hello, ApiConfig(max_connections=1)) as port, connected(port) as first:
        first.sendall(GET)
        receive_head(first)
        with connected(port) as second:
            second.sendall(GET.replace(b"/tts", path))
            head, _, body = receive_all(second).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 503")
    assert key in json.loads(body)
    assert b"overloaded" in body


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
BODIES = [
    (b"Content-Length: 11\r\n\r\n", b"hello world"),
    (b"Transfer-Encoding: chunked\r\n\r\n", b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"),
]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what was asked: the method, the path and the body."""
    body = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()} ".encode()
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def answers(client: socket.socket, number: int) -> list[bytes]:
    """Return the bodies of the next responses of ``echo``."""
    with client.makefile("rb") as file:
        return list(_answers(file, number))


def _answers(file: BinaryIO, number: int) -> Iterator[bytes]:
    for _ in range(number):
        assert file.readline().startswith(b"HTTP/1.1 200")
        length = 0
        while (line := file.readline().lower()) not in {b"\r\n", b""}:
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        yield file.read(length)


@pytest.mark.parametrize(("headers", "body"), BODIES)
@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_an_offer_of_another_protocol_costs_no_body(headers: bytes, body: bytes, size: int) -> None:
    """Java's clients offer HTTP/2 with every first request; its body counts, however it comes."""
    offered = b"POST /tts?a=b HTTP/1.1\r\nHost: localhost\r\n" + OFFER + headers + body
    plain = offered.replace(OFFER, b"")
    sent = offered + offered + plain
    with serving(echo, ApiConfig()) as port, connected(port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), size):
            client.sendall(sent[start : start + size])
        assert answers(client, 3) == [b"POST /tts?a=b hello world"] * 3


def test_offers_without_a_body_are_requests_as_well() -> None:
    """A GET that offers a WebSocket is a GET here; hundreds in one packet are no trouble."""
    offer = b"GET /tts HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    with serving(echo, ApiConfig()) as port, connected(port) as client:
        client.sendall((offer + b"\r\n") * 500)
        assert answers(client, 500) == [b"GET /tts? "] * 500


def test_an_offer_hides_no_second_request() -> None:
    """What is bad about a request's framing is bad with an offer, too."""
    both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with serving(echo, ApiConfig()) as port, connected(port) as client:
        client.sendall(b"POST /tts HTTP/1.1\r\nHost: localhost\r\n" + OFFER + both)
        assert receive_all(client).startswith(b"HTTP/1.1 400")
