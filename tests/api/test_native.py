"""Our own dialect: JSON and forms, formats by name and by Accept."""

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable

import av
import pytest

from sovits_serve.protocol.messages import Submit
from tests.api.app_server import Running, recording, serving
from tests.api.fake_dispatcher import RATE_HZ, sound_of


def _run(test: Callable[[Running], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serving() as running:
            await test(running)

    asyncio.run(main())


def test_plain_json_gives_a_whole_wav() -> None:
    """The shortest body gives a wav with its length, by the default voice."""

    async def test(running: Running) -> None:
        response = await running.client.post("/v1/speech", json={"text": "Hello there."})

        assert response.headers["content-type"] == "audio/wav"
        assert int(response.headers["content-length"]) == len(response.content)
        assert response.content[44:] == sound_of(running.dispatcher.requests()[0])
        assert response.headers["x-sample-rate"] == str(RATE_HZ)

    _run(test)


@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_looks_like_json_is_json(kind: str) -> None:
    """curl calls it a form unless told, and other clients call it nothing."""

    async def test(running: Running) -> None:
        headers = {"content-type": kind} if kind else {}
        body = b' {"text": "Hello there.", "seed": 7}'
        response = await running.client.post("/v1/speech", content=body, headers=headers)

        assert response.status_code == 200, response.text
        assert running.dispatcher.requests()[0].sampling.seed == 7

    _run(test)


def test_a_plain_form_is_read() -> None:
    """Fields without files may come url-encoded."""

    async def test(running: Running) -> None:
        response = await running.client.post("/v1/speech", data={"text": "{Hello}", "seed": "7"})

        assert response.status_code == 200, response.text
        assert running.dispatcher.requests()[0].sampling.seed == 7

    _run(test)


def test_form_brings_recordings_as_files() -> None:
    """A form's files are the reference and further recordings; its fields have types all the same."""

    async def test(running: Running) -> None:
        files = [
            ("reference", ("a.wav", recording(seed=1), "audio/wav")),
            ("auxiliary", ("b.wav", recording(seed=2), "audio/wav")),
            ("auxiliary", ("c.wav", recording(seed=3), "audio/wav")),
        ]
        fields = {"text": "Hello there.", "speed": "1.5", "seed": "3", "stream": "true"}
        response = await running.client.post("/v1/speech", data=fields, files=files)
        request = running.dispatcher.requests()[0]

        assert response.status_code == 200, response.text
        assert response.headers["transfer-encoding"] == "chunked"
        assert (request.speed, request.sampling.seed, request.is_streaming) == (1.5, 3, True)
        assert len(request.reference.auxiliary) == 2
        assert request.reference.prompt_text is None
        keys = [request.reference.audio.key, *(one.key for one in request.reference.auxiliary)]
        assert len(set(keys)) == 3
        assert all(running.dispatcher.recordings[key].samples for key in keys)

    _run(test)


def test_json_brings_recordings_as_base64() -> None:
    """The same recording by form and by JSON is the same to the engine."""

    async def test(running: Running) -> None:
        data = recording(seed=1)
        text = base64.b64encode(data).decode()
        await running.client.post("/v1/speech", json={"text": "Hello.", "reference": text})
        await running.client.post(
            "/v1/speech", data={"text": "Hello."}, files={"reference": ("r.wav", data)}
        )
        first, second = running.dispatcher.requests()

        assert first.reference == second.reference

    _run(test)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("audio/mpeg", "audio/mpeg"),
        ("text/html, audio/flac;q=0.9", "audio/flac"),
        ("audio/ogg; codecs=opus", "audio/ogg; codecs=opus"),
        ("audio/mpeg;q=0, audio/aac", "audio/aac"),
        ("*/*", "audio/wav"),
        ("text/event-stream", "text/event-stream"),
    ],
)
def test_accept_header_chooses_the_format(accept: str, kind: str) -> None:
    """Without a format field the Accept header decides, else it is wav."""

    async def test(running: Running) -> None:
        response = await running.client.post(
            "/v1/speech", json={"text": "Hello there."}, headers={"accept": accept}
        )

        assert response.headers["content-type"] == kind

    _run(test)


def test_format_field_beats_the_accept_header() -> None:
    """What the body says is meant."""

    async def test(running: Running) -> None:
        response = await running.client.post(
            "/v1/speech",
            json={"text": "Hello there.", "format": "pcm", "sample_rate": 16_000},
            headers={"accept": "audio/mpeg"},
        )

        assert response.headers["content-type"] == "audio/pcm"
        assert response.headers["x-sample-rate"] == "16000"
        assert len(response.content) == 2 * 16_000 // 5

    _run(test)


@pytest.mark.parametrize(
    ("kind", "rate_hz"),
    [("mp3", 17_000), ("aac", 17_000), ("mp3", 96_000), ("opus", 16_000), ("flac", 17_000)],
)
def test_the_rate_in_the_header_is_the_rate_of_the_file(kind: str, rate_hz: int) -> None:
    """Also where the codec does not know the rate asked for."""

    async def test(running: Running) -> None:
        body = {"text": "Hello there.", "format": kind, "sample_rate": rate_hz}
        response = await running.client.post("/v1/speech", json=body)
        with av.open(io.BytesIO(response.content)) as file:
            found = file.streams.audio[0].rate

        assert response.headers["x-sample-rate"] == str(found)

    _run(test)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text": "Hi.", "sped": 1}, "sped"),
        ({"text": "Hi.", "format": "mp4"}, "format"),
        ({"text": "Hi.", "priority": "high"}, "priority"),
        ({"text": "Hi.", "auxiliary": ["aGk="]}, "auxiliary"),
        ({"text": "Hi.", "text_split_method": "cut9"}, "cut"),
        ({"text": "Hi.", "model": "other"}, None),
    ],
)
def test_wrong_fields_are_named(body: dict[str, object], param: str | None) -> None:
    """A misspelled field is an error, not ignored; so is a value that is none."""

    async def test(running: Running) -> None:
        response = await running.client.post("/v1/speech", json=body)
        error = response.json()["error"]

        assert response.status_code in {400, 404}, error
        assert param is None or param in error["message"]
        assert not running.dispatcher.of(Submit)

    _run(test)


@pytest.mark.parametrize(
    ("fields", "files"),
    [
        ({"text": "Hi.", "speed": "fast"}, {}),
        ({"text": "Hi."}, {"other": ("o.wav", b"x")}),
        ({"text": "Hi."}, {"reference": ("o.wav", b"no audio at all")}),
        ({}, {"reference": ("o.wav", b"x")}),
    ],
)
def test_wrong_forms_are_a_400(fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> None:
    """Forms are checked as bodies are."""

    async def test(running: Running) -> None:
        response = await running.client.post("/v1/speech", data=fields, files=files)

        assert response.status_code == 400, response.text
        assert "error" in response.json()

    _run(test)


def test_broken_multipart_is_a_400() -> None:
    """A form that cannot be read is the client's mistake."""

    async def test(running: Running) -> None:
        for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
            response = await running.client.post(
                "/v1/speech", content=b"--x\r\nnonsense", headers={"content-type": content_type}
            )

            assert response.status_code == 400, response.text

    _run(test)


def test_events_come_from_the_native_route_too() -> None:
    """stream_format sse works as in OpenAI's dialect."""

    async def test(running: Running) -> None:
        response = await running.client.post(
            "/v1/speech", json={"text": "Hello there.", "stream_format": "sse"}
        )
        events = [json.loads(line[6:]) for line in response.text.splitlines() if line]

        assert events[-1]["type"] == "speech.audio.done"

    _run(test)
