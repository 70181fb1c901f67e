"""Requests as existing programs send them, to a whole server with fake engines."""

import io
import json
import socket
import wave
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from tests.clients.calls import CALLS, CHINESE, NOT_YET, Call
from tests.clients.conftest import API_KEY
from tests.clients.listening import Pcm, check_length, with_ffmpeg, with_libsndfile
from tests.clients.whole_server import ORIGIN, RATE_HZ, VOICES, WholeServer

_PCM_RATE_HZ = 24_000  # of OpenAI's pcm
_JSON_HEADERS = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"}


@pytest.fixture
def client(server: WholeServer) -> Iterator[httpx.Client]:
    """Return a client of the open server."""
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as one:
        yield one


def send(client: httpx.Client, call: Call, server: WholeServer) -> httpx.Response:
    """Send a call as its program does."""
    fields = call.filled(str(server.recordings))
    if call.method == "GET":
        query = {name: str(value) for name, value in fields.items()}
        return client.get(call.path, params=query, headers=dict(call.headers))
    return client.post(call.path, json=fields, headers=dict(call.headers))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.client)
def test_who_asks_is_answered(call: Call, server: WholeServer, client: httpx.Client) -> None:
    """Status, content type, and audio that is the words, all of them, in the voice asked for."""
    answer = send(client, call, server)

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == call.content_type
    pcm = server.expected(call.words, call.speaker, int(answer.headers["x-seed"]))
    check_audio(call.kind, answer.content, pcm)


def check_audio(kind: str, content: bytes, pcm: bytes) -> None:
    """Check that a body is what was to be said: to the bit where the format is exact."""
    expected_s = len(pcm) / 2 / RATE_HZ
    match kind:
        case "raw":
            assert content == pcm
        case "wav":
            heard, rate_hz = with_libsndfile(content)
            assert (rate_hz, heard.tobytes()) == (RATE_HZ, pcm)
            assert with_ffmpeg(content)[0].tobytes() == pcm
        case "pcm":
            check_length(kind, len(content) // 2, _PCM_RATE_HZ, expected_s)
        case "ogg files":
            check_length(kind, len(with_ffmpeg(content)[0]), RATE_HZ, expected_s)
        case _:
            heard, rate_hz = with_libsndfile(content)
            check_length(kind, len(heard), rate_hz, expected_s)
            assert correlation(heard, pcm) > 0.5


def correlation(heard: Pcm, pcm: bytes) -> float:
    """Return how alike two sounds are, wherever the first begins within an eighth of a second."""
    wanted = np.frombuffer(pcm, dtype="<i2").astype(float)
    size = 1 << (len(heard) + len(wanted)).bit_length()
    spectrum = np.fft.rfft(heard.astype(float), size) * np.conj(np.fft.rfft(wanted, size))
    scores = np.fft.irfft(spectrum, size)[: RATE_HZ // 8]
    norm = np.linalg.norm(wanted) * np.linalg.norm(heard.astype(float))
    return float(scores.max() / norm)


def test_a_browser_may_call_and_read(client: httpx.Client) -> None:
    """SillyTavern's page asks first (CORS), and may read answers, errors as well."""
    asked = {
        **_JSON_HEADERS,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = client.options("/", headers=asked)
    speakers = client.get("/speakers", headers=_JSON_HEADERS)
    refused = client.post("/", json={"text": "Hi"}, headers=_JSON_HEADERS)

    assert preflight.status_code == 200
    assert "content-type" in preflight.headers["access-control-allow-headers"].lower()
    for answer in (preflight, speakers, refused):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert refused.status_code == 400


def test_another_page_may_not_read(client: httpx.Client) -> None:
    """CORS is for the origins that were named."""
    answer = client.get("/speakers", headers={"Origin": "http://evil.example"})

    assert "access-control-allow-origin" not in answer.headers


def test_sillytavern_finds_its_voices(client: httpx.Client) -> None:
    """A bare list of names and ids; the ids are what it makes paths of."""
    speakers = client.get("/speakers").json()

    assert speakers == [{"name": name, "voice_id": name} for name in VOICES]


def test_sillytavern_gets_one_file(server: WholeServer, client: httpx.Client) -> None:
    """It plays the body as it is: a second Ogg stream after the first would not be heard."""
    call = next(call for call in CALLS if call.path == "/")
    content = send(client, call, server).content

    assert content.count(b"\x01vorbis") == 1


@pytest.mark.parametrize("base", ["/v1", ""])
def test_open_webui_with_a_key(base: str, keyed_server: WholeServer) -> None:
    """Lists come without the key, speech with it, mp3 when nothing is said of a format."""
    asked = {"model": "tts-1", "input": CHINESE, "voice": "bob"}
    with httpx.Client(base_url=f"{keyed_server.url}{base}", timeout=30, trust_env=False) as client:
        models = client.get("/audio/models").json()["models"]
        voices = client.get("/audio/voices").json()["voices"]
        refused = client.post("/audio/speech", json=asked)
        headers = {"Authorization": f"Bearer {API_KEY}", "X-OpenWebUI-User-Name": "someone"}
        spoken = client.post("/audio/speech", json=asked, headers=headers)

    assert [model["id"] for model in models] == ["default"]
    assert {voice["id"]: voice["name"] for voice in voices} == {name: name for name in VOICES}
    assert refused.status_code == 401
    assert "Authorization" in refused.json()["error"]["message"]
    assert spoken.status_code == 200
    assert spoken.headers["content-type"] == "audio/mpeg"
    assert with_libsndfile(spoken.content)[1] == RATE_HZ


def test_open_webui_shows_why(client: httpx.Client) -> None:
    """It reads the message out of the error."""
    asked = {"model": "tts-1", "input": "Hello.", "voice": "nobody"}
    answer = client.post("/v1/audio/speech", json=asked)

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == (
        "voice: 'nobody' is not known; there is alice, bob, default"
    )


@pytest.mark.parametrize(
    "path", ["/srv/pyvideotrans/f5-tts/clone-1.wav", "C:\\videos\\tmp\\clone-1.wav", "clone-1.wav"]
)
def test_a_recording_of_another_machine_is_refused_with_advice(
    path: str, client: httpx.Client
) -> None:
    """pyvideotrans names a file of its own machine: 400, and what to do instead."""
    asked = {
        "text": CHINESE,
        "text_lang": "zh",
        "ref_audio_path": path,
        "prompt_text": "你好",
        "prompt_lang": "zh",
        "speed_factor": 1.0,
        "text_split_method": "cut5",
    }
    answer = client.post("/tts", json=asked)

    reason = answer.json()["Exception"]
    assert answer.status_code == 400
    assert reason.startswith("ref_audio_path: ")
    assert "allowed_paths" in reason
    assert "the name of a voice in its place (alice, bob, default)" in reason


def test_livetalking_reads_a_file_from_every_chunk(server: WholeServer) -> None:
    """Each HTTP chunk is one whole OGG file of one sentence; together they are all of the words."""
    call = next(call for call in CALLS if call.client.startswith("LiveTalking"))
    with chunked(server, call) as (seed, chunks):
        heard = [with_libsndfile(chunk) for chunk in chunks]

    pcm = server.expected(call.words, call.speaker, seed)
    assert len(heard) > 1
    assert all(chunk.count(b"\x01vorbis") == 1 for chunk in chunks)
    assert {rate_hz for _, rate_hz in heard} == {RATE_HZ}
    assert sum(len(samples) for samples, _ in heard) == len(pcm) // 2


@contextmanager
def chunked(server: WholeServer, call: Call) -> Iterator[tuple[int, list[bytes]]]:
    """POST over a plain socket; give the seed and the chunks as they were sent."""
    body = json.dumps(call.filled(str(server.recordings))).encode()
    head = (
        f"{call.method} {call.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(head.encode() + body)
        status, *lines = iter(answer.readline, b"\r\n")
        headers = dict(line.decode().lower().strip().split(": ", 1) for line in lines)
        assert status.startswith(b"HTTP/1.1 200"), answer.read()
        assert headers["transfer-encoding"] == "chunked"
        chunks = []
        while size := int(answer.readline(), 16):
            chunks.append(answer.read(size))
            assert answer.read(2) == b"\r\n"
        yield int(headers["x-seed"]), chunks


def test_a_streamed_wav_is_read_by_wave(server: WholeServer, client: httpx.Client) -> None:
    """What Open-LLM-VTuber saves of a stream is a file that Python's own module opens."""
    call = next(call for call in CALLS if "defaults of the class" in call.client)
    answer = send(client, call, server)

    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
        assert answer.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/ping", 200), ("/", 200), ("/docs", 200), ("/tts", 400), ("/v1/models", 200)],
)
def test_probes_find_a_living_server(path: str, status: int, client: httpx.Client) -> None:
    """VideoLingo, Shinsekai, VoiceStudio and livekit ask for these before they begin."""
    assert client.get(path).status_code == status


@pytest.mark.parametrize("method", ["OPTIONS", "DELETE", "PUT"])
@pytest.mark.parametrize("path", ["/tts", "/tts/", "/set_gpt_weights", "/"])
def test_methods_that_are_not_served_say_so(method: str, path: str, client: httpx.Client) -> None:
    """405 as upstream, in api_v2's words, with the methods that there are."""
    answer = client.request(method, path)

    assert answer.status_code == 405
    assert answer.json().keys() == {"message", "Exception", "code"}
    assert answer.json()["code"] == "method_not_allowed"
    others = {"/": "GET, HEAD, POST", "/set_gpt_weights": "GET"}
    assert answer.headers["allow"] == others.get(path, "GET, POST")


@pytest.mark.parametrize("name", NOT_YET)
def test_dialects_that_are_not_served_are_refused(name: str, client: httpx.Client) -> None:
    """400 that names a field and says what to send; no silence, and nobody else's voice."""
    method, path, fields, named = NOT_YET[name]
    if method == "GET":
        query = {field: str(value) for field, value in fields.items()}
        answer = client.get(path, params=query)
    else:
        answer = client.post(path, json=dict(fields))

    assert answer.status_code == 400
    assert named in answer.json()["message"]
