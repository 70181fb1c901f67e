"""Hostile input to the whole server: no answer is a 5xx, nobody else notices, nothing dies."""

import http.client
import json
import random
import socket
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest

from tests.chaos.clients import CLIENT_TIMEOUT_S, Ask, assert_right, speak
from tests.server_process import Role, ServerProcess

pytestmark = pytest.mark.e2e

ROUTES = (
    ("POST", "/v1/speech"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/audio/speech"),
    ("POST", "/tts"),
    ("POST", "/"),
    ("GET", "/tts"),
    ("GET", "/control"),
    ("GET", "/set_gpt_weights"),
    ("GET", "/set_sovits_weights"),
    ("GET", "/set_refer_audio"),
    ("GET", "/v1/audio/voices"),
    ("GET", "/v1/models"),
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("PUT", "/v1/speech"),
    ("DELETE", "/v1/models"),
    ("TRACE", "/"),
    ("OPTIONS", "/tts"),
    ("GET", "//v1//models"),
    ("GET", "/%2e%2e/%2e%2e/etc/passwd"),
    ("GET", "/\x7f"),
)
# Section 4 of the fault-injection plan. Each is at most a few hundred characters: time limits of
# long ones are the frontend's own tests.
TEXTS = (
    "",
    " \n\t ",
    "...?!",
    "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f1e9\U0001f1ea",
    "a" + "\u0301\u0323\u0489" * 100,
    "\ufeffHello",
    "\u202eolleH\u202c \u2066x\u2069",
    "\ue000\uf8ff",
    "\U000e0041\U000e0042",
    "﷽" * 50,
    "㍿" * 50,
    "１２３４５６７８９０",
    "9" * 400,
    "1e999 -1e-999 0x1F 1/0",
    "。" * 300,
    "http://example.org/?a=b&c=%20#d me@example.org",
    "<speak><break time='1s'/>Hi</speak> <script>alert(1)</script>",
    "{0.__class__} %s %n ${HOME} $(id) `id` '; DROP TABLE x; --",
    "../../etc/passwd C:\\Windows\\System32",
    "中文にほんごEnglish한국어粵語",
    "ひらがなだけ",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "漢字 漢語 이라는 말",
    "行长在银行行走，重庆重新开张",
    "2026年11月25日 下午3:45，￥1,234.56，+86 10 1234 5678",
    "one\r\nX-Injected: yes\r\n\r\ntwo",
    "a\x00b",
    "null\u2028line\u2029para\x85next",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Start a server; at the end its processes are those of the beginning."""
    roles: tuple[Role, ...] = ("dispatcher", "worker", "engine")
    options = ("--body-timeout-s", "5")
    with ServerProcess(tmp_path_factory.mktemp("input"), *options) as one:
        one.wait_ready()
        speak(one, Ask())
        before = {role: one.pids(role) for role in roles}
        yield one
        assert {role: one.pids(role) for role in roles} == before, one.log_end()
        assert_right(one, [speak(one, Ask("All is well."))])


def send(
    server: ServerProcess, method: str, path: str, body: bytes, **headers: str
) -> tuple[int, bytes]:
    """Send a request; return status (0: the connection was closed without one) and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=CLIENT_TIMEOUT_S)
    with closing(connection):
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, ConnectionError, ValueError):
            return 0, b""


def test_random_bytes_on_every_route(server: ServerProcess) -> None:
    """Random bodies, queries and headers on every route: refusals, never a 5xx."""
    rng = random.Random(1)
    for number in range(300):
        method, path = rng.choice(ROUTES)
        body = rng.randbytes(rng.choice([0, 1, 17, 300, 5000]))
        if rng.random() < 0.4:
            path += "?" + "&".join(
                f"{rng.choice(['text', 'text_lang', 'command', 'weights_path', 'seed', 'x'])}="
                + "".join(f"%{byte:02x}" for byte in rng.randbytes(rng.randrange(20)))
                for _ in range(rng.randrange(1, 5))
            )
        kind = rng.choice(
            [
                "application/json",
                "multipart/form-data; boundary=x",
                "multipart/form-data",
                "application/x-www-form-urlencoded",
                "text/plain; charset=utf-99",
                "\xff",
            ]
        )
        status, answer = send(server, method, path.replace("\x7f", "%7f"), body, content_type=kind)

        assert status < 500, (number, method, path, body[:50], status, answer)


FIELDS = (
    "seed speed top_k top_p temperature timeout_s max_tokens voice text language format".split()
)
VALUES = (
    'null true -1 0 1e400 -0.0 99999999999999999999999999 0.1 [] {} [1] "" "a" "\\u0000" '
    '"\\ud800" NaN Infinity 1e-320'
).split()


def test_every_field_with_every_value(server: ServerProcess) -> None:
    """Wrong types, huge numbers, NaN, lone surrogates in each field: 4xx or speech."""
    for field in FIELDS:
        for value in VALUES:
            fields = {"text": '"Hi"', "language": '"en"', "format": '"pcm"'} | {field: value}
            body = "{" + ", ".join(f'"{key}": {text}' for key, text in fields.items()) + "}"
            status, answer = send(
                server, "POST", "/v1/speech", body.encode(), content_type="application/json"
            )

            assert status == 200 or 400 <= status < 500 or b"deadline" in answer, (body, answer)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"text":' * 50_000,
        b'{"text": "Hi", "text": "Ho", "format": "pcm"}',
        b"\xff\xfe{\x00}\x00",
        b" " * 200_000,
        b'{"text": "' + b"a" * 250_000 + b'"}',
        b"",
        b"null",
        b'"text"',
        b'{"text": "Hi"',
        b'{"text": "\xff\xfe"}',
    ],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("path", ["/v1/speech", "/v1/audio/speech", "/tts"])
def test_bodies_that_are_no_json_of_ours(server: ServerProcess, path: str, body: bytes) -> None:
    """Deep nesting, doubled keys, other encodings, endless spaces: 4xx, for little work."""
    before_s = cpu_s(server)
    status, answer = send(server, "POST", path, body, content_type="application/json")

    assert status == 200 or 400 <= status < 500, (status, answer)
    assert cpu_s(server) - before_s < 3.0


def test_huge_text_is_refused_before_any_work(server: ServerProcess) -> None:
    """A text of a megabyte is 413 for next to no work."""
    body = json.dumps({"text": "a" * (1 << 20)}).encode()
    before_s = cpu_s(server)
    status, _ = send(server, "POST", "/v1/speech", body, content_type="application/json")

    assert status == 413
    assert cpu_s(server) - before_s < 0.5


def cpu_s(server: ServerProcess) -> float:
    """Return the CPU time that the HTTP worker has taken: others do not change what work costs."""
    times = psutil.Process(server.only("worker")).cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_nasty_texts_are_spoken_or_refused(server: ServerProcess, text: str) -> None:
    """Every text is answered with speech or with 4xx, and cannot get into headers or logs."""
    fields = {"text": text, "language": "auto", "format": "pcm", "seed": 1}
    body = json.dumps(fields).encode()
    status, answer = send(server, "POST", "/v1/speech", body, content_type="application/json")

    assert status == 200 or 400 <= status < 500, (status, answer)
    if status != 200:
        assert json.loads(answer)["error"]["message"]
    assert "X-Injected" not in server.log


def test_requests_that_contradict_themselves(server: ServerProcess) -> None:
    """Length and chunks at once, a length that is none, bare line feeds: closed or 4xx."""
    for head in (
        "POST /v1/speech HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        "POST /v1/speech HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n",
        "POST /v1/speech HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n",
        "POST /v1/speech HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n",
        "GET /livez HTTP/9.9\r\n",
        "\x00\x01\x02\r\n",
        "GET http://evil.example/livez HTTP/1.1\r\nhost: evil.example\r\n",
        "GET /livez HTTP/1.1\r\nhost: 127.0.0.1/../health\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), CLIENT_TIMEOUT_S) as connection:
            connection.sendall(head.encode() + b"connection: close\r\n\r\n0\r\n\r\n")
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece

        assert not answer or b" 4" in answer[:13] or b" 200 " in answer[:13], (head, answer)


def test_a_body_of_a_million_chunks(server: ServerProcess) -> None:
    """A chunk per byte is bounded as any other body is."""
    head = b"POST /v1/speech HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n"
    head += b"content-type: application/json\r\n\r\n"
    chunks = b"1\r\n \r\n" * 300_000 + b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), CLIENT_TIMEOUT_S) as connection:
        try:
            connection.sendall(head + chunks)
            answer = connection.recv(4096)
        except ConnectionError:
            answer = b"closed 4"

    # Not JSON, too long, or too slow on a busy machine.
    assert b" 4" in answer[:13], answer
