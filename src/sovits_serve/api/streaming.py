"""From a prepared request to an HTTP response.

200 is sent once there is sound; what fails before is raised, for the dialect to say as JSON. What
fails later breaks the body off, so that nobody takes a part for the whole. A client that leaves
aborts its request; one that does not read is cut off.
"""

import asyncio
import base64
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sovits_serve.api.context import ApiContext, caller_key, get_context
from sovits_serve.api.encoder import Encoder, FilePerPiece
from sovits_serve.api.errors import SlowReader, StreamAborted, openai_error
from sovits_serve.api.speech import Prepared
from sovits_serve.api.speech_stream import SpeechStream
from sovits_serve.audio.encoding import AudioFormat, check_available, file_rate_hz, media_type
from sovits_serve.engine.request import check_range
from sovits_serve.errors import EngineError, ServingError, SynthesisError
from sovits_serve.protocol.messages import AudioChunk

_log = logging.getLogger(__name__)

Framing = Literal["bytes", "sse", "ogg_files"]
_File = tempfile.SpooledTemporaryFile[bytes]
RATE_RANGE_HZ = (8_000, 192_000)
_PIECE_BYTES = 64 * 1024
# Whole bodies are kept in memory up to this size, then in a temporary file.
_MAX_BODY_IN_MEMORY = 4 << 20
_EVENT_STREAM = "text/event-stream"


class BrokenAudio(Exception):
    """Ends a response whose body has begun. Raised to the server, which breaks the body off."""


@dataclass(frozen=True)
class _Output:
    """How the audio of one response is to be sent."""

    kind: AudioFormat
    rate_hz: int | None  # None: as it comes
    framing: Framing
    headers: Mapping[str, str]
    prepared: Prepared

    def encoder(self, rate_hz: int, context: ApiContext, file: _File | None = None) -> Encoder:
        """Return an encoder of audio that comes at ``rate_hz``, into one file if there is one."""
        make = FilePerPiece if self.framing == "ogg_files" and file is None else Encoder
        to_hz = self.rate_hz or rate_hz
        return make(self.kind, from_hz=rate_hz, to_hz=to_hz, threads=context.encoders, file=file)

    def raw_headers(self, rate_hz: int, length: int | None = None) -> list[tuple[bytes, bytes]]:
        """Return the response's headers; without a length it is streamed."""
        kind = _EVENT_STREAM if self.framing == "sse" else media_type(self.kind)
        headers = {
            "content-type": kind,
            "x-sample-rate": str(file_rate_hz(self.kind, self.rate_hz or rate_hz)),
            "x-seed": str(self.prepared.seed),
            "cache-control": "no-store",
        }
        if length is None:
            headers["x-accel-buffering"] = "no"  # nginx would hold a stream back
        else:
            headers["content-length"] = str(length)
        headers.update({name.lower(): value for name, value in self.headers.items()})
        return [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]


async def speak(
    request: Request,
    prepared: Prepared,
    *,
    format: AudioFormat,  # noqa: A002 -- the word of every dialect
    is_streaming: bool,
    sample_rate_hz: int | None = None,
    framing: Framing = "bytes",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Submit a request and return its response once there is sound, or all of it is there.

    Args:
        request: whose client is watched: if it leaves, the request is aborted.
        prepared: from ``SpeechBuilder.build``.
        format: of the audio.
        is_streaming: send audio as it comes; else one body with its length.
        sample_rate_hz: of the response; None: the model's.
        framing: the bytes as they are; "sse" events with base64 in them; "ogg_files": every piece
            of the body is a complete file of its own.
        headers: more headers, or others (content-type).

    Raises:
        ServingError: it failed, or there was nothing but silence; no response has begun.
    """
    if sample_rate_hz is not None:
        check_range("sample_rate", sample_rate_hz, *RATE_RANGE_HZ)
    check_available(format)
    context = get_context(request)
    output = _Output(format, sample_rate_hz, framing, headers or {}, prepared)
    stream = context.client.submit(
        prepared.request,
        prepared.recordings,
        model=prepared.request.model,
        priority=prepared.priority,
        key=caller_key(request),
        timeout_s=prepared.timeout_s,
        cost=prepared.cost,
    )
    client = _ClientWatch(request.receive, stream)
    try:
        if is_streaming or framing == "sse":
            first = await _until_audible(stream)
            return _StreamedSpeech(context, output, stream, first, client)
        return await _whole_body(context, output, stream)
    except StreamAborted:
        if not client.has_left:
            raise
        return _NoResponse([])
    except BaseException:
        stream.abort()
        raise
    finally:
        if not client.is_kept:
            client.stop()


class _ClientWatch:
    """Aborts a stream when its client leaves."""

    def __init__(self, receive: Receive, stream: SpeechStream) -> None:
        self._receive = receive
        self._stream = stream
        self.has_left = False
        self.is_kept = False  # a response stops it
        self._task = asyncio.create_task(self._watch(), name="client-watch")

    def stop(self) -> None:
        """Watch no longer."""
        self._task.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass  # the body, or the rest of it, which nobody needs any more
        self.has_left = True
        self._stream.abort()


async def _until_audible(stream: SpeechStream) -> list[AudioChunk]:
    """Return the first audio, up to the first chunk that is more than silence.

    Raises:
        ServingError: the request failed before, or ended without a sound.
    """
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        if _is_audible(chunk.pcm):
            return chunks
    raise _no_sound(chunks)


def _is_audible(pcm: bytes) -> bool:
    return bool(pcm.lstrip(b"\0"))  # ten times as fast as counting where sound begins at once


def _no_sound(chunks: list[AudioChunk]) -> SynthesisError:
    num_samples = sum(len(chunk.pcm) // 2 for chunk in chunks)
    return SynthesisError(f"the engine made no sound: {num_samples} samples of silence")


async def _whole_body(context: ApiContext, output: _Output, stream: SpeechStream) -> Response:
    """Collect all audio in one file."""
    first = await _until_audible(stream)
    rate_hz = first[0].sample_rate_hz
    file = tempfile.SpooledTemporaryFile(max_size=_MAX_BODY_IN_MEMORY)  # noqa: SIM115 -- the response closes it
    try:
        encoder = output.encoder(rate_hz, context, file)
        async for pcm in _pcm(first, stream):
            await encoder.encode(pcm)
        await encoder.finish()
        length = file.seek(0, 2)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return _WholeSpeech(context, file, output.raw_headers(rate_hz, length))


async def _pcm(first: list[AudioChunk], stream: SpeechStream) -> AsyncIterator[bytes]:
    """Yield the audio, the first in one piece, and check that its rate stays."""
    rate_hz = first[0].sample_rate_hz
    yield b"".join(chunk.pcm for chunk in first)
    async for chunk in stream:
        if chunk.sample_rate_hz != rate_hz:
            raise EngineError(f"the sample rate changed from {rate_hz} to {chunk.sample_rate_hz}")
        yield chunk.pcm


class _Body:
    """Sends the parts of one response; a client that does not take them is cut off."""

    def __init__(self, scope: Scope, send: Send, timeout_s: float) -> None:
        self._scope = scope
        self._send = send
        self._timeout_s = timeout_s

    async def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Send status and headers."""
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part; nothing if it is empty.

        Raises:
            SlowReader: the client did not take it in time; the connection is cut.
        """
        if not body and not is_last:
            return
        message = {"type": "http.response.body", "body": body, "more_body": not is_last}
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(message)
        except TimeoutError as error:
            self.cut()
            raise SlowReader(f"the client read nothing for {self._timeout_s:g} s") from error

    def cut(self) -> None:
        """End the connection at once, where the server has a way to: closing waits for the client."""
        abort: Callable[[], None] | None
        abort = (self._scope.get("extensions") or {}).get("sovits_serve.abort")
        if abort is not None:
            abort()


class _SpeechResponse(Response):
    """A response that makes its own messages. ``Response`` is only what frameworks look for."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = headers


class _NoResponse(_SpeechResponse):
    """What is said to a client that has left."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send


class _WholeSpeech(_SpeechResponse):
    """A file with its length."""

    def __init__(
        self, context: ApiContext, file: _File, headers: list[tuple[bytes, bytes]]
    ) -> None:
        super().__init__(headers)
        self._context = context
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        body = _Body(scope, send, self._context.config.send_timeout_s)
        with self._file as file:
            await body.start(self.raw_headers)
            piece = file.read(_PIECE_BYTES)
            try:
                while piece:
                    following = file.read(_PIECE_BYTES)
                    await body.send(piece, is_last=not following)
                    piece = following
            except SlowReader as error:
                raise BrokenAudio(error.message) from error


class _StreamedSpeech(_SpeechResponse):
    """Audio as it comes."""

    def __init__(
        self,
        context: ApiContext,
        output: _Output,
        stream: SpeechStream,
        first: list[AudioChunk],
        client: _ClientWatch,
    ) -> None:
        rate_hz = first[0].sample_rate_hz
        super().__init__(output.raw_headers(rate_hz))
        self._context = context
        self._output = output
        self._stream = stream
        self._first = first
        self._client = client
        self._encoder = output.encoder(rate_hz, context)
        client.is_kept = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive  # the watch has it
        body = _Body(scope, send, self._context.config.send_timeout_s)
        self._stream.on_overflow = body.cut  # it waits for the client in ``send``
        try:
            await body.start(self.raw_headers)
            await self._send_all(body)
        except ServingError as error:
            if self._client.has_left:
                return
            await self._break_off(body, error)
            raise BrokenAudio(f"{error.code}: {error.message}") from error
        finally:
            self._client.stop()
            self._stream.abort()

    async def _send_all(self, body: _Body) -> None:
        is_sse = self._output.framing == "sse"
        async for pcm in _pcm(self._first, self._stream):
            self._first = []
            data = await self._encoder.encode(pcm)
            await body.send(_delta(data) if is_sse else data)
        data = await self._encoder.finish()
        if is_sse:
            await body.send(_delta(data) + self._done(), is_last=True)
        else:
            await body.send(data, is_last=True)

    async def _break_off(self, body: _Body, error: ServingError) -> None:
        """Do what must be done before the body ends without an end."""
        _log.warning(
            "audio broken off request_id=%s code=%s: %s",
            self._stream.request_id,
            error.code,
            error.message,
        )
        if isinstance(error, SlowReader):
            body.cut()  # closing would wait until the client reads
        elif self._output.framing == "sse":
            event = {"type": "speech.audio.error", "error": openai_error(error)}
            with suppress(SlowReader):
                await body.send(_event(event))

    def _done(self) -> bytes:
        assert self._stream.finished is not None
        num_tokens = sum(self._stream.finished.num_tokens)
        usage = {
            "input_tokens": self._output.prepared.cost,
            "output_tokens": num_tokens,
            "total_tokens": self._output.prepared.cost + num_tokens,
        }
        return _event({"type": "speech.audio.done", "usage": usage})


def _delta(data: bytes) -> bytes:
    if not data:
        return b""
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})


def _event(event: Mapping[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"
