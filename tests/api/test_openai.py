"""OpenAI's dialect, through the official client where it matters."""

import asyncio
import base64
import io
import json
import wave
from typing import Any

import openai
import pytest
import soundfile

from sovits_serve.api.errors import HttpError, error_response
from sovits_serve.errors import (
    CapacityError,
    DeadlineExceeded,
    NotReady,
    OutOfMemory,
    QueueFull,
    ServingError,
    SynthesisError,
    UnknownVoice,
)
from sovits_serve.protocol.messages import Submit
from tests.api.app_server import Running, recording, serving
from tests.api.fake_dispatcher import RATE_HZ, hold, sound_of

SPEECH = {"input": "Hello there.", "model": "tts-1", "voice": "alloy"}


def _run(test: Any) -> None:
    async def main() -> None:
        async with serving() as running:
            await test(running)

    asyncio.run(main())


def test_official_client_gets_speech() -> None:
    """The official client speaks unchanged: create, stream to a file, list models."""

    async def test(running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}/v1"
        async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:
            whole = await client.audio.speech.create(
                input="Hello there.", model="tts-1", voice="alloy", response_format="wav"
            )
            async with client.audio.speech.with_streaming_response.create(
                input="Hello there.", model="gpt-4o-mini-tts", voice="nova", response_format="opus"
            ) as response:
                streamed = b"".join([part async for part in response.iter_bytes()])
            models = [model.id async for model in await client.models.list()]

        assert whole.content[:4] == b"RIFF"
        samples, rate_hz = soundfile.read(io.BytesIO(streamed))
        assert (rate_hz, len(samples)) == (48_000, 48_000 // 5)
        assert models == ["tiny"]

    _run(test)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("mp3", b"\xff"),
        ("opus", b"OggS"),
        ("aac", b"\xff"),
        ("flac", b"fLaC"),
        ("wav", b"RIFF"),
        ("ogg", b"OggS"),
    ],
)
def test_every_format_comes_whole_and_streamed(name: str, start: bytes) -> None:
    """All formats begin as files of their kind do, streamed or not; whole ones have a length."""

    async def test(running: Running) -> None:
        body = {**SPEECH, "response_format": name, "seed": 1}
        streamed = await running.client.post("/v1/audio/speech", json={**body, "stream": True})
        whole = await running.client.post("/v1/audio/speech", json={**body, "stream": False})

        for response in (streamed, whole):
            assert response.status_code == 200, response.text
            assert response.content.startswith(start)
            assert response.headers["content-type"].startswith("audio/")
        assert int(whole.headers["content-length"]) == len(whole.content)
        assert streamed.headers["transfer-encoding"] == "chunked"

    _run(test)


def test_default_format_is_mp3_and_paths_work_without_v1() -> None:
    """Clients that name no format store what they get as .mp3."""

    async def test(running: Running) -> None:
        response = await running.client.post("/audio/speech", json={"input": "Hello."})

        assert response.headers["content-type"] == "audio/mpeg"

    _run(test)


def test_pcm_is_24_khz_unless_asked_otherwise() -> None:
    """pcm has OpenAI's rate, and the header says so."""

    async def test(running: Running) -> None:
        body = {**SPEECH, "response_format": "pcm"}
        usual = await running.client.post("/v1/audio/speech", json=body)
        own = await running.client.post("/v1/audio/speech", json={**body, "sample_rate": RATE_HZ})

        assert usual.headers["x-sample-rate"] == "24000"
        assert len(usual.content) == 2 * 24_000 // 5
        assert own.headers["x-sample-rate"] == str(RATE_HZ)
        assert own.content == sound_of(running.dispatcher.requests()[1])

    _run(test)


def test_whole_wav_has_a_true_header() -> None:
    """A wav that is not streamed says how long it is."""

    async def test(running: Running) -> None:
        body = {**SPEECH, "response_format": "wav", "stream": False}
        response = await running.client.post("/v1/audio/speech", json=body)

        with wave.open(io.BytesIO(response.content)) as file:
            assert file.getnframes() == RATE_HZ // 5
            assert file.readframes(file.getnframes()) == sound_of(running.dispatcher.requests()[0])
        assert not running.dispatcher.requests()[0].is_streaming

    _run(test)


def test_events_hold_audio_and_usage() -> None:
    """stream_format sse gives delta events and one done with the usage."""

    async def test(running: Running) -> None:
        body = {**SPEECH, "response_format": "pcm", "stream_format": "sse", "sample_rate": RATE_HZ}
        response = await running.client.post("/v1/audio/speech", json=body)
        events = [json.loads(line[6:]) for line in response.text.splitlines() if line]

        audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
        submit = running.dispatcher.of(Submit)[0]
        assert isinstance(submit, Submit)
        assert response.headers["content-type"] == "text/event-stream"
        assert audio == sound_of(running.dispatcher.requests()[0])
        assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
        assert events[-1] == {
            "type": "speech.audio.done",
            "usage": {
                "input_tokens": submit.cost,
                "output_tokens": 7,
                "total_tokens": submit.cost + 7,
            },
        }

    _run(test)


def test_fields_reach_the_request() -> None:
    """Extensions are what the engine is asked for; the seed comes back in a header."""

    async def test(running: Running) -> None:
        fields = {
            "seed": 42,
            "top_k": 0,
            "top_p": 0.5,
            "temperature": 0.75,
            "repetition_penalty": 1.5,
            "max_tokens": 99,
            "speed": 2,
            "segment_pause_s": 0.25,
            "early_tokens": 16,
            "timeout_s": 30,
            "priority": "batch",
            "prompt_text": "",
        }
        response = await running.client.post("/v1/audio/speech", json={**SPEECH, **fields})
        request = running.dispatcher.requests()[0]
        submit = running.dispatcher.of(Submit)[0]

        assert response.headers["x-seed"] == "42"
        assert request.sampling.top_k is None
        assert (request.sampling.top_p, request.sampling.temperature) == (0.5, 0.75)
        assert (request.sampling.repetition_penalty, request.sampling.max_tokens) == (1.5, 99)
        assert (request.speed, request.segment_pause_s) == (2, 0.25)
        assert request.early_tokens == 16
        assert request.reference.prompt_text is None
        assert isinstance(submit, Submit)
        assert (submit.priority, submit.timeout_s, submit.model) == ("batch", 30, "tiny")
        assert submit.key

    _run(test)


def test_drawn_seed_can_be_used_again() -> None:
    """Without a seed one is drawn and told; sending it gives the same speech."""

    async def test(running: Running) -> None:
        body = {**SPEECH, "response_format": "wav"}
        first = await running.client.post("/v1/audio/speech", json=body)
        other = await running.client.post("/v1/audio/speech", json=body)
        again = {**body, "seed": int(first.headers["x-seed"])}
        same = await running.client.post("/v1/audio/speech", json=again)

        assert first.content != other.content
        assert first.content == same.content

    _run(test)


def test_a_reference_can_come_along() -> None:
    """A recording in base64 replaces the voice's."""

    async def test(running: Running) -> None:
        data = base64.b64encode(recording(seed=9)).decode()
        body = {**SPEECH, "reference": f"data:audio/wav;base64,{data}", "prompt_text": "Hi there."}
        response = await running.client.post("/v1/audio/speech", json=body)
        request = running.dispatcher.requests()[0]

        assert response.status_code == 200
        assert running.dispatcher.recordings[request.reference.audio.key].rate_hz == 16_000
        assert request.reference.prompt_text is not None
        assert request.reference.prompt_text.text.startswith("Hi there")

    _run(test)


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({}, 400, "invalid_request", "input"),
        ({"input": 7}, 400, "invalid_request", "input"),
        ({"input": ""}, 400, "invalid_request", "input"),
        ({"input": "Hi.", "speed": 9}, 400, "invalid_request", "speed"),
        ({"input": "Hi.", "top_p": 0}, 400, "invalid_request", "top_p"),
        ({"input": "Hi.", "response_format": "midi"}, 400, "invalid_request", "response_format"),
        ({"input": "Hi.", "voice": "nobody"}, 404, "unknown_voice", "voice"),
        ({"input": "Hi.", "language": "xx"}, 400, "invalid_request", "language"),
        ({"input": "Hi.", "sample_rate": 1}, 400, "invalid_request", "sample_rate"),
        ({"input": "Hi.", "timeout_s": 1e9}, 400, "invalid_request", "timeout_s"),
        ({"input": "Hi.", "reference": "%%%"}, 400, "invalid_request", "reference"),
        ({"input": "Hi.", "reference": "aGk="}, 400, "bad_reference_audio", "reference"),
        ({"input": "a" * 50_001}, 413, "text_too_long", "input"),
    ],
)
def test_bad_requests_are_named_and_never_submitted(
    body: dict[str, object], status: int, code: str, param: str
) -> None:
    """What is wrong is said in OpenAI's envelope, and no engine hears of it."""

    async def test(running: Running) -> None:
        response = await running.client.post("/v1/audio/speech", json=body)
        error = response.json()["error"]

        assert response.status_code == status, error
        assert (error["code"], error["param"]) == (code, param), error
        assert error["type"] == "invalid_request_error"
        assert not running.dispatcher.of(Submit)

    _run(test)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/audio/speech", 405)]
)
def test_unknown_routes_answer_in_the_envelope(method: str, path: str, status: int) -> None:
    """404 and 405 have the shape of every other error."""

    async def test(running: Running) -> None:
        response = await running.client.request(method, path)

        assert response.status_code == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}

    _run(test)


def test_a_body_that_is_no_json_is_a_400() -> None:
    """Neither broken JSON nor broken UTF-8 is a server error."""

    async def test(running: Running) -> None:
        for body in (b"{", b"[]", b"\xff\xfe", b'{"input": "\\ud800"}', b"[" * 100_000):
            response = await running.client.post("/v1/audio/speech", content=body)

            assert response.status_code == 400, (body[:20], response.text)

    _run(test)


def test_refusals_carry_retry_after() -> None:
    """A full queue is a 429 with Retry-After, before any audio."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = lambda dispatcher, submit: dispatcher.fail(
            submit.request_id, "queue_full", "256 wait", 2.2
        )
        response = await running.client.post("/v1/audio/speech", json=SPEECH)

        assert response.status_code == 429
        assert response.headers["retry-after"] == "3"
        assert response.json()["error"]["code"] == "queue_full"

    _run(test)


def test_lists_fit_both_kinds_of_clients() -> None:
    """Voices and models are objects under two names, on all paths that clients ask."""

    async def test(running: Running) -> None:
        for path in ("/v1/audio/voices", "/audio/voices"):
            answer = (await running.client.get(path)).json()
            assert [(voice["id"], voice["name"]) for voice in answer["voices"]] == [
                ("default", "default")
            ]
            assert answer["data"] == answer["voices"]
        for path in ("/v1/models", "/v1/audio/models", "/audio/models"):
            answer = (await running.client.get(path)).json()
            assert [model["id"] for model in answer["models"]] == ["tiny"]
        assert (await running.client.get("/v1/models/tiny")).json()["object"] == "model"
        assert (await running.client.get("/v1/models/other")).status_code == 404

    _run(test)


def test_openapi_describes_the_bodies() -> None:
    """The document names every field, with an example, and nothing in it leads nowhere."""

    async def test(running: Running) -> None:
        document = (await running.client.get("/openapi.json")).json()
        schemas = document["components"]["schemas"]
        body = document["paths"]["/v1/audio/speech"]["post"]["requestBody"]["content"]

        assert "example" in body["application/json"]
        assert {"input", "voice", "response_format", "seed"} <= set(
            schemas["OpenAISpeech"]["properties"]
        )
        ids = [
            operation["operationId"]
            for operations in document["paths"].values()
            for operation in operations.values()
        ]

        assert set(_references(document)) <= schemas.keys()
        assert len(ids) == len(set(ids))

    _run(test)


def test_api_v2_errors_have_their_own_shape() -> None:
    """Upstream's clients get the two keys that they read; 400 is for the request's own faults."""
    mistake = error_response("/tts", UnknownVoice("who"))
    refusal = error_response("/set_gpt_weights/", QueueFull("full"))
    missing = error_response("/", HttpError("no", 405, "method_not_allowed"))

    assert [one.status_code for one in (mistake, refusal, missing)] == [400, 429, 405]
    assert json.loads(bytes(refusal.body)) == {
        "message": "change gpt weight failed",
        "Exception": "full",
        "code": "queue_full",
    }


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/speech", "/tts"])
def test_whoever_may_try_again_is_told_when(path: str) -> None:
    """In every dialect 429 and 503 carry Retry-After, whoever has refused; others do not."""
    kinds: list[type[ServingError]] = [CapacityError, QueueFull, NotReady, OutOfMemory]
    assert all(error_response(path, kind("no")).headers["retry-after"] == "1" for kind in kinds)

    said = NotReady("no")
    said.retry_after_s = 2.1
    assert error_response(path, said).headers["retry-after"] == "3"
    for error in (DeadlineExceeded("late"), SynthesisError("broken"), UnknownVoice("who")):
        assert "retry-after" not in error_response(path, error).headers


def test_the_id_of_a_client_is_made_unique() -> None:
    """Two requests with one X-Request-Id are two requests; both answers carry it."""

    async def test(running: Running) -> None:
        running.dispatcher.answer = hold
        headers = {"x-request-id": "same"}
        posts = [
            asyncio.create_task(
                running.client.post("/v1/audio/speech", json=SPEECH, headers=headers)
            )
            for _ in range(2)
        ]
        await running.dispatcher.wait_for_submit(2)
        ids = list(running.dispatcher.submits)
        for request_id in ids:
            running.dispatcher.sound(request_id, b"\1\2" * 3200)
            running.dispatcher.finish(request_id)
        responses = await asyncio.gather(*posts)

        assert len(set(ids)) == 2
        assert all(request_id.startswith("same-") for request_id in ids)
        assert [response.headers["x-request-id"] for response in responses] == ["same", "same"]

    _run(test)


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["$ref"]).rpartition("/")[2]] if "$ref" in node else []
        return own + [name for value in node.values() for name in _references(value)]
    if isinstance(node, list):
        return [name for value in node for name in _references(value)]
    return []
