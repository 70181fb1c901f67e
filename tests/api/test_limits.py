import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from sovits_serve.api import limits as limits_module
from sovits_serve.api import security
from sovits_serve.api.limits import BodyLimits
from sovits_serve.config import ApiConfig
from tests.api.fake_dispatcher import DEADLINE_S, until
from tests.api.serving import connected, receive_all, receive_head, serving

CONFIG = ApiConfig(max_body_bytes=65536, max_json_bytes=4096)
JSON = "content-type: application/json\r\n"


async def echo(request: Request) -> Response:
    """Say how long the body was."""
    return JSONResponse({"length": len(await request.body())})


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port of a server with the edge of ours and a route that reads bodies."""
    with echoing(CONFIG) as own_port:
        yield own_port


@contextmanager
def echoing(config: ApiConfig) -> Iterator[int]:
    """Serve routes that read bodies behind our edge; give the port."""
    paths = ("/tts", "/v1/speech", "/v1/audio/speech")
    app = Starlette(routes=[Route(path, echo, methods=["GET", "POST"]) for path in paths])
    security.install(app, config)
    with serving(app, config) as own_port:
        yield own_port


def post(
    client: socket.socket, path: str, body: bytes, headers: str = JSON, *, length: int | None = None
) -> bytes:
    """Post a body of a declared length; return the head of the answer and what came with it."""
    length = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n"
    client.sendall(head.encode() + body)
    return receive_head(client)


def test_a_declared_length_past_the_limit_is_refused_before_the_body_comes(port: int) -> None:
    """413 comes with the body still unsent, in the dialect's shape."""
    head = f"POST /tts HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 999999\r\n\r\n"
    with connected(port) as client:
        client.sendall(head.encode())
        answer = receive_head(client)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"Exception"' in answer


def test_a_body_that_grows_past_the_limit_is_refused(port: int) -> None:
    """Chunked bodies are counted as they come."""
    with connected(port) as client:
        client.sendall(
            f"POST /v1/speech HTTP/1.1\r\nhost: localhost\r\n{JSON}"
            "transfer-encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(9):
            client.sendall(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        answer = receive_head(client)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"error"' in answer


def test_a_client_that_sends_on_after_the_refusal_may_ask_again(port: int) -> None:
    """The rest of a refused body is nobody's headers, however long it is."""
    body = b"x" * 200_000
    with connected(port) as client:
        refusal = post(client, "/tts", body[:1], length=len(body))
        client.sendall(body[1:])
        served = post(client, "/tts", b"{}")

    assert refusal.startswith(b"HTTP/1.1 413")
    assert served.startswith(b"HTTP/1.1 200")


def test_a_client_that_sends_all_before_it_reads_gets_the_refusal(port: int) -> None:
    """The rest of a refused body is thrown away, and the connection stays usable."""
    with connected(port) as client:
        refusal = post(client, "/tts", b"x" * 200_000)
        served = post(client, "/tts", b"{}")

    assert refusal.startswith(b"HTTP/1.1 413")
    assert served.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("path", "headers", "length", "status"),
    [
        ("/tts", JSON, 4096, 200),
        ("/tts", JSON, 4097, 413),
        ("/tts", "content-type: application/x-www-form-urlencoded\r\n", 4097, 413),
        ("/tts", "", 4097, 413),
        ("/tts", "content-type: multipart/form-data; boundary=x\r\n", 65536, 200),
        ("/v1/speech", JSON, 65536, 200),
        ("/v1/audio/speech", JSON, 65536, 200),
        ("/v1/speech", JSON, 65537, 413),
    ],
)
def test_only_bodies_that_may_hold_audio_may_be_long(
    port: int, path: str, headers: str, length: int, status: int
) -> None:
    """Text has the short limit, uploads and base64 audio the long one."""
    with connected(port) as client:
        answer = post(client, path, b"x" * length, headers)

    assert answer.startswith(f"HTTP/1.1 {status}".encode())


def test_a_body_that_does_not_come_is_given_up() -> None:
    """408 after body_timeout_s, however steadily single bytes drip in."""
    with echoing(replace(CONFIG, body_timeout_s=0.4)) as port, connected(port) as client:
        start = time.monotonic()
        client.sendall(
            f"POST /tts HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 99\r\n\r\n".encode()
        )
        client.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() - start < 9:  # the declared body is not that long
            client.sendall(b"x")
            try:
                answer = client.recv(65536)
            except TimeoutError:
                continue

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - start > 0.3


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_packed_bodies_are_refused(port: int, encoding: str) -> None:
    """415: nothing is unpacked, so nothing can blow up."""
    with connected(port) as client:
        answer = post(client, "/v1/speech", b"x", f"content-encoding: {encoding}\r\n")

    assert answer.startswith(b"HTTP/1.1 415")


def test_both_length_and_chunks_are_no_request(port: int) -> None:
    """What is an attempt to smuggle a request gets 400 and the connection's end."""
    with connected(port) as client:
        client.sendall(
            b"POST /tts HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n"
            b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        answer = receive_all(client)

    assert answer.startswith(b"HTTP/1.1 400")


def test_a_client_that_leaves_while_it_sends_never_reaches_the_app() -> None:
    """A torn body is no request."""
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def fail(*_: object) -> None:
        pytest.fail("reached")

    scope: Scope = {"type": "http", "path": "/tts", "headers": [(b"content-length", b"9")]}
    asyncio.run(BodyLimits(fail, CONFIG)(scope, receive, fail))


def test_many_long_bodies_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients upload, the bytes held for them are limited, and come free again."""
    config = ApiConfig(max_body_bytes=65536, max_json_bytes=1024)
    monkeypatch.setattr(limits_module, "_MAX_LONG_BYTES", 16 * 65536)
    statuses: list[int] = []
    waits: list[bytes] = []

    async def app(*_: object) -> None:
        pytest.fail("no body is complete")

    async def upload(limits: BodyLimits, leave: asyncio.Event) -> None:
        parts: list[Message] = [{"type": "http.request", "body": bytes(60_000), "more_body": True}]

        async def receive() -> Message:
            if parts:
                return parts.pop()
            await leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                waits.append(dict(message["headers"])[b"retry-after"])

        headers = [(b"transfer-encoding", b"chunked")]
        await limits({"type": "http", "path": "/v1/speech", "headers": headers}, receive, send)

    async def run() -> int:
        limits, leave = BodyLimits(app, config), asyncio.Event()
        tasks = [asyncio.create_task(upload(limits, leave)) for _ in range(40)]
        await until(lambda: len(statuses) == 40 - 17, "the refusals")
        leave.set()
        await asyncio.gather(*tasks)
        return limits._num_long_bytes

    left = asyncio.run(asyncio.wait_for(run(), DEADLINE_S))

    assert statuses == [503] * 23
    assert waits == [b"1"] * 23
    assert left == 0


def test_a_long_body_counts_until_its_response_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads that wait for their turn are bounded as well; the next may come with the answer."""
    monkeypatch.setattr(limits_module, "_MAX_LONG_BYTES", 65536)
    config = ApiConfig(max_body_bytes=65536, max_json_bytes=1024)
    statuses: list[int] = []

    async def run() -> int:
        may_begin, may_end, is_there = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            is_there.set()
            await may_begin.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await may_end.wait()

        async def upload(limits: BodyLimits) -> None:
            async def receive() -> Message:
                return {"type": "http.request", "body": bytes(40_000), "more_body": False}

            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])

            headers = [(b"content-length", b"40000")]
            await limits({"type": "http", "path": "/v1/speech", "headers": headers}, receive, send)

        limits = BodyLimits(app, config)
        first = asyncio.create_task(upload(limits))
        await is_there.wait()
        await upload(limits)  # refused: the first waits
        may_begin.set()
        await until(lambda: statuses == [503, 200], "the first response")
        last = asyncio.create_task(upload(limits))
        await until(lambda: len(statuses) == 3, "the last response")
        may_end.set()
        await asyncio.gather(first, last)
        return limits._num_long_bytes

    left = asyncio.run(asyncio.wait_for(run(), DEADLINE_S))

    assert statuses == [503, 200, 200]
    assert left == 0


def test_a_refusal_is_not_lost_by_closing(port: int) -> None:
    """A client that sends all of a body too long, and wants no other request, gets its 413."""
    with connected(port) as client:
        head = f"POST /tts HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{JSON}"
        client.sendall(f"{head}content-length: 20000000\r\n\r\n".encode())
        client.sendall(bytes(20_000_000))
        answer = receive_head(client)
        assert not client.recv(65536)  # the end, and no reset

    assert answer.startswith(b"HTTP/1.1 413")


def test_each_response_carries_the_id_of_its_request(port: int) -> None:
    """A sane X-Request-Id comes back, anything else is replaced."""
    with connected(port) as client:
        kept = post(client, "/tts", b"{}", "x-request-id: trace-1.a:b\r\n")
        made = post(client, "/tts", b"{}", "x-request-id: a b{}\r\n")
        refused = post(client, "/tts", b"{}", "x-request-id: r1\r\ncontent-encoding: gzip\r\n")

    assert b"x-request-id: trace-1.a:b\r\n" in kept.lower()
    assert b"a b{}" not in made
    assert b"x-request-id: " in made.lower()
    assert b"x-request-id: r1\r\n" in refused.lower()


@pytest.mark.parametrize("path", ["/tts/", "//tts", "//tts//", "/v1//speech/"])
def test_slashes_too_many_do_not_matter(port: int, path: str) -> None:
    """Base addresses that end in a slash and old habits work."""
    with connected(port) as client:
        answer = post(client, path, b"{}")

    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"length": 2}
