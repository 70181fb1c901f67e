"""A dispatcher in the test's own event loop: real socket, real protocol, no engines.

Each Submit is answered by ``answer``, by default with sound that is a function of the request.
Tests that want to say each word themselves set ``answer`` to ``hold`` and call ``sound``,
``finish`` and ``fail``.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import shake_128
from tempfile import TemporaryDirectory

import numpy as np

from sovits_serve.protocol.codec import decode_request
from sovits_serve.protocol.messages import (
    Abort,
    Aborted,
    AudioChunk,
    CallDone,
    CallFailed,
    Defaults,
    Failed,
    Finished,
    GetMetrics,
    Hello,
    HttpSample,
    Message,
    Metrics,
    ModelInfo,
    Observe,
    PutRecording,
    ReferenceAudio,
    Status,
    StatusSeen,
    Submit,
    SwitchModel,
    SwitchReference,
    SynthesisRequest,
    Welcome,
)
from sovits_serve.protocol.transport import Connection, listen

RATE_HZ = 32_000
MODEL = ModelInfo("tiny", "v2", "v2", RATE_HZ, can_read_chinese=True)
DEADLINE_S = 30.0


def sound_of(request: SynthesisRequest, seconds: float = 0.2) -> bytes:
    """Return int16 audio that tells requests apart by what they ask for, not by their ids."""
    asked = repr((request.segments, request.sampling, request.speed, request.reference))
    seed = int.from_bytes(shake_128(asked.encode()).digest(4), "big")
    tone = np.random.default_rng(seed).integers(-8000, 8000, int(seconds * RATE_HZ))
    return tone.astype("<i2").tobytes()


def hold(dispatcher: "FakeDispatcher", submit: Submit) -> None:
    """Answer nothing."""


def speak_at_once(dispatcher: "FakeDispatcher", submit: Submit) -> None:
    """Answer with two chunks and the end."""
    pcm = sound_of(decode_request(submit.payload))
    half = len(pcm) // 4 * 2
    dispatcher.sound(submit.request_id, pcm[:half])
    dispatcher.sound(submit.request_id, pcm[half:])
    dispatcher.finish(submit.request_id)


class FakeDispatcher:
    """See the module."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.answer: Callable[[FakeDispatcher, Submit], None] = speak_at_once
        self.status = Status(1, "ready", "", models=(MODEL,), defaults=Defaults(MODEL.name))
        self.is_welcoming = True
        self.metrics: bytes | None = b"sovits_serve_dispatcher_up 1\n"
        self.call_error: tuple[str, str] | None = None
        self.received: list[Message] = []
        self.recordings: dict[str, ReferenceAudio] = {}
        self.submits: dict[str, Submit] = {}
        self.samples: list[HttpSample] = []
        self.connections: list[Connection] = []
        self._owners: dict[str, Connection] = {}
        self._num_chunks: dict[str, int] = {}
        self._num_samples: dict[str, int] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await listen(
            self.endpoint, lambda: Connection(self._on_message, self._on_lost)
        )

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop_connections()
        await asyncio.sleep(0.01)

    def drop_connections(self) -> None:
        """End every connection, as the death of the dispatcher would."""
        for connection in list(self.connections):
            connection.close("dropped")

    def set_status(self, status: Status) -> None:
        """Tell all workers."""
        self.status = status
        for connection in self.connections:
            connection.send(status)

    def requests(self) -> list[SynthesisRequest]:
        """Return what was asked, in order."""
        return [
            decode_request(message.payload)
            for message in self.received
            if isinstance(message, Submit)
        ]

    def of(self, kind: type[Message]) -> list[Message]:
        """Return what came of one kind."""
        return [message for message in self.received if isinstance(message, kind)]

    def sound(self, request_id: str, pcm: bytes, *, rate_hz: int = RATE_HZ) -> None:
        """Send one chunk."""
        index = self._num_chunks.get(request_id, 0)
        self._num_chunks[request_id] = index + 1
        self._num_samples[request_id] = self._num_samples.get(request_id, 0) + len(pcm) // 2
        self._send(request_id, AudioChunk(request_id, index, 0, rate_hz, pcm))

    def finish(self, request_id: str, *, num_lost: int = 0) -> None:
        """Send the good end."""
        num_samples = self._num_samples.get(request_id, 0) + num_lost
        self._send(request_id, Finished(request_id, num_samples, (7,)))

    def fail(
        self,
        request_id: str,
        code: str,
        message: str = "as told",
        retry_after_s: float | None = None,
    ) -> None:
        """Send a bad end."""
        self._send(request_id, Failed(request_id, code, message, retry_after_s))

    async def wait_for_submit(self, number: int = 1) -> Submit:
        """Return the n-th Submit once it is there."""
        await until(lambda: len(self.of(Submit)) >= number, f"submit {number}")
        submit = self.of(Submit)[number - 1]
        assert isinstance(submit, Submit)
        return submit

    async def wait_for_abort(self, request_id: str) -> None:
        """Wait until the worker has aborted a request."""
        await until(lambda: Abort(request_id) in self.received, "abort")

    def _send(self, request_id: str, message: Message) -> None:
        self._owners[request_id].send(message)

    def _on_lost(self, connection: Connection, reason: str) -> None:
        del reason
        if connection in self.connections:
            self.connections.remove(connection)

    def _on_message(self, connection: Connection, message: Message) -> None:
        self.received.append(message)
        match message:
            case Hello():
                self._greet(connection)
            case Submit():
                self._on_submit(connection, message)
            case Abort():
                self._send(message.request_id, Aborted(message.request_id))
            case PutRecording():
                self.recordings[message.key] = message.audio
            case Observe():
                self.samples += message.responses
            case GetMetrics() | SwitchModel() | SwitchReference():
                self._on_call(connection, message)
            case StatusSeen():
                pass
            case _:
                raise AssertionError(f"unexpected from a worker: {message}")

    def _on_submit(self, connection: Connection, message: Submit) -> None:
        self._owners[message.request_id] = connection
        self.submits[message.request_id] = message
        if all(key in self.recordings for key in message.recordings):
            self.answer(self, message)
        else:
            self.fail(message.request_id, "unknown_recording")

    def _on_call(
        self, connection: Connection, message: GetMetrics | SwitchModel | SwitchReference
    ) -> None:
        if self.call_error is not None:
            connection.send(CallFailed(message.call_id, *self.call_error))
        elif not isinstance(message, GetMetrics):
            connection.send(CallDone(message.call_id))
        elif self.metrics is not None:
            connection.send(Metrics(message.call_id, self.metrics))

    def _greet(self, connection: Connection) -> None:
        self.connections.append(connection)
        if not self.is_welcoming:
            connection.close("not welcome")
            return
        connection.send(Welcome())
        connection.send(self.status)


@asynccontextmanager
async def dispatching() -> AsyncIterator[FakeDispatcher]:
    """Run a fake dispatcher at an endpoint of its own."""
    with TemporaryDirectory(prefix="fake-", ignore_cleanup_errors=True) as directory:
        dispatcher = FakeDispatcher(f"ipc://{directory}/d.sock")
        await dispatcher.start()
        try:
            yield dispatcher
        finally:
            await dispatcher.stop()


async def until(is_true: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until something is true."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + deadline_s
    while not is_true():
        assert loop.time() < end_s, f"waited {deadline_s:g} s for {what}"
        await asyncio.sleep(0.002)
