"""The worker's line to the dispatcher: one end for every request, whatever happens."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from sovits_serve.api import engine_client
from sovits_serve.api.engine_client import EngineClient, without_samples
from sovits_serve.api.errors import SlowReader, StreamAborted, UnknownFailure
from sovits_serve.api.speech_stream import SpeechStream
from sovits_serve.errors import (
    BadReferenceAudio,
    CapacityError,
    ConfigError,
    DeadlineExceeded,
    EngineDead,
    EngineError,
    InvalidRequest,
    NotReady,
    QueueFull,
    ServingError,
    UnknownModel,
    UnknownRecording,
)
from sovits_serve.protocol.messages import (
    Abort,
    Defaults,
    Hello,
    HttpSample,
    PhonemizedText,
    PutRecording,
    Reference,
    ReferenceAudio,
    StatusSeen,
    Submit,
    SwitchModel,
    SwitchReference,
    SynthesisRequest,
)
from tests.api.fake_dispatcher import (
    DEADLINE_S,
    FakeDispatcher,
    dispatching,
    hold,
    sound_of,
    speak_at_once,
    until,
)

RECORDING = ReferenceAudio(b"\0" * 4000, 16_000, key="recording-1")
SOUND = b"\1\2" * 320


def _request(request_id: str = "r1", *, recording: ReferenceAudio = RECORDING) -> SynthesisRequest:
    reference = Reference(without_samples(recording))
    return SynthesisRequest(request_id, (PhonemizedText((1, 2, 3)),), reference)


def _submit(client: EngineClient, request_id: str = "r1", *, timeout_s: float = 60) -> SpeechStream:
    return client.submit(
        _request(request_id), {RECORDING.key: RECORDING}, timeout_s=timeout_s, cost=3
    )


async def _read(stream: SpeechStream) -> bytes:
    return b"".join([chunk.pcm async for chunk in stream])


async def _error(stream: SpeechStream) -> ServingError:
    with pytest.raises(ServingError) as caught:
        await _read(stream)
    return caught.value


@asynccontextmanager
async def _connected(
    *, max_buffer_bytes: int = 1 << 20
) -> AsyncIterator[tuple[EngineClient, FakeDispatcher]]:
    async with dispatching() as dispatcher:
        client = EngineClient(
            dispatcher.endpoint, "w0", "secret", max_buffer_bytes=max_buffer_bytes
        )
        await client.start()
        try:
            await until(lambda: client.status.state == "ready", "the status")
            yield client, dispatcher
        finally:
            await client.stop()


def _with_client(
    test: Callable[[EngineClient, FakeDispatcher], Awaitable[None]], **settings: int
) -> None:
    async def main() -> None:
        async with _connected(**settings) as (client, dispatcher):
            await test(client, dispatcher)

    asyncio.run(main())


def test_audio_comes_in_order_and_ends() -> None:
    """Chunks come as sent, and the stream ends with the message that says so."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        stream = _submit(client)

        assert await _read(stream) == sound_of(_request())
        assert stream.finished is not None
        assert stream.finished.num_tokens == (7,)
        assert await _read(stream) == b""

    _with_client(test)


def test_hello_names_the_worker_and_status_is_acknowledged() -> None:
    """The dispatcher learns who connects, and that each new serial was taken in."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.set_status(
            msgspec.structs.replace(dispatcher.status, serial=2, defaults=Defaults("other"))
        )
        await until(lambda: StatusSeen(2) in dispatcher.received, "StatusSeen")
        hello = dispatcher.of(Hello)[0]

        assert isinstance(hello, Hello)
        assert (hello.role, hello.name, hello.token) == ("worker", "w0", "secret")
        assert StatusSeen(1) in dispatcher.received
        assert client.status.defaults.model == "other"

    _with_client(test)


def test_recordings_are_sent_once_per_connection() -> None:
    """Samples go ahead of the first request that names them, and again after a reconnection."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        await _read(_submit(client, "r1"))
        await _read(_submit(client, "r2"))

        assert len(dispatcher.of(PutRecording)) == 1
        dispatcher.drop_connections()
        await until(lambda: not client.is_connected, "the loss")
        await until(lambda: client.is_connected, "the reconnection")
        await _read(_submit(client, "r3"))
        assert len(dispatcher.of(PutRecording)) == 2

    _with_client(test)


def test_forgotten_recording_is_sent_again_once() -> None:
    """A dispatcher that forgot a recording gets it with the request again; nobody notices."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        await _read(_submit(client, "r1"))
        dispatcher.recordings.clear()

        assert await _read(_submit(client, "r2")) == sound_of(_request())
        assert len(dispatcher.of(PutRecording)) == 2
        assert len(dispatcher.of(Submit)) == 3

    _with_client(test)


def test_recording_that_stays_unknown_is_an_error() -> None:
    """It is tried a second time, not for ever; without samples not even that."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = lambda fake, submit: fake.fail(submit.request_id, "unknown_recording")

        assert isinstance(await _error(_submit(client)), UnknownRecording)
        assert len(dispatcher.of(Submit)) == 2
        assert isinstance(await _error(client.submit(_request("r2"), {})), UnknownRecording)
        assert len(dispatcher.of(Submit)) == 3

    _with_client(test)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("queue_full", QueueFull),
        ("invalid_request", InvalidRequest),
        ("bad_reference_audio", BadReferenceAudio),
        ("engine_crash", EngineDead),
        ("not_ready", NotReady),
        ("from_the_future", UnknownFailure),
    ],
)
def test_failures_become_their_own_errors(code: str, kind: type[ServingError]) -> None:
    """A code from the wire is the class of that code, with its message and when to try again."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = lambda fake, submit: fake.fail(submit.request_id, code, "why", 3.5)
        error = await _error(_submit(client))

        assert type(error) is kind
        assert error.message.startswith("why")
        assert error.retry_after_s == 3.5

    _with_client(test)


def test_audio_before_a_failure_is_delivered_first() -> None:
    """What came before the bad end is a prefix, not lost."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = hold
        stream = _submit(client)
        await dispatcher.wait_for_submit()
        dispatcher.sound("r1", SOUND)
        dispatcher.fail("r1", "engine_crash")
        await until(lambda: stream.is_over, "the end")

        assert (await anext(stream)).pcm == SOUND
        assert isinstance(await _error(stream), EngineDead)

    _with_client(test)


def test_abort_ends_the_stream_and_tells_the_dispatcher_once() -> None:
    """Aborting twice is aborting once; late words about the request are left alone."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = hold
        stream = _submit(client)
        await dispatcher.wait_for_submit()
        stream.abort()
        stream.abort()
        await dispatcher.wait_for_abort("r1")
        dispatcher.sound("r1", SOUND)
        dispatcher.finish("r1")
        await _read_other(client, dispatcher)

        assert isinstance(await _error(stream), StreamAborted)
        assert dispatcher.of(Abort) == [Abort("r1")]

    _with_client(test)


async def _read_other(client: EngineClient, dispatcher: FakeDispatcher) -> None:
    """Serve another request: everything sent before has arrived by then."""
    dispatcher.answer = speak_at_once
    await _read(_submit(client, "other"))


def test_abort_after_the_end_says_nothing() -> None:
    """A request that has ended is not aborted."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        stream = _submit(client)
        await _read(stream)
        stream.abort()
        await _read_other(client, dispatcher)

        assert stream.finished is not None
        assert not dispatcher.of(Abort)

    _with_client(test)


def test_unread_audio_is_bounded() -> None:
    """A stream nobody reads is aborted once too much waits, and says so."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = hold
        stream = _submit(client)
        await dispatcher.wait_for_submit()
        for _ in range(3):
            dispatcher.sound("r1", bytes(1000))
        await dispatcher.wait_for_abort("r1")

        assert stream.buffered_bytes == 0
        assert isinstance(await _error(stream), SlowReader)

    _with_client(test, max_buffer_bytes=2500)


@pytest.mark.parametrize("has_audio", [False, True])
def test_lost_connection_ends_every_stream(has_audio: bool) -> None:
    """Requests without audio may be tried again; others have died under way."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = hold
        streams = [_submit(client, f"r{number}") for number in range(3)]
        await dispatcher.wait_for_submit(3)
        for stream in streams if has_audio else ():
            dispatcher.sound(stream.request_id, SOUND)
        if has_audio:
            await until(lambda: all(stream.has_audio for stream in streams), "audio")
        dispatcher.drop_connections()
        errors = [await _error(stream) for stream in streams]

        assert {type(error) for error in errors} == {EngineDead if has_audio else NotReady}
        await until(lambda: client.is_connected, "the reconnection")
        dispatcher.answer = speak_at_once
        assert await _read(_submit(client, "later"))

    _with_client(test)


def test_missing_audio_is_an_error() -> None:
    """An end that promises more samples than came is no good end."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = hold
        stream = _submit(client)
        await dispatcher.wait_for_submit()
        dispatcher.sound("r1", SOUND)
        dispatcher.finish("r1", num_lost=5)

        assert isinstance(await _error(stream), EngineError)
        assert stream.finished is None

    _with_client(test)


@pytest.mark.parametrize(("pcm", "rate_hz"), [(SOUND + b"\0", 32_000), (SOUND, 0), (SOUND, -1)])
def test_what_is_no_sound_is_the_engines_error(pcm: bytes, rate_hz: int) -> None:
    """Half a sample, or no rate, ends the request here and at the engine."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = hold
        stream = _submit(client)
        await dispatcher.wait_for_submit()
        dispatcher.sound("r1", pcm, rate_hz=rate_hz)

        assert isinstance(await _error(stream), EngineError)
        await dispatcher.wait_for_abort("r1")

    _with_client(test)


@pytest.mark.parametrize("limit", ["_MAX_UNSENT_BYTES", "_MAX_HELD_BYTES"])
def test_recordings_under_way_are_bounded(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests in one burst do not flood the connection; the rest may come again."""
    monkeypatch.setattr(engine_client, limit, 3 << 20)

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = hold
        num_taken, refusals = 0, []
        for number in range(10):
            audio = ReferenceAudio(bytes(1 << 20), 16_000, key=f"recording-{number}")
            try:
                client.submit(_request(f"r{number}", recording=audio), {audio.key: audio})
                num_taken += 1
            except CapacityError as error:
                refusals.append(error)
        await dispatcher.wait_for_submit(num_taken)

        assert num_taken in {3, 4}
        assert [error.retry_after_s for error in refusals] == [1.0] * (10 - num_taken)
        assert client.is_connected
        for number in range(num_taken):
            dispatcher.fail(f"r{number}", "queue_full")
        await until(lambda: not client._streams, "the ends")
        client.submit(_request("later", recording=RECORDING), {RECORDING.key: RECORDING})

    _with_client(test)


def test_deadline_holds_though_the_dispatcher_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request ends by itself some time after its deadline."""
    monkeypatch.setattr("sovits_serve.api.engine_client._DEADLINE_GRACE_S", 0.05)
    monkeypatch.setattr("sovits_serve.api.engine_client._TICK_S", 0.02)

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = hold
        error = await _error(_submit(client, timeout_s=0.05))

        assert isinstance(error, DeadlineExceeded)
        await dispatcher.wait_for_abort("r1")

    _with_client(test)


def test_nothing_listens_is_a_status_not_an_error() -> None:
    """Without a dispatcher the client starts, says what to do, refuses, and connects later."""

    async def main() -> None:
        async with dispatching() as dispatcher:
            await dispatcher.stop()
            client = EngineClient(dispatcher.endpoint, "w0")
            await client.start()
            try:
                assert client.status.state == "starting"
                assert "sovits-serve engines" in client.status.reason
                with pytest.raises(NotReady):
                    _submit(client)
                with pytest.raises(NotReady):
                    await client.metrics()
                await dispatcher.start()
                await until(lambda: client.status.state == "ready", "the connection")
                assert await _read(_submit(client))
            finally:
                await client.stop()

    asyncio.run(main())


def test_refused_worker_says_so() -> None:
    """A dispatcher that closes at once (a wrong token) leaves a reason."""

    async def main() -> None:
        async with dispatching() as dispatcher:
            dispatcher.is_welcoming = False
            client = EngineClient(dispatcher.endpoint, "w0")
            await client.start()
            await until(lambda: "refused" in client.status.reason, "the reason")

            assert not client.is_connected
            await client.stop()

    asyncio.run(main())


def test_calls_are_answered_or_raise() -> None:
    """Switches end when done; a failed one is an error with the dispatcher's words."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        await client.switch_model(t2s="/a.ckpt")
        await client.switch_reference(RECORDING.key, RECORDING, "name")
        dispatcher.call_error = ("unknown_model", "no such file")
        with pytest.raises(UnknownModel, match="no such file"):
            await client.switch_model(sovits="/b.pth")

        assert await _metrics(client, dispatcher) == b"sovits_serve_dispatcher_up 1\n"
        assert dispatcher.recordings[RECORDING.key] == RECORDING
        assert len(dispatcher.of(SwitchModel)) == 2
        assert len(dispatcher.of(SwitchReference)) == 1

    _with_client(test)


async def _metrics(client: EngineClient, dispatcher: FakeDispatcher) -> bytes:
    dispatcher.call_error = None
    return await client.metrics()


def test_metrics_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatcher that does not answer is an error soon."""
    monkeypatch.setattr("sovits_serve.api.engine_client._METRICS_TIMEOUT_S", 0.05)

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.metrics = None
        with pytest.raises(NotReady, match="did not answer"):
            await client.metrics()

    _with_client(test)


def test_samples_are_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """What responses were is told in bundles."""
    monkeypatch.setattr("sovits_serve.api.engine_client._TICK_S", 0.02)

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        samples = [HttpSample("/x", 200, 0.1 * number, "complete") for number in range(3)]
        for sample in samples:
            client.observe(sample)
        await until(lambda: len(dispatcher.samples) == 3, "the samples")

        assert dispatcher.samples == samples

    _with_client(test)


def test_silent_dispatcher_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatcher without a word for long does not count as ready, but its models are known."""

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        def is_heard() -> bool:
            dispatcher.set_status(dispatcher.status)
            return client.status.state == "ready"

        monkeypatch.setattr("sovits_serve.api.engine_client._MAX_SILENCE_S", 0.05)
        await until(lambda: client.status.state == "starting", "the silence")

        assert "says nothing" in client.status.reason
        assert client.status.models
        await until(is_heard, "the next word")

    _with_client(test)


def test_bad_endpoint_is_a_config_error() -> None:
    """An endpoint that is none stops the start."""
    with pytest.raises(ConfigError):
        EngineClient("nowhere", "w0")


def test_stop_ends_what_runs() -> None:
    """A worker that stops leaves no stream without an end."""

    async def main() -> None:
        async with _connected() as (client, dispatcher):
            dispatcher.answer = hold
            stream = _submit(client)
            await dispatcher.wait_for_submit()
            await client.stop()

            assert isinstance(await _error(stream), NotReady)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(5))
def test_every_request_ends_once_whatever_happens(seed: int) -> None:
    """Random audio, ends, failures, aborts, doubled ends and lost connections: one end each."""
    chance = random.Random(seed)

    def answer(fake: FakeDispatcher, submit: Submit) -> None:
        request_id = submit.request_id
        for _ in range(chance.randrange(3)):
            fake.sound(request_id, SOUND)
        for _ in range(chance.choice((0, 1, 1, 1, 2))):
            if chance.random() < 0.3:
                fake.fail(request_id, chance.choice(("engine_crash", "unknown_recording", "odd")))
            else:
                fake.finish(request_id, num_lost=chance.choice((0, 0, 0, 1)))

    async def ask(client: EngineClient, number: int) -> str:
        try:
            stream = _submit(client, f"r{number}", timeout_s=0.1)
        except NotReady:
            return "refused"
        if chance.random() < 0.2:
            asyncio.get_running_loop().call_later(chance.random() / 100, stream.abort)
        try:
            await _read(stream)
        except ServingError as error:
            return error.code if stream.finished is None else "both"
        assert stream.error is None
        assert stream.finished is not None
        return "finished"

    async def test(client: EngineClient, dispatcher: FakeDispatcher) -> None:
        dispatcher.answer = answer
        asks = []
        for number in range(200):
            asks.append(asyncio.create_task(ask(client, number)))
            if chance.random() < 0.02:
                dispatcher.drop_connections()
            await asyncio.sleep(chance.random() / 500)
        async with asyncio.timeout(DEADLINE_S):
            outcomes = await asyncio.gather(*asks)

        assert "both" not in outcomes
        assert {"finished", "aborted", "engine_crash"} <= set(outcomes)
        assert not client._streams

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sovits_serve.api.engine_client._DEADLINE_GRACE_S", 0.1)
        patch.setattr("sovits_serve.api.engine_client._TICK_S", 0.02)
        _with_client(test)
