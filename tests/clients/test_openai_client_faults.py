"""The official client when the server is busy, late or broken; the dispatcher is a fake one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import httpx2
import openai
import pytest
from msgspec.structs import replace
from openai import AsyncOpenAI

from sovits_serve.protocol.messages import Abort, Submit
from tests.api.app_server import Running, serving
from tests.api.fake_dispatcher import DEADLINE_S, FakeDispatcher, hold, speak_at_once, until


def run(job: Callable[[Running, AsyncOpenAI], Awaitable[None]], max_retries: int = 0) -> None:
    """Run a job with a server of its own and a client of it."""

    async def main() -> None:
        async with serving() as running:
            url = f"http://127.0.0.1:{running.port}/v1"
            async with AsyncOpenAI(
                base_url=url, api_key="none", max_retries=max_retries, timeout=DEADLINE_S
            ) as client:
                await job(running, client)

    asyncio.run(main())


async def speak(client: AsyncOpenAI, timeout_s: float = DEADLINE_S) -> bytes:
    """Have a sentence said."""
    speech = await client.audio.speech.create(
        model="tts-1",
        voice="alloy",
        input="Hello there.",
        response_format="wav",
        timeout=timeout_s,
    )
    return speech.content


@pytest.mark.parametrize("code", ["queue_full", "not_ready", "draining", "overloaded"])
def test_the_client_tries_again_after_a_refusal(code: str) -> None:
    """Its own retries obey Retry-After, and nobody has to write a loop."""
    asked_at_s: list[float] = []

    def refuse_once(dispatcher: FakeDispatcher, submit: Submit) -> None:
        asked_at_s.append(asyncio.get_running_loop().time())
        if len(asked_at_s) == 1:
            dispatcher.fail(submit.request_id, code, "as told", 1.0)
        else:
            speak_at_once(dispatcher, submit)

    async def job(running: Running, client: AsyncOpenAI) -> None:
        running.dispatcher.answer = refuse_once
        content = await speak(client)

        assert content.startswith(b"RIFF")
        assert len(asked_at_s) == 2
        assert asked_at_s[1] - asked_at_s[0] >= 0.99

    run(job, max_retries=2)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("queue_full", openai.RateLimitError),
        ("too_many_requests", openai.RateLimitError),
        ("not_ready", openai.InternalServerError),
        ("synthesis_failed", openai.InternalServerError),
        ("quarantined", openai.UnprocessableEntityError),
    ],
)
def test_failures_have_the_class_that_programs_catch(
    code: str, kind: type[openai.APIStatusError]
) -> None:
    """Without retries the code and the message are in the error."""

    async def job(running: Running, client: AsyncOpenAI) -> None:
        running.dispatcher.answer = lambda one, submit: one.fail(submit.request_id, code, "as told")
        with pytest.raises(kind) as caught:
            await speak(client)

        assert caught.value.code == code
        assert "as told" in caught.value.message

    run(job)


def test_a_server_that_loads_is_waited_for() -> None:
    """503 with Retry-After until a model is there; the client's retries see it become ready."""

    async def job(running: Running, client: AsyncOpenAI) -> None:
        ready = running.dispatcher.status
        running.dispatcher.set_status(replace(ready, serial=2, state="starting", models=()))
        context = running.context.client
        await until(lambda: not context.status.models, "the loading status")
        asked = asyncio.create_task(speak(client))
        await until(lambda: bool(running.dispatcher.samples) or asked.done(), "the first refusal")
        running.dispatcher.set_status(ready)

        assert (await asked).startswith(b"RIFF")
        assert len(running.dispatcher.of(Submit)) == 1

    run(job, max_retries=5)


def test_a_client_that_gives_up_frees_its_place() -> None:
    """The client's timeout is its own error, and the engines hear of it."""

    async def job(running: Running, client: AsyncOpenAI) -> None:
        running.dispatcher.answer = hold
        with pytest.raises(openai.APITimeoutError):
            await speak(client, timeout_s=2.0)  # for the request to get there
        submit = await running.dispatcher.wait_for_submit()

        await until(lambda: Abort(submit.request_id) in running.dispatcher.received, "the abort")

    run(job)


def test_a_deadline_is_told() -> None:
    """What took too long on the server is a 504, which the client calls an internal error."""

    async def job(running: Running, client: AsyncOpenAI) -> None:
        running.dispatcher.answer = lambda one, submit: one.fail(
            submit.request_id, "deadline_exceeded", "600 s"
        )
        with pytest.raises(openai.InternalServerError) as caught:
            await speak(client)

        assert caught.value.status_code == 504

    run(job)


async def collect(body: AsyncIterator[bytes], parts: list[bytes]) -> None:
    """Read a body to its end; what came before an error stays in ``parts``."""
    async for part in body:
        parts.append(part)  # noqa: PERF401 -- a comprehension would lose them


def speak_half(dispatcher: FakeDispatcher, submit: Submit) -> None:
    """Send a second of speech, then the news that the engine has died."""
    dispatcher.sound(submit.request_id, b"\x01\x02" * 32_000)
    dispatcher.fail(submit.request_id, "engine_crash", "it died")


def test_half_of_the_speech_is_no_speech() -> None:
    """An engine that dies under a request is an error of the connection, not a short file."""

    async def job(running: Running, client: AsyncOpenAI) -> None:
        running.dispatcher.answer = speak_half
        with pytest.raises(openai.APIConnectionError):
            await speak(client)

    run(job)


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_half_of_a_stream_breaks(stream_format: Literal["audio", "sse"]) -> None:
    """The body breaks off under the reader; events say why before."""

    async def job(running: Running, client: AsyncOpenAI) -> None:
        running.dispatcher.answer = speak_half
        parts: list[bytes] = []
        async with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input="Hello there.", stream_format=stream_format
        ) as response:
            with pytest.raises(httpx2.RemoteProtocolError):
                await collect(response.iter_bytes(), parts)

        assert parts
        assert (b"speech.audio.error" in b"".join(parts)) is (stream_format == "sse")
        assert b"speech.audio.done" not in b"".join(parts)

    run(job)
