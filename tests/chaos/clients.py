"""Clients whose audio is known beforehand: every outcome is told apart, every byte is compared."""

import base64
import http.client
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from sovits_serve.config import FrontendConfig
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.protocol.messages import (
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)
from tests.fake_engine import SAMPLE_RATE_HZ, SECONDS_PER_PHONEME, expected_pcm
from tests.server_process import ServerProcess

Dialect = Literal["native", "openai", "sse", "tts", "tts_get"]
DIALECTS: tuple[Dialect, ...] = ("native", "openai", "sse", "tts", "tts_get")
Kind = Literal["complete", "broken", "refused", "lost", "left", "hung"]
CLIENT_TIMEOUT_S = 40.0
ONE_SEGMENT = "The quick brown fox jumps over the lazy dog"
SENTENCE = f"{ONE_SEGMENT}, and the dog does not mind at all."
LONG = " ".join([SENTENCE] * 3)
CUT = "cut5"  # at every punctuation mark


@dataclass(frozen=True)
class Ask:
    """One request."""

    text: str = "Good morning."
    seed: int = 1
    voice: str = "default"
    is_streaming: bool = False
    dialect: Dialect = "native"
    timeout_s: float | None = None
    leaves_after: int | None = None  # bytes of the response after which the client is gone
    model: str = ""  # whose audio is expected
    max_tokens: int | None = None  # for engines with a model


@dataclass(frozen=True)
class Outcome:
    """What a client saw."""

    ask: Ask
    kind: Kind
    status: int = 0
    body: bytes = b""
    code: str = ""
    retry_after: str | None = None
    seconds: float = 0.0
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.status} {self.code} {self.detail} after {self.seconds:.2f} s"


def request_of(ask: Ask) -> tuple[str, str, bytes | None]:
    """Return method, path and body of a request in its dialect."""
    common: dict[str, object] = {"seed": ask.seed, "text_split_method": CUT}
    if ask.dialect in {"tts", "tts_get"}:
        params = {
            **common,
            "text": ask.text,
            "text_lang": "en",
            "ref_audio_path": f"{ask.voice}.wav",
            "prompt_text": "",
            "media_type": "raw",
            "text_split_method": CUT,
            "streaming_mode": "true" if ask.is_streaming else "false",
        }
        if ask.dialect == "tts_get":
            return "GET", f"/tts?{urlencode(params)}", None
        return "POST", "/tts", json.dumps(params).encode()
    common |= {"voice": ask.voice, "language": "en", "sample_rate": SAMPLE_RATE_HZ}
    if ask.timeout_s is not None:
        common["timeout_s"] = ask.timeout_s
    if ask.max_tokens is not None:
        common["max_tokens"] = ask.max_tokens
    if ask.dialect == "native":
        common |= {"text": ask.text, "format": "pcm", "stream": ask.is_streaming}
        return "POST", "/v1/speech", json.dumps(common).encode()
    common |= {"input": ask.text, "response_format": "pcm", "stream": ask.is_streaming}
    if ask.dialect == "sse":
        common["stream_format"] = "sse"
    return "POST", "/v1/audio/speech", json.dumps(common).encode()


def speak(server: ServerProcess, ask: Ask) -> Outcome:
    """Make a request and return what became of it."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=CLIENT_TIMEOUT_S)

    def outcome(kind: Kind, **fields: Any) -> Outcome:
        return Outcome(ask, kind, seconds=time.monotonic() - begun, **fields)

    method, path, body = request_of(ask)
    headers = {"content-type": "application/json", "connection": "close"}
    with closing(connection):
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
        except TimeoutError:
            return outcome("hung", detail="no response")
        except (OSError, http.client.HTTPException) as error:
            return outcome("lost", detail=repr(error))
        return _read(response, ask, outcome)


def _read(response: http.client.HTTPResponse, ask: Ask, outcome: Any) -> Outcome:
    data = b""
    try:
        while True:
            if ask.leaves_after is not None and len(data) >= ask.leaves_after:
                return outcome("left", status=response.status)  # type: ignore[no-any-return]
            piece = response.read1(16_384) if response.chunked else response.read(16_384)
            if not piece:
                break
            data += piece
        is_whole = response.chunked or response.isclosed()
    except TimeoutError:
        return outcome("hung", status=response.status)  # type: ignore[no-any-return]
    except (OSError, http.client.HTTPException) as error:
        audio = data if ask.dialect != "sse" else b""
        detail = repr(error)[:200]
        return outcome("broken", status=response.status, body=audio, detail=detail)  # type: ignore[no-any-return]
    if response.status != 200:
        return _refusal(response, data, outcome)
    assert is_whole
    if ask.dialect == "sse":
        data = _audio_of_events(data)
    return outcome("complete", status=200, body=data)  # type: ignore[no-any-return]


def _refusal(response: http.client.HTTPResponse, data: bytes, outcome: Any) -> Outcome:
    body = json.loads(data)
    code = body["error"]["code"] if "error" in body else body.get("code", "")
    told = body["error"]["message"] if "error" in body else body.get("Exception", "")
    return outcome(  # type: ignore[no-any-return]
        "refused",
        status=response.status,
        code=code,
        retry_after=response.headers.get("retry-after"),
        detail=str(told)[:200],
    )


def _audio_of_events(data: bytes) -> bytes:
    audio = b""
    events = [json.loads(e.removeprefix(b"data: ")) for e in data.split(b"\n\n") if e.strip()]
    for event in events:
        if event["type"] == "speech.audio.delta":
            audio += base64.b64decode(event["audio"])
    assert events[-1]["type"] == "speech.audio.done"
    return audio


def speak_all(server: ServerProcess, asks: Sequence[Ask], *, num_clients: int = 0) -> list[Outcome]:
    """Make requests at the same time; return their outcomes in order."""
    with ThreadPoolExecutor(num_clients or max(1, len(asks))) as pool:
        return list(pool.map(lambda ask: speak(server, ask), asks))


class Flight:
    """Requests under way while something happens to the server.

    Held ones get all their audio but the last chunk until ``release`` or ``outcomes``, so that they
    are under way at the same time however slowly clients come.
    """

    def __init__(self, server: ServerProcess, asks: list[Ask], *, is_held: bool = False) -> None:
        self._pool = ThreadPoolExecutor(len(asks))
        self._server = server
        if is_held:
            server.hold_file.touch()
        self._futures: list[Future[Outcome]] = [
            self._pool.submit(speak, server, ask) for ask in asks
        ]

    def wait_running(self, count: int) -> None:
        """Wait until engines have that many."""
        self._server.wait_until(
            lambda: self._server.metric("requests_running") >= count, what=f"{count} running"
        )

    def release(self) -> None:
        """Let them end."""
        self._server.hold_file.unlink(missing_ok=True)

    def outcomes(self) -> list[Outcome]:
        """Release them and wait for all."""
        self.release()
        outcomes = [future.result() for future in self._futures]
        self._pool.shutdown()
        return outcomes


def asks_of(seed: int, count: int, *, is_streaming: bool | None = None) -> list[Ask]:
    """Return requests of all dialects and voices."""
    rng = random.Random(seed)
    # Events are a stream whatever one asks.
    dialects = DIALECTS if is_streaming is not False else [one for one in DIALECTS if one != "sse"]
    return [
        Ask(
            rng.choice([ONE_SEGMENT, SENTENCE, LONG]),
            seed=1000 * seed + index,
            voice=rng.choice(["alice", "bob", "carol", "default"]),
            is_streaming=rng.random() < 0.5 if is_streaming is None else is_streaming,
            dialect=dialects[index % len(dialects)],
        )
        for index in range(count)
    ]


def expected(server: ServerProcess, ask: Ask) -> bytes:
    """Return the samples that a request is to get, made with nothing of the server."""
    recording = server.voices / f"{ask.voice}.wav"
    segments = _segments(ask.text)
    key = _key(recording)
    request = SynthesisRequest(
        request_id="",
        segments=segments,
        reference=Reference(ReferenceAudio(b"", SAMPLE_RATE_HZ, key=key)),
        sampling=SamplingParams(seed=ask.seed),
        model=ask.model,
    )
    switched = server.environment.get("FAKE_SECONDS_PER_PHONEME", SECONDS_PER_PHONEME)
    return expected_pcm(request, float(switched))


@cache
def _key(recording: Path) -> str:
    return sha256(recording.read_bytes()).hexdigest()


@cache
def _frontend() -> TextFrontend:
    return TextFrontend("v2", FrontendConfig())


@cache
def _segments(text: str) -> tuple[Any, ...]:
    return tuple(one.phonemized() for one in _frontend().segments(text, "en", cut=CUT))


def problem_of(server: ServerProcess, outcome: Outcome) -> str:
    """Return what is wrong with an outcome whatever happened to the server; "" if nothing is."""
    if outcome.kind == "hung":
        return f"hung: {outcome}"
    if outcome.kind in {"complete", "broken"}:
        audio = expected(server, outcome.ask)
        if outcome.kind == "complete" and outcome.body != audio:
            return f"wrong audio: {len(outcome.body)} of {len(audio)} bytes; {outcome}"
        if outcome.kind == "broken" and not audio.startswith(outcome.body):
            return f"wrong audio before a break; {outcome}"
    # In api_v2's words a quarantined request is a mistake, 400.
    may_be_400 = outcome.code == "quarantined"
    is_fair = outcome.status in {422, 429, 500, 503, 504} or may_be_400
    if outcome.kind == "refused" and not is_fair:
        return f"unexpected refusal: {outcome}"
    return ""


def assert_right(server: ServerProcess, outcomes: Iterable[Outcome]) -> None:
    """Check that every request was answered wholly and with its own audio."""
    for outcome in outcomes:
        assert outcome.kind == "complete", f"{outcome}\n{server.log_end()}"
        assert outcome.body == expected(server, outcome.ask), str(outcome)


def assert_honest(server: ServerProcess, outcomes: Iterable[Outcome]) -> Counter[str]:
    """Check what must hold under faults; return how many there are of each kind."""
    outcomes = list(outcomes)
    for outcome in outcomes:
        problem = problem_of(server, outcome)
        assert not problem, f"{problem}\n{server.log_end()}"
    return Counter(outcome.kind for outcome in outcomes)


# Clients that do not behave.


def open_stream(server: ServerProcess, ask: Ask, *, receive_buffer_bytes: int = 0) -> socket.socket:
    """Ask, and return the open socket without having read a byte of the answer."""
    method, path, body = request_of(ask)
    connection = socket.socket()
    connection.settimeout(CLIENT_TIMEOUT_S)
    if receive_buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.connect(("127.0.0.1", server.port))
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body or b'')}\r\n\r\n"
    connection.sendall(head.encode() + (body or b""))
    return connection


def vanish(connection: socket.socket) -> None:
    """End a connection as a client does whose machine is cut off: by a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
