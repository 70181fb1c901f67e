"""Clients that put a server under load, and what each of them saw.

Raw connections on one event loop with a C parser: hundreds of streams cost this process little.
WAV is asked for, whole or streamed, because it says its rate itself on every server. Times are
``time.perf_counter`` seconds.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import httptools

from sovits_serve.bench.player import Playback, play
from sovits_serve.bench.wav import NotWav, WavStream
from sovits_serve.errors import StopCommand

Api = Literal["openai", "api_v2"]
EXIT_USAGE = 2
_PATHS = {"openai": "/v1/audio/speech", "api_v2": "/tts"}
_MAX_REFUSAL_BYTES = 2000
# Speech is neither quicker nor slower than this, by a wide margin: seconds per character.
_PLAUSIBLE_S = (0.015, 1.5)


@dataclass(frozen=True)
class Target:
    """Whom to ask, and how.

    Attributes:
        url: of the server, without a path: ``http://127.0.0.1:9880``.
        api: whose dialect.
        voice: OpenAI's voice; for api_v2 the path of the reference, as the server knows it.
        language: api_v2's ``text_lang``.
        is_streaming: audio as it is made, or the whole at once.
        extra: further fields of the body, over those of the dialect.
        key: an API key; "" for none.
    """

    url: str
    api: Api = "openai"
    voice: str = "default"
    language: str = "auto"
    is_streaming: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)
    key: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port.

        Raises:
            StopCommand: the URL is not one of plain HTTP.
        """
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port or 80
        except ValueError:  # a port that is no number, half an address
            host = None
        if host is None or parts.scheme != "http":
            raise StopCommand(f"--url: {self.url!r} is not http://HOST:PORT", EXIT_USAGE)
        return host, port

    def request(self, text: str, seed: int) -> bytes:
        """Return one request, ready to be sent."""
        body: dict[str, object]
        if self.api == "openai":
            body = {"model": "tts-1", "input": text, "voice": self.voice}
            body |= {"response_format": "wav", "stream": self.is_streaming, "seed": seed}
        else:
            body = {"text": text, "text_lang": self.language, "ref_audio_path": self.voice}
            body |= {"media_type": "wav", "streaming_mode": self.is_streaming, "seed": seed}
        data = json.dumps({**body, **self.extra}).encode()
        host, port = self.address
        head = [
            f"POST {_PATHS[self.api]} HTTP/1.1",
            f"Host: {host}:{port}",
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
        ]
        if self.key:
            head.append(f"Authorization: Bearer {self.key}")
        return "\r\n".join([*head, "", ""]).encode() + data


@dataclass
class Outcome:
    """What one request came to.

    Attributes:
        begin_s: when it was sent, or in an open loop when it was due.
        first_s: when the first sample was there; None: none came.
        pieces: arrival and duration of what came, in seconds.
        problem: "" if all is well, else what is wrong.
    """

    text: str
    begin_s: float
    first_s: float | None = None
    end_s: float = 0.0
    status: int = 0
    audio_s: float = 0.0
    pieces: list[tuple[float, float]] = field(default_factory=list)
    problem: str = ""

    def playback(self) -> Playback:
        """Return how it would have sounded to somebody who listened."""
        return play(self.pieces)


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._wav = WavStream()
        self._outcome: Outcome | None = None
        self._done: asyncio.Future[None] | None = None
        self._refusal = b""
        self._keeps = True
        self._is_delimited = False  # the body says where it ends

    async def ask(self, request: bytes, outcome: Outcome, timeout_s: float) -> None:
        """Send a request and fill ``outcome``."""
        assert self._transport is not None
        self._parser, self._wav = httptools.HttpResponseParser(self), WavStream()
        self._outcome, self._refusal, self._is_delimited = outcome, b"", False
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await asyncio.wait_for(self._done, timeout_s)
        except TimeoutError:
            outcome.problem = f"no end within {timeout_s:g} s"
            self.close()
        outcome.end_s = time.perf_counter()
        self._judge(outcome)
        self._outcome = None
        if not self._keeps:
            self.close()

    def close(self) -> None:
        """Drop the connection."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _judge(self, outcome: Outcome) -> None:
        outcome.audio_s = sum(duration_s for _, duration_s in outcome.pieces)
        shortest, longest = (limit * len(outcome.text) for limit in _PLAUSIBLE_S)
        if outcome.problem:
            return
        if outcome.status != 200:
            said = self._refusal[:200].decode(errors="replace")
            outcome.problem = f"status {outcome.status}: {said}"
        elif not shortest <= outcome.audio_s <= longest:
            outcome.problem = (
                f"{outcome.audio_s:.2f} s of audio for {len(outcome.text)} characters, "
                f"{shortest:.2f} to {longest:.2f} are plausible"
            )
        elif self._wav.is_silent:
            outcome.problem = "nothing but silence"

    # asyncio's part.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.is_open = transport, True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._done is None or self._done.done():
            return
        if self._ends_with_connection():
            self._done.set_result(None)
        else:
            self._fail(f"the connection broke: {exc or 'closed by the server'}")

    # httptools' part.

    def on_header(self, name: bytes, _value: bytes) -> None:
        self._is_delimited |= name.lower() in {b"content-length", b"transfer-encoding"}

    def on_headers_complete(self) -> None:
        assert self._outcome is not None
        self._outcome.status = self._parser.get_status_code()
        self._keeps = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        outcome = self._outcome
        if outcome is None:
            return
        if outcome.status != 200:
            self._refusal = (self._refusal + body)[:_MAX_REFUSAL_BYTES]
            return
        try:
            num_bytes = self._wav.feed(body)
        except NotWav as error:
            self._fail(str(error))
            return
        if num_bytes:
            now = time.perf_counter()
            outcome.first_s = now if outcome.first_s is None else outcome.first_s
            outcome.pieces.append((now, num_bytes / self._wav.bytes_per_second))

    def on_message_complete(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _ends_with_connection(self) -> bool:
        """Return whether the body had neither a length nor chunks, so that this is its end."""
        is_answer = self._outcome is not None and self._outcome.status != 0
        return is_answer and not self._is_delimited

    def _fail(self, problem: str) -> None:
        if self._outcome is not None and not self._outcome.problem:
            self._outcome.problem = problem
        self.close()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class Load:
    """Asks a server again and again, with texts that differ."""

    def __init__(
        self, target: Target, source: Iterator[str], *, seed: int = 0, timeout_s: float = 120.0
    ) -> None:
        self._target = target
        self._source = source
        self._seed = seed
        self._timeout_s = timeout_s
        self._num_asked = 0
        self._idle: list[_Connection] = []

    async def closed(
        self, num_clients: int, num_requests: int, told: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """Have so many clients ask, each again as soon as it was answered."""
        outcomes: list[Outcome] = []
        left = iter(range(num_requests))

        async def client() -> None:
            for _ in left:
                outcomes.append(await self._ask(time.perf_counter()))
                told()

        await asyncio.gather(*(client() for _ in range(min(num_clients, num_requests))))
        return outcomes

    async def closed_for(
        self, num_clients: int, seconds: float, told: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """Have so many clients ask for so long; each ends with the answer that it waits for then."""
        outcomes: list[Outcome] = []
        end_s = time.perf_counter() + seconds

        async def client() -> None:
            while (now := time.perf_counter()) < end_s:
                outcomes.append(await self._ask(now))
                told()

        await asyncio.gather(*(client() for _ in range(num_clients)))
        return outcomes

    async def open(
        self, per_second: float, num_requests: int, told: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """Ask at random moments (Poisson), however long the answers take.

        Times count from when a request was due, so that a client that is held up hides nothing.
        """
        draw = random.Random(self._seed)  # noqa: S311 -- no secret, and to be repeated
        outcomes: list[Outcome] = []

        async def ask(due_s: float) -> None:
            outcomes.append(await self._ask(due_s))
            told()

        due_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(num_requests):
                due_s += draw.expovariate(per_second)
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                group.create_task(ask(due_s))
        return outcomes

    def close(self) -> None:
        """Drop all connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _ask(self, begin_s: float) -> Outcome:
        self._num_asked += 1
        text = next(self._source)
        outcome = Outcome(text, begin_s)
        request = self._target.request(text, self._seed + self._num_asked)
        try:
            connection = await self._connect()
        except OSError as error:
            outcome.problem, outcome.end_s = f"no connection: {error}", time.perf_counter()
            await asyncio.sleep(0.05)  # who refuses is not asked ten thousand times a second
            return outcome
        await connection.ask(request, outcome, self._timeout_s)
        if connection.is_open:
            self._idle.append(connection)
        return outcome

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        host, port = self._target.address
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, host, port)
        return connection
