import asyncio
import io
import json
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
import soundfile

from sovits_serve.config import ApiConfig
from sovits_serve.protocol.messages import (
    Defaults,
    Status,
    SwitchModel,
    SwitchReference,
    SynthesisRequest,
)
from tests.api.app_server import Running, recording, serving
from tests.api.fake_dispatcher import MODEL, RATE_HZ, hold

BASE = {"text": "Hello there.", "text_lang": "en"}
SILLY_TAVERN = {
    "text": "Hello there.",
    "prompt_text": "Hello",
    "ref_audio_path": "./参考音频/alice.wav",
    "text_lang": "en",
    "prompt_lang": "en",
    "text_split_method": "cut5",
    "batch_size": 1,
    "media_type": "ogg",
    "streaming_mode": "true",
}


def run(job: Callable[[Running], Awaitable[None]], config: ApiConfig | None = None) -> None:
    """Run a job against a server of its own."""

    async def main() -> None:
        async with serving(config) as running:
            await job(running)

    asyncio.run(main())


def spoken(server: Running) -> SynthesisRequest:
    """Return the last request that came to the engines."""
    return server.dispatcher.requests()[-1]


async def chunks_of(server: Running, body: dict[str, object]) -> list[bytes]:
    """POST to /tts over a plain socket; return the chunks of the body as they were sent."""
    async with server.connected(json.dumps(body).encode(), "/tts") as (reader, _):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower(), head
        chunks = []
        while size := int(await reader.readline(), 16):
            chunks.append(await reader.readexactly(size))
            await reader.readline()
        return chunks


def test_get_and_post_and_forms_ask_for_the_same() -> None:
    """One request in four dresses: query, JSON, form, multipart; and JSON that is not called so."""

    async def job(server: Running) -> None:
        asked = {**BASE, "seed": "7", "speed_factor": "1.25", "top_k": "5", "batch_size": "1"}
        client = server.client
        answers = [
            await client.get("/tts", params=asked),
            await client.post("/tts", json={**asked, "seed": 7, "speed_factor": 1.25}),
            await client.post("/tts", data=asked),
            await client.post("/tts", files={name: (None, one) for name, one in asked.items()}),
            await client.post("/tts", content=json.dumps(asked).encode()),
            await client.post(f"/tts?{urlencode(asked)}"),
            await client.post("/tts/", params=asked, json={}),
        ]

        assert [answer.status_code for answer in answers] == [200] * 7
        assert len({answer.content for answer in answers}) == 1
        assert answers[0].headers["content-type"] == "audio/wav"
        request = spoken(server)
        assert (request.sampling.seed, request.sampling.top_k, request.speed) == (7, 5, 1.25)
        with wave.open(io.BytesIO(answers[0].content)) as file:
            assert (file.getframerate(), file.getnchannels()) == (RATE_HZ, 1)

    run(job)


@pytest.mark.parametrize(
    ("media_type", "content_type"),
    [
        ("wav", "audio/wav"),
        ("raw", "audio/raw"),
        ("ogg", "audio/ogg"),
        ("aac", "audio/aac"),
        ("mp3", "audio/mpeg"),
        ("flac", "audio/flac"),
    ],
)
def test_every_media_type_comes_whole_and_streamed(media_type: str, content_type: str) -> None:
    """Not streamed with a length, streamed without; content types are upstream's."""

    async def job(server: Running) -> None:
        for mode in ("false", "2"):
            asked = {**BASE, "media_type": media_type, "streaming_mode": mode}
            answer = await server.client.get("/tts", params=asked)

            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == content_type
            assert ("content-length" in answer.headers) is (mode == "false")
            assert len(answer.content) > 100

    run(job)


def test_streamed_wav_is_one_header_and_samples() -> None:
    """What players of upstream's streams expect."""

    async def job(server: Running) -> None:
        asked = {**BASE, "seed": 1}
        raw = await server.client.post("/tts", json={**asked, "media_type": "raw"})
        chunks = await chunks_of(server, {**asked, "streaming_mode": True})

        assert chunks[0].startswith(b"RIFF")
        assert len(chunks) > 1
        assert b"".join(chunks)[44:] == raw.content
        assert spoken(server).is_streaming

    run(job)


@pytest.mark.parametrize(
    ("asked", "early_tokens"),
    [
        ({"streaming_mode": 0}, None),
        ({"streaming_mode": True}, None),
        ({"streaming_mode": 1, "min_chunk_length": 30}, None),
        ({"streaming_mode": 2}, 16),
        ({"streaming_mode": "3", "min_chunk_length": "30"}, 30),
        ({"streaming_mode": 3, "min_chunk_length": 2}, 8),
        ({"streaming_mode": 3, "min_chunk_length": 10**9}, 1000),
    ],
)
def test_the_faster_modes_begin_before_all_tokens_are_known(
    asked: dict[str, object], early_tokens: int | None
) -> None:
    """Modes 2 and 3 give up some quality for speed, as they do with upstream."""

    async def job(server: Running) -> None:
        answer = await server.client.post("/tts", json={**BASE, **asked})

        assert answer.status_code == 200, answer.text
        assert spoken(server).early_tokens == early_tokens

    run(job)


@pytest.mark.parametrize("mode", [True, 1, 2, 3])
def test_each_chunk_of_streamed_ogg_is_a_complete_file(mode: object) -> None:
    """LiveTalking reads every HTTP chunk as a file of its own."""

    async def job(server: Running) -> None:
        asked = {**BASE, "media_type": "ogg", "streaming_mode": mode}
        chunks = await chunks_of(server, asked)

        num_samples = 0
        for chunk in chunks:
            samples, rate_hz = soundfile.read(io.BytesIO(chunk))
            num_samples += len(samples)
            assert rate_hz == RATE_HZ
        assert len(chunks) == 2
        assert num_samples == int(0.2 * RATE_HZ)
        # Whole sentences, unless the client asks for speed.
        assert spoken(server).is_streaming is (mode in (2, 3))

    run(job)


def test_without_a_reference_the_default_voice_speaks() -> None:
    """Clients that send none are served (upstream: 500)."""

    async def job(server: Running) -> None:
        answer = await server.client.get("/tts", params=BASE)

        assert answer.status_code == 200
        prompt = spoken(server).reference.prompt_text
        assert prompt is not None
        assert len(server.dispatcher.recordings) == 1

    run(job)


def test_without_a_reference_and_a_default_there_is_an_error() -> None:
    """400, not 500, that says what to do."""

    async def job(server: Running) -> None:
        for path in server.voices.iterdir():
            path.unlink()
        server.context.voices._reload()
        answer = await server.client.get("/tts", params=BASE)

        assert answer.status_code == 400
        assert answer.json()["message"] == "tts failed"
        assert "default voice" in answer.json()["Exception"]

    run(job)


def test_files_are_read_beneath_allowed_directories_only(tmp_path: Path) -> None:
    """A recording that is not allowed and one that is not there give the same answer."""
    allowed = tmp_path / "Allowed"
    allowed.mkdir()
    (allowed / "One.wav").write_bytes(recording(seed=1))
    (allowed / "Two.wav").write_bytes(recording(seed=2))
    (tmp_path / "secret.wav").write_bytes(recording(seed=3))
    words = {**BASE, "prompt_text": "Some words.", "prompt_lang": "en"}

    async def job(server: Running) -> None:
        get = server.client.get
        for path in ("One.wav", "one.wav", str(allowed / "One.wav").lower()):
            answer = await get("/tts", params={**words, "ref_audio_path": path})
            assert answer.status_code == 200, answer.text
        two = {**words, "ref_audio_path": "One.wav", "aux_ref_audio_paths": ["Two.wav", "One.wav"]}
        assert (await get("/tts", params=two)).status_code == 200
        assert len(spoken(server).reference.auxiliary) == 2

        refusals = []
        for path in (str(tmp_path / "secret.wav"), "../secret.wav", "missing.wav", "/etc/passwd"):
            answer = await get("/tts", params={**words, "ref_audio_path": path})
            refusals.append((answer.status_code, answer.json()["Exception"].partition("' is")[2]))
        assert len(set(refusals)) == 1
        assert refusals[0][0] == 400

    run(job, ApiConfig(allowed_paths=str(allowed)))


def test_sillytavern_is_served() -> None:
    """``POST /`` with the names of api_v2, a voice in place of a file, and the list of voices."""

    async def job(server: Running) -> None:
        (server.voices / "alice.wav").write_bytes(recording(seed=5))
        (server.voices / "alice.txt").write_text("What Alice says.")
        server.context.voices._reload()
        speakers = await server.client.get("/speakers")
        answer = await server.client.post("/", json=SILLY_TAVERN)

        assert {"name": "alice", "voice_id": "alice"} in speakers.json()
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "audio/ogg"
        prompt = spoken(server).reference.prompt_text
        assert prompt is not None
        assert "Alice" in prompt.text or len(prompt.phone_ids) > 8  # not what was sent along

    run(job)


def test_a_name_that_is_no_voice_is_not_the_default_voice() -> None:
    """Nobody gets another voice than asked for."""

    async def job(server: Running) -> None:
        for path in ("./参考音频/bob.wav", "nova.wav", "bob"):
            asked = {**SILLY_TAVERN, "ref_audio_path": path}
            answer = await server.client.post("/", json=asked)
            assert answer.status_code == 400, path
            assert set(answer.json()) >= {"message", "Exception"}

    run(job)


@pytest.mark.parametrize(
    ("method", "path", "content", "message"),
    [
        ("GET", "/tts", b"", "text is required"),
        ("GET", "/tts?text=hi", b"", "text_lang is required"),
        ("GET", "/tts?text=hi&text_lang=xx", b"", "text_lang: 'xx' is not supported"),
        ("GET", "/tts?text=hi&text_lang=en&streaming_mode=9", b"", "the value of streaming_mode"),
        ("POST", "/tts", b"", "text is required"),
        ("POST", "/tts", b"[]", "body: is no JSON object"),
        ("POST", "/tts", b"{", "body: is no JSON object"),
        ("POST", "/tts", b'{"text":"\\ud800","text_lang":"en"}', "body: is no JSON object"),
        ("POST", "/tts", b'{"text":NaN}', "body: is no JSON object"),
        ("POST", "/tts", b'{"text":"\xff"}', "body: is no JSON object"),
        ("POST", "/tts", b'{"a":' * 50_000, "body: "),
        ("POST", "/tts", '{"text":"a"}'.encode("utf-16"), "body: is no JSON object"),
        ("POST", "/tts?" + "a=1&" * 300, b"{}", "more than"),
        ("POST", "/", b'{"text":"hi","text_language":"en"}', "these are names of api (v1)"),
    ],
)
def test_bad_requests_are_400_in_upstreams_shape(
    method: str, path: str, content: bytes, message: str
) -> None:
    """``message`` and ``Exception``, and no request for the engines."""

    async def job(server: Running) -> None:
        headers = {"content-type": "application/json"}
        answer = await server.client.request(method, path, content=content, headers=headers)

        assert answer.status_code == 400, answer.text
        assert answer.json()["message"].startswith(message)
        assert answer.json()["Exception"]
        assert not server.dispatcher.requests()

    run(job)


@pytest.mark.parametrize(
    ("code", "status", "has_retry"),
    [
        ("queue_full", 429, True),
        ("not_ready", 503, True),
        ("synthesis_failed", 500, False),
        ("text_too_long", 400, False),
        ("bad_reference_audio", 400, False),
    ],
)
def test_failures_before_audio_are_json(code: str, status: int, has_retry: bool) -> None:
    """What clients may try again says when; the rest is upstream's 400 or an honest 500."""

    async def job(server: Running) -> None:
        dispatcher = server.dispatcher
        dispatcher.answer = lambda one, submit: one.fail(submit.request_id, code, "as told")
        answer = await server.client.get("/tts", params={**BASE, "streaming_mode": "true"})

        assert answer.status_code == status
        assert ("retry-after" in answer.headers) is has_retry
        assert answer.json() == {"message": "tts failed", "Exception": "as told", "code": code}

    run(job)


def test_a_stream_that_fails_is_broken_off() -> None:
    """Once audio is out, the chunked body never ends as if it were whole."""

    async def job(server: Running) -> None:
        server.dispatcher.answer = hold
        body = {**BASE, "streaming_mode": True}
        asked = asyncio.create_task(server.client.post("/tts", json=body))
        submit = await server.dispatcher.wait_for_submit()
        server.dispatcher.sound(submit.request_id, b"\x01\x02" * 4000)
        server.dispatcher.fail(submit.request_id, "engine_crash")

        with pytest.raises(httpx.RemoteProtocolError):
            await asked

    run(job)


@pytest.mark.parametrize("name", ["gpt_weights", "sovits_weights"])
def test_weights_of_one_request_are_refused(name: str) -> None:
    """Ignored, other weights would speak than were asked for; an empty name asks for none."""

    async def job(server: Running) -> None:
        post = server.client.post
        refused = await post("/tts", json={**BASE, name: "alice.pth"})
        assert refused.status_code == 400
        assert refused.json()["message"].startswith(f"{name}: ")
        assert f"/set_{name}" in refused.json()["message"]
        assert (await post("/tts", json={**BASE, name: ""})).status_code == 200

    run(job)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/tts", "tts failed"),
        ("/", "tts failed"),
        ("/set_gpt_weights", "change gpt weight failed"),
        ("/set_sovits_weights", "change sovits weight failed"),
        ("/set_refer_audio", "set refer audio failed"),
        ("/control", "control failed"),
    ],
)
def test_errors_have_one_shape_wherever_they_come_from(path: str, message: str) -> None:
    """What failed, why and the code: in front of the routes as in them."""

    async def job(server: Running) -> None:
        send = server.client.request
        answers = [
            await send("PUT", path),
            await send("POST", path, content=b"x" * 5000),
            await send("POST", path, headers={"content-encoding": "gzip"}, content=b"x"),
            await send("GET", path, headers={"host": "evil.example"}),
        ]
        bodies = [answer.json() for answer in answers]

        assert [answer.status_code for answer in answers] == [405, 413, 415, 400]
        assert all(body.keys() == {"message", "Exception", "code"} for body in bodies)
        assert {body["message"] for body in bodies} == {message}
        codes = [body["code"] for body in bodies]
        assert codes == [
            "method_not_allowed",
            "body_too_large",
            "unsupported_encoding",
            "unknown_host",
        ]
        assert all(" " in body["Exception"] for body in bodies)

    run(job, ApiConfig(max_json_bytes=4096))


def test_weights_are_switched_by_the_dispatcher(tmp_path: Path) -> None:
    """Paths become absolute and true; success is upstream's body."""
    (tmp_path / "Alice.ckpt").write_bytes(b"x")

    async def job(server: Running) -> None:
        get = server.client.get
        done = [
            await get("/set_gpt_weights", params={"weights_path": "alice.ckpt"}),
            await get(
                "/set_sovits_weights/", params={"weights_path": str(tmp_path / "Alice.ckpt")}
            ),
        ]

        for answer in done:
            assert (answer.status_code, answer.json()) == (200, {"message": "success"})
        calls = server.dispatcher.of(SwitchModel)
        paths = [(one.t2s, one.sovits) for one in calls if isinstance(one, SwitchModel)]
        assert paths == [(str(tmp_path / "Alice.ckpt"), None), (None, str(tmp_path / "Alice.ckpt"))]

    run(job, ApiConfig(allowed_paths=str(tmp_path)))


def test_what_cannot_be_switched_changes_nothing(tmp_path: Path) -> None:
    """Missing, forbidden and broken weights are 400 in upstream's words."""
    (tmp_path / "broken.ckpt").write_bytes(b"x")

    async def job(server: Running) -> None:
        get = server.client.get
        bare = await get("/set_gpt_weights")
        assert bare.status_code == 400
        assert bare.json()["message"] == "gpt weight path is required"
        assert (await get("/set_sovits_weights?weights_path=")).json()["message"] == (
            "sovits weight path is required"
        )
        for path in ("missing.ckpt", "/etc/passwd", "\\\\host\\share\\x.ckpt"):
            answer = await get("/set_gpt_weights", params={"weights_path": path})
            assert answer.status_code == 400
            assert answer.json()["message"] == "change gpt weight failed"
            assert "the model's own" in answer.json()["Exception"]
            assert "voices directory" not in answer.json()["Exception"]
        assert not server.dispatcher.of(SwitchModel)

        server.dispatcher.call_error = ("bad_checkpoint", "it is broken")
        answer = await get("/set_sovits_weights", params={"weights_path": "broken.ckpt"})
        assert answer.json()["message"] == "change sovits weight failed"
        assert "it is broken" in answer.json()["Exception"]

    run(job, ApiConfig(allowed_paths=str(tmp_path)))


def test_the_default_reference_is_switched(tmp_path: Path) -> None:
    """set_refer_audio sends the recording; later requests without one name it."""
    (tmp_path / "Bob.wav").write_bytes(recording(seed=9))

    async def job(server: Running) -> None:
        answer = await server.client.get("/set_refer_audio", params={"refer_audio_path": "bob.wav"})
        assert (answer.status_code, answer.json()) == (200, {"message": "success"})
        (call,) = server.dispatcher.of(SwitchReference)
        assert isinstance(call, SwitchReference)
        assert call.recording in server.dispatcher.recordings

        defaults = Defaults(MODEL.name, call.recording, "bob.wav")
        server.dispatcher.set_status(Status(2, "ready", "", models=(MODEL,), defaults=defaults))
        asked = {**BASE, "prompt_text": "Bob says.", "prompt_lang": "en"}
        for _ in range(200):
            assert (await server.client.get("/tts", params=asked)).status_code == 200
            if spoken(server).reference.audio.key == call.recording:
                break
        assert spoken(server).reference.audio.key == call.recording

        bad = await server.client.get("/set_refer_audio")
        assert (bad.status_code, bad.json()["message"]) == (400, "set refer audio failed")

    run(job, ApiConfig(allowed_paths=str(tmp_path)))


def test_control_is_off_unless_configured_and_needs_a_supervisor() -> None:
    """404 by default; under a foreign server it says so."""

    async def off(server: Running) -> None:
        answer = await server.client.get("/control", params={"command": "exit"})
        assert answer.status_code == 404

    async def on(server: Running) -> None:
        get = server.client.get
        assert (await get("/control")).json()["message"] == "command is required"
        assert (await get("/control", params={"command": "dance"})).status_code == 400
        assert (await get("/control", params={"command": "exit"})).status_code == 501

    run(off)
    run(on, ApiConfig(control=True))


def test_small_routes_answer() -> None:
    """What clients probe before they begin."""

    async def job(server: Running) -> None:
        assert (await server.client.get("/ping")).status_code == 200
        assert (await server.client.head("/ping")).status_code == 200
        root = await server.client.get("/")
        assert root.json()["name"] == "sovits-serve"
        for method in ("OPTIONS", "DELETE", "HEAD"):
            refused = await server.client.request(method, "/tts")
            assert refused.status_code in {400, 405}
            assert "GET" in refused.headers["allow"]
        document = (await server.client.get("/openapi.json")).json()
        names = [one["name"] for one in document["paths"]["/tts"]["get"]["parameters"]]
        assert {"text", "text_lang", "ref_audio_path", "streaming_mode"} <= set(names)
        body = document["paths"]["/tts"]["post"]["requestBody"]["content"]["application/json"]
        assert body["schema"]["required"] == ["text", "text_lang"]
        assert body["example"]

    run(job)
