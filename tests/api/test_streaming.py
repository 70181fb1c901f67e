"""Responses over real sockets: clients that leave, do not read, and audio that breaks off."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import pytest
import soundfile
from starlette.requests import Request
from starlette.responses import Response

from sovits_serve.api.context import get_context
from sovits_serve.api.openai import new_request_id
from sovits_serve.api.speech import SpeechInput
from sovits_serve.api.streaming import speak
from sovits_serve.audio.encoding import AudioFormat
from sovits_serve.config import ApiConfig
from sovits_serve.protocol.messages import Submit
from tests.api.app_server import Running, serving
from tests.api.fake_dispatcher import (
    DEADLINE_S,
    RATE_HZ,
    FakeDispatcher,
    hold,
    sound_of,
    speak_at_once,
    until,
)

SOUND = b"\1\2" * 1600
BODY = {"input": "Hello there.", "response_format": "pcm", "sample_rate": RATE_HZ}
RAW_BODY = json.dumps(BODY).encode()


def _run(test: Callable[[Running], Awaitable[None]], config: ApiConfig | None = None) -> None:
    async def main() -> None:
        async with serving(config) as running:
            await test(running)

    asyncio.run(main())


async def _is_well(running: Running) -> None:
    """Check that the next request is served as if nothing had been."""
    running.dispatcher.answer = speak_at_once
    response = await running.client.post("/v1/audio/speech", json=BODY)

    assert response.content == sound_of(running.dispatcher.requests()[-1])


def test_audio_arrives_while_the_rest_is_made() -> None:
    """The first bytes are with the client before the engine has finished."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        async with running.connected(RAW_BODY) as (reader, _):
            submit = await running.dispatcher.wait_for_submit()
            running.dispatcher.sound(submit.request_id, SOUND)
            head = await reader.readuntil(b"\r\n\r\n")
            first = await reader.readexactly(100)
            running.dispatcher.finish(submit.request_id)
            rest = await reader.readuntil(b"\r\n0\r\n\r\n")

        assert b" 200 " in head
        assert (first + rest).startswith(b"c80\r\n\1\2")

    _run(test)


def test_nothing_is_sent_before_there_is_sound() -> None:
    """Silence at the beginning is held until it is known that sound follows."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        post = asyncio.create_task(running.client.post("/v1/audio/speech", json=BODY))
        submit = await running.dispatcher.wait_for_submit()
        running.dispatcher.sound(submit.request_id, bytes(640))
        await _round_trip(running)
        assert not post.done()
        running.dispatcher.sound(submit.request_id, SOUND)
        running.dispatcher.finish(submit.request_id)

        assert (await post).content == bytes(640) + SOUND

    _run(test)


async def _round_trip(running: Running) -> None:
    await running.client.get("/v1/models")


@pytest.mark.parametrize("is_streaming", [True, False])
@pytest.mark.parametrize("pcm", [b"", bytes(6400)])
def test_silence_is_never_a_200(pcm: bytes, is_streaming: bool) -> None:
    """No audio at all, or nothing but zeros, is an error."""

    async def test(running: Running) -> None:
        def answer(dispatcher: FakeDispatcher, submit: Submit) -> None:
            if pcm:
                dispatcher.sound(submit.request_id, pcm)
            dispatcher.finish(submit.request_id)

        running.dispatcher.answer = answer
        body = {**BODY, "stream": is_streaming}
        response = await running.client.post("/v1/audio/speech", json=body)

        assert response.status_code == 500
        assert response.json()["error"]["code"] == "synthesis_failed"

    _run(test)


@pytest.mark.parametrize("is_streaming", [True, False])
def test_client_that_leaves_before_audio_aborts(is_streaming: bool) -> None:
    """A client that is gone while its request waits frees its place, though nothing ends it."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        body = json.dumps({**BODY, "stream": is_streaming}).encode()
        async with running.connected(body):
            submit = await running.dispatcher.wait_for_submit()
        await running.dispatcher.wait_for_abort(submit.request_id)

        await _is_well(running)

    _run(test)


@pytest.mark.parametrize("kind", ["pcm", "mp3"])
def test_client_that_leaves_under_way_aborts(kind: str) -> None:
    """A client that is gone in the middle of its audio frees its place, though nothing ends it."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        body = json.dumps({"input": "Hello there.", "response_format": kind}).encode()
        async with running.connected(body) as (reader, _):
            submit = await running.dispatcher.wait_for_submit()
            running.dispatcher.sound(submit.request_id, SOUND * 4)
            await reader.readuntil(b"\r\n\r\n")
        await running.dispatcher.wait_for_abort(submit.request_id)

        await _is_well(running)

    _run(test)


@pytest.mark.parametrize("kind", ["pcm", "mp3", "wav", "flac"])
def test_failure_under_way_breaks_the_body(kind: str) -> None:
    """Audio that breaks off is a broken transfer, never a body that ends well."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        asked = {"input": "Hello there.", "response_format": kind, "stream": True}
        async with running.connected(json.dumps(asked).encode()) as (reader, _):
            submit = await running.dispatcher.wait_for_submit()
            running.dispatcher.sound(submit.request_id, SOUND)
            await reader.readuntil(b"\r\n\r\n")
            running.dispatcher.fail(submit.request_id, "engine_crash")
            rest = await reader.read(-1)

        assert not rest.endswith(b"0\r\n\r\n")
        await _is_well(running)

    _run(test)


def test_failure_under_way_is_an_error_for_http_clients() -> None:
    """What a usual client sees of a broken body is an exception."""

    async def test(running: Running) -> None:
        def answer(dispatcher: FakeDispatcher, submit: Submit) -> None:
            dispatcher.sound(submit.request_id, SOUND)
            dispatcher.fail(submit.request_id, "synthesis_failed")

        running.dispatcher.answer = answer
        with pytest.raises(httpx.RemoteProtocolError):
            await running.client.post("/v1/audio/speech", json=BODY)

    _run(test)


def test_failure_under_way_is_an_event_and_a_broken_body() -> None:
    """Clients of events are told in words, and the body breaks all the same."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        body = json.dumps({**BODY, "stream_format": "sse"}).encode()
        async with running.connected(body) as (reader, _):
            submit = await running.dispatcher.wait_for_submit()
            running.dispatcher.sound(submit.request_id, SOUND)
            await reader.readuntil(b"\r\n\r\n")
            running.dispatcher.fail(submit.request_id, "engine_crash", "it died")
            rest = await reader.read(-1)

        assert b'"type":"speech.audio.error"' in rest
        assert b"it died" in rest
        assert b"speech.audio.done" not in rest
        assert not rest.endswith(b"0\r\n\r\n")

    _run(test)


def test_failure_before_audio_is_json_for_whole_bodies_too() -> None:
    """A whole body that fails halfway is no body: status and JSON say what happened."""

    async def test(running: Running) -> None:
        def answer(dispatcher: FakeDispatcher, submit: Submit) -> None:
            dispatcher.sound(submit.request_id, SOUND)
            dispatcher.fail(submit.request_id, "out_of_memory", "too much", 2)

        running.dispatcher.answer = answer
        response = await running.client.post("/v1/audio/speech", json={**BODY, "stream": False})

        assert response.status_code == 503
        assert response.headers["retry-after"] == "2"
        assert response.json()["error"]["code"] == "out_of_memory"

    _run(test)


def test_client_that_does_not_read_is_cut_off_by_time() -> None:
    """A client that takes nothing for the send timeout loses its connection and its request."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        async with running.connected(RAW_BODY, buffer_bytes=4096) as (reader, _):
            submit = await running.dispatcher.wait_for_submit()
            for _ in range(150):
                running.dispatcher.sound(submit.request_id, SOUND * 20)
            await running.dispatcher.wait_for_abort(submit.request_id)
            await _drain_until_closed(reader)

        await _is_well(running)

    _run(test, ApiConfig(send_timeout_s=0.3))


def test_client_that_does_not_read_is_cut_off_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audio that waits for a slow client is bounded; past the bound request and response end."""
    monkeypatch.setattr("sovits_serve.api.engine_client._TICK_S", 0.02)

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        async with running.connected(RAW_BODY, buffer_bytes=4096) as (reader, _):
            submit = await running.dispatcher.wait_for_submit()
            running.dispatcher.sound(submit.request_id, SOUND)
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(150):
                running.dispatcher.sound(submit.request_id, SOUND * 20)
            await running.dispatcher.wait_for_abort(submit.request_id)
            await until(lambda: bool(running.dispatcher.samples), "the end of the response")

        assert [sample.outcome for sample in running.dispatcher.samples] == ["broken"]

    _run(test, ApiConfig(send_timeout_s=3600.0, max_buffer_bytes=1 << 17))


async def _drain_until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionResetError):
        async with asyncio.timeout(DEADLINE_S):
            while await reader.read(1 << 16):
                pass


def test_slow_client_gets_everything() -> None:
    """Reading slowly, but reading, is fine."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        async with running.connected(RAW_BODY, buffer_bytes=4096) as (reader, _):
            submit = await running.dispatcher.wait_for_submit()
            for _ in range(40):
                running.dispatcher.sound(submit.request_id, SOUND * 20)
            running.dispatcher.finish(submit.request_id)
            received = 0
            while data := await reader.read(1 << 14):
                received += len(data)
                if data.endswith(b"\r\n0\r\n\r\n"):
                    break
                await asyncio.sleep(0)

        assert received > 40 * 20 * len(SOUND)

    _run(test)


def test_every_piece_can_be_a_file_of_its_own() -> None:
    """With ogg_files each chunk of the body is a complete file (LiveTalking decodes each alone)."""

    async def test(running: Running) -> None:
        @running.app.post("/test")
        async def route(request: Request) -> Response:
            prepared = await get_context(request).builder.build(
                SpeechInput("Hello there.", is_streaming=True), new_request_id(request)
            )
            return await speak(
                request,
                prepared,
                format=AudioFormat.OGG,
                is_streaming=True,
                framing="ogg_files",
                headers={"Content-Type": "audio/x-test", "X-More": "yes"},
            )

        async with running.client.stream("POST", "/test") as response:
            parts = [part async for part in response.aiter_raw()]
        lengths = [len(soundfile.read(io.BytesIO(part))[0]) for part in _files(b"".join(parts))]

        assert response.headers["content-type"] == "audio/x-test"
        assert response.headers["x-more"] == "yes"
        assert lengths == [RATE_HZ // 10] * 2

    _run(test)


def _files(data: bytes) -> list[bytes]:
    """Cut at pages that begin a stream (header type 2)."""
    starts = [i for i in range(len(data) - 6) if data[i : i + 4] == b"OggS" and data[i + 5] == 2]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def test_outcomes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Complete, broken, disconnected and refused responses are told apart."""
    monkeypatch.setattr("sovits_serve.api.engine_client._TICK_S", 0.02)

    async def test(running: Running) -> None:
        fake = running.dispatcher
        await running.client.post("/v1/audio/speech", json=BODY)
        fake.answer = lambda _, submit: fake.fail(submit.request_id, "queue_full")
        await running.client.post("/v1/audio/speech", json=BODY)
        fake.answer = hold
        async with running.connected(RAW_BODY):
            await fake.wait_for_submit(len(fake.submits) + 1)
        await until(lambda: len(fake.samples) == 3, "three samples")
        for end in ("broken", "disconnected"):
            async with running.connected(RAW_BODY) as (reader, _):
                submit = await fake.wait_for_submit(len(fake.submits) + 1)
                fake.sound(submit.request_id, SOUND)
                await reader.readuntil(b"\r\n\r\n")
                if end == "broken":
                    fake.fail(submit.request_id, "engine_crash")
                    await _drain_until_closed(reader)
        await until(lambda: len(fake.samples) == 5, "five samples")

        assert [sample.outcome for sample in fake.samples] == [
            "complete",
            "refused",
            "disconnected",
            "broken",
            "disconnected",
        ]
        assert {sample.route for sample in fake.samples} == {"/v1/audio/speech"}

    _run(test)


def test_many_clients_that_leave_leave_nothing_behind() -> None:
    """After a hundred aborted requests no stream, task or buffer is left."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        num_tasks = len(asyncio.all_tasks())

        async def leave(number: int) -> None:
            async with running.connected(RAW_BODY):
                await running.dispatcher.wait_for_submit(number + 1)

        for start in range(0, 100, 20):
            await asyncio.gather(*(leave(start + number) for number in range(20)))
        streams = running.context.client._streams
        await until(lambda: not streams, "the aborts")
        await until(lambda: len(asyncio.all_tasks()) <= num_tasks, "the tasks")
        await _is_well(running)

    _run(test)
