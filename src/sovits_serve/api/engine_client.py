"""A worker's line to the dispatcher: request in, stream of audio out. Knows no HTTP.

Connects in the background and again whenever the connection is lost; all from one event loop.
Every stream ends in exactly one way: ``finished`` is set, or iterating raises a ``ServingError``.
"""

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Mapping
from contextlib import suppress
from itertools import count

import msgspec

from sovits_serve.api.errors import StreamAborted, error_from_code
from sovits_serve.api.speech_stream import SpeechStream
from sovits_serve.errors import (
    CapacityError,
    ConfigError,
    DeadlineExceeded,
    EngineDead,
    InvalidRequest,
    NotReady,
    ServingError,
)
from sovits_serve.protocol.codec import ProtocolError, encode_body
from sovits_serve.protocol.messages import (
    Abort,
    Aborted,
    AudioChunk,
    CallDone,
    CallFailed,
    Failed,
    Finished,
    GetMetrics,
    Hello,
    HttpSample,
    Message,
    Metrics,
    Observe,
    Priority,
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
from sovits_serve.protocol.transport import Connection, connect, parse_endpoint

_FIRST_PAUSE_S = 0.05
_MAX_PAUSE_S = 1.0
_CONNECT_TIMEOUT_S = 5.0
_TICK_S = 1.0
# Status comes every second; a dispatcher that long without a word does not work.
_MAX_SILENCE_S = 5.0
# The dispatcher keeps deadlines; this much later the worker no longer waits for its word.
_DEADLINE_GRACE_S = 5.0
_METRICS_TIMEOUT_S = 0.5
_SWITCH_TIMEOUT_S = 1800.0  # engines load for as long as they are let
_MAX_KNOWN_KEYS = 4096
_MAX_SAMPLES = 10_000
# Recordings that the dispatcher has not read yet; past it no more are sent. A connection with
# transport.MAX_UNSENT_BYTES is given up, with all requests on it.
_MAX_UNSENT_BYTES = 64 << 20
# Recordings of requests that wait for their first sound, each counted once.
_MAX_HELD_BYTES = 256 << 20


class EngineClient:
    """The connection of one worker to the dispatcher at ``endpoint``."""

    def __init__(
        self, endpoint: str, name: str, token: str = "", *, max_buffer_bytes: int = 64 << 20
    ) -> None:
        """Check the endpoint; ``start`` connects.

        Raises:
            ConfigError: it is none.
        """
        try:
            parse_endpoint(endpoint)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.endpoint = endpoint
        self.name = name
        self._token = token
        self._max_buffer_bytes = max_buffer_bytes
        self._connection: Connection | None = None
        self._is_welcome = False
        self._heard_s = 0.0  # when the dispatcher last said something, by the loop's clock
        self._reason = f"no dispatcher at {endpoint}: start `sovits-serve engines`"
        self._status: Status | None = None  # of this connection
        self._last_status = Status(0, "starting", "")  # of any
        self._seen_serial = -1
        self._has_status = asyncio.Event()
        self._streams: dict[str, SpeechStream] = {}
        self._calls: dict[str, asyncio.Future[bytes]] = {}
        self._call_ids = (f"{name}-{number}" for number in count())
        self._known_keys: OrderedDict[str, None] = OrderedDict()
        self._samples: deque[HttpSample] = deque(maxlen=_MAX_SAMPLES)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect in the background; returns at once, also when nothing listens."""
        assert not self._tasks
        self._tasks = [
            asyncio.create_task(self._stay_connected(), name="engine-client"),
            asyncio.create_task(self._tick_forever(), name="engine-client-tick"),
        ]

    async def stop(self) -> None:
        """Close the connection; what still runs ends in an error."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._flush_samples()
        if self._connection is not None:
            self._connection.close_after_send("the worker stops")
        self._end_all("the worker stops")
        await asyncio.sleep(0)

    async def wait_connected(self) -> None:
        """Wait until a dispatcher has told the state of the engines for the first time."""
        await self._has_status.wait()

    @property
    def is_connected(self) -> bool:
        """Return whether a dispatcher has accepted this worker and still is there."""
        return self._is_welcome

    @property
    def status(self) -> Status:
        """Return the latest status; without a connection one that says so, with the last models."""
        if self._status is not None and not self._is_silent():
            return self._status
        reason = self._reason
        if self._is_welcome:
            reason = (
                f"the dispatcher at {self.endpoint} says nothing"
                if self._status is not None
                else f"connected to {self.endpoint}, waiting for the first status"
            )
        last = self._last_status
        return Status(last.serial, "starting", reason, models=last.models, defaults=last.defaults)

    def submit(
        self,
        request: SynthesisRequest,
        recordings: Mapping[str, ReferenceAudio],
        *,
        model: str = "",
        priority: Priority = "interactive",
        key: str = "",
        timeout_s: float = 120.0,
        cost: int = 1,
    ) -> SpeechStream:
        """Put a request into the queue.

        Args:
            request: names its recordings by key only.
            recordings: the samples of those keys, as far as this worker has them.
            model: a model of ``status``, or "" for the default at admission.
            priority: who goes first.
            key: whose request it is.
            timeout_s: the whole time it may take.
            cost: phonemes to speak.

        Raises:
            NotReady: no dispatcher is connected.
            InvalidRequest: the request is larger than a message may be.
            CapacityError: too many recordings are under way.
        """
        if self._connection is None or not self._is_welcome:
            raise self._not_ready()
        keys = (request.reference.audio, *request.reference.auxiliary)
        submit = Submit(
            request_id=request.request_id,
            payload=encode_body(request),
            recordings=tuple(dict.fromkeys(audio.key for audio in keys)),
            model=model,
            priority=priority,
            key=key,
            timeout_s=timeout_s,
            cost=cost,
        )
        self._check_held(recordings)
        deadline_s = self._now() + timeout_s + _DEADLINE_GRACE_S
        stream = SpeechStream(
            submit, recordings, self._max_buffer_bytes, deadline_s, self._on_abort
        )
        assert stream.request_id not in self._streams, "request ids are unique"
        self._send_submit(stream)
        self._streams[stream.request_id] = stream
        return stream

    async def switch_model(self, t2s: str | None = None, sovits: str | None = None) -> None:
        """Make other weights the default on all engines, or on none.

        Raises:
            ServingError: as the dispatcher says; nothing has changed then.
        """
        call_id = next(self._call_ids)
        await self._call(call_id, SwitchModel(call_id, t2s, sovits), _SWITCH_TIMEOUT_S)

    async def switch_reference(self, key: str, audio: ReferenceAudio, name: str) -> None:
        """Make a recording the default reference of requests that bring none.

        Raises:
            ServingError: as the dispatcher says; nothing has changed then.
        """
        call_id = next(self._call_ids)
        if self._connection is not None:
            _check_unsent(self._connection)
            self._connection.send(PutRecording(key, audio))
        await self._call(call_id, SwitchReference(call_id, key, name), _SWITCH_TIMEOUT_S)

    async def metrics(self) -> bytes:
        """Return the dispatcher's metrics in the Prometheus text format.

        Raises:
            NotReady: it is not there, or does not answer within half a second.
        """
        call_id = next(self._call_ids)
        return await self._call(call_id, GetMetrics(call_id), _METRICS_TIMEOUT_S)

    def observe(self, sample: HttpSample) -> None:
        """Note a response that is over; told to the dispatcher once a second."""
        self._samples.append(sample)

    # Sending.

    def _send_submit(self, stream: SpeechStream, *, is_again: bool = False) -> None:
        """Send a request, and before it the recordings that this connection has not sent."""
        assert self._connection is not None
        unsent = [
            PutRecording(key, stream.recordings[key])
            for key in stream.submit.recordings
            if key in stream.recordings and (is_again or key not in self._known_keys)
        ]
        if unsent:
            _check_unsent(self._connection)
        try:
            for message in unsent:
                self._connection.send(message)
            for key in stream.submit.recordings:
                self._know(key)
            self._connection.send(stream.submit)
        except ProtocolError as error:
            raise InvalidRequest(f"the request is too large: {error}") from error

    def _check_held(self, recordings: Mapping[str, ReferenceAudio]) -> None:
        """Check what all requests hold together, for the case that it must be sent again."""
        held = dict(recordings)
        for stream in self._streams.values():
            held.update(stream.recordings)
        if sum(len(audio.samples) for audio in held.values()) > _MAX_HELD_BYTES:
            raise _overloaded("too many different recordings wait for their turn")

    def _know(self, key: str) -> None:
        self._known_keys[key] = None
        self._known_keys.move_to_end(key)
        if len(self._known_keys) > _MAX_KNOWN_KEYS:
            self._known_keys.popitem(last=False)

    def _on_abort(self, stream: SpeechStream) -> None:
        if self._streams.pop(stream.request_id, None) is not None and self._connection is not None:
            self._connection.send(Abort(stream.request_id))

    async def _call(self, call_id: str, message: Message, timeout_s: float) -> bytes:
        if self._connection is None or not self._is_welcome:
            raise self._not_ready()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[call_id] = answer
        self._connection.send(message)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise NotReady(f"the dispatcher did not answer within {timeout_s:g} s") from error
        finally:
            self._calls.pop(call_id, None)

    def _not_ready(self) -> NotReady:
        error = NotReady(self.status.reason)
        error.retry_after_s = self.status.retry_after_s
        return error

    # Receiving.

    def _on_message(self, connection: Connection, message: Message) -> None:
        self._heard_s = self._now()
        match message:
            case AudioChunk():
                stream = self._streams.get(message.request_id)
                if stream is not None:
                    stream.put(message)
            case Finished():
                stream = self._streams.pop(message.request_id, None)
                if stream is not None:
                    stream.finish(message)
            case Failed():
                self._on_failed(message)
            case Aborted():
                stream = self._streams.pop(message.request_id, None)
                if stream is not None:
                    stream.end(StreamAborted("the request was aborted by the server"))
            case Status():
                self._on_status(connection, message)
            case CallDone() | CallFailed() | Metrics():
                self._on_answer(message)
            case Welcome():
                self._is_welcome = True
            case _:
                connection.close(f"not a message for a worker: {type(message).__name__}")

    def _on_failed(self, message: Failed) -> None:
        stream = self._streams.get(message.request_id)
        if stream is None:
            return
        if (
            message.code == "unknown_recording"
            and not stream.is_sent_again
            and not stream.has_audio
            and any(key in stream.recordings for key in stream.submit.recordings)
        ):
            stream.is_sent_again = True
            try:
                self._send_submit(stream, is_again=True)
            except ServingError as error:
                del self._streams[message.request_id]
                stream.end(error)
            return
        del self._streams[message.request_id]
        stream.end(error_from_code(message.code, message.message, message.retry_after_s))

    def _on_status(self, connection: Connection, message: Status) -> None:
        self._status = self._last_status = message
        self._has_status.set()
        if message.serial != self._seen_serial:
            self._seen_serial = message.serial
            connection.send(StatusSeen(message.serial))

    def _on_answer(self, message: CallDone | CallFailed | Metrics) -> None:
        answer = self._calls.pop(message.call_id, None)
        if answer is None or answer.done():
            return
        if isinstance(message, CallFailed):
            answer.set_exception(error_from_code(message.code, message.message))
        else:
            answer.set_result(message.text if isinstance(message, Metrics) else b"")

    # The connection's life.

    async def _stay_connected(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            if await self._connect_once():
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    async def _connect_once(self) -> bool:
        """Connect and stay so until the connection is lost; return whether it ever worked."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[bool] = loop.create_future()

        def on_lost(connection: Connection, reason: str) -> None:
            del connection
            was_welcome = self._is_welcome
            self._on_lost(reason)
            if not lost.done():
                lost.set_result(was_welcome)

        def give_up() -> None:
            if not self._is_welcome:
                connection.close("it does not answer")

        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                connection = await connect(self.endpoint, self._on_message, on_lost)
        except (OSError, TimeoutError) as error:
            self._reason = (
                f"no dispatcher at {self.endpoint}: start `sovits-serve engines` "
                f"({type(error).__name__})"
            )
            return False
        if not lost.done():
            self._connection = connection
            self._heard_s = self._now()
            connection.send(Hello("worker", self.name, os.getpid(), token=self._token))
        watchdog = loop.call_later(_CONNECT_TIMEOUT_S, give_up)
        try:
            return await lost
        finally:
            watchdog.cancel()

    def _on_lost(self, reason: str) -> None:
        was_welcome, self._is_welcome = self._is_welcome, False
        self._connection = None
        self._status = None
        self._seen_serial = -1
        self._known_keys.clear()
        self._reason = (
            f"the connection to the dispatcher at {self.endpoint} was lost: {reason}"
            if was_welcome
            else f"the dispatcher at {self.endpoint} refused this worker, or is none: {reason}"
        )
        self._end_all(self._reason)

    def _end_all(self, reason: str) -> None:
        """End everything that waits for an answer over a connection that is gone."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.end(EngineDead(reason) if stream.has_audio else _retry_soon(reason))
        calls, self._calls = self._calls, {}
        for answer in calls.values():
            if not answer.done():
                answer.set_exception(_retry_soon(reason))

    # Once a second.

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._flush_samples()
            now_s = self._now()
            for stream in [one for one in self._streams.values() if one.deadline_s < now_s]:
                stream.cancel(
                    DeadlineExceeded(
                        f"not finished within {stream.submit.timeout_s:g} s, and no word why"
                    )
                )

    def _flush_samples(self) -> None:
        if self._samples and self._connection is not None and self._is_welcome:
            self._connection.send(Observe(tuple(self._samples)))
            self._samples.clear()

    def _is_silent(self) -> bool:
        return self._now() - self._heard_s > _MAX_SILENCE_S

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _retry_soon(reason: str) -> NotReady:
    error = NotReady(reason)
    error.retry_after_s = 1.0
    return error


def _check_unsent(connection: Connection) -> None:
    if connection.unsent_bytes > _MAX_UNSENT_BYTES:
        raise _overloaded("recordings come faster than the dispatcher takes them")


def _overloaded(reason: str) -> CapacityError:
    error = CapacityError(f"{reason}; try again in a second")
    error.retry_after_s = 1.0
    return error


def without_samples(audio: ReferenceAudio) -> ReferenceAudio:
    """Return a recording as requests name it: by its key."""
    return msgspec.structs.replace(audio, samples=b"")
