"""The official client, unchanged, against a whole server with fake engines."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.clients.calls import CHINESE, ENGLISH
from tests.clients.conftest import API_KEY, OTHER_KEY
from tests.clients.listening import check_length, with_ffmpeg, with_libsndfile
from tests.clients.whole_server import RATE_HZ, WholeServer, Words

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
_PCM_RATE_HZ = 24_000
_TYPES: dict[Format, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_LONG = " ".join(f"This is sentence number {n}, and there are some more." for n in range(160))


@pytest.fixture
def client(server: WholeServer) -> Iterator[OpenAI]:
    """Return a client of the open server that does not try again."""
    with make_client(server) as one:
        yield one


def make_client(server: WholeServer, key: str = "none", max_retries: int = 0) -> OpenAI:
    """Return a client."""
    return OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=max_retries, timeout=30)


def length_s(server: WholeServer, text: str) -> float:
    """Return how long the fake engines speak a text."""
    return len(server.expected(Words(text), "default", 0)) / 2 / RATE_HZ


def decoded(kind: Format, data: bytes) -> tuple[int, int]:
    """Return the number of samples and their rate."""
    if kind == "pcm":
        return len(data) // 2, _PCM_RATE_HZ
    samples, rate_hz = with_ffmpeg(data)
    return len(samples), rate_hz


@pytest.mark.parametrize("kind", _TYPES)
def test_every_format_is_all_of_the_speech(
    kind: Format, server: WholeServer, client: OpenAI
) -> None:
    """``create`` gives a body of the right kind that decodes to the right length."""
    speech = client.audio.speech.create(
        model="tts-1", voice="alloy", input=ENGLISH, response_format=kind
    )

    assert speech.response.headers["content-type"] == _TYPES[kind]
    check_length(kind, *decoded(kind, speech.content), length_s(server, ENGLISH))


@pytest.mark.parametrize("kind", _TYPES)
def test_every_format_can_be_streamed(kind: Format, server: WholeServer, client: OpenAI) -> None:
    """``with_streaming_response`` gives the same in pieces; a flac waits until it is whole."""
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="nova", input=CHINESE, response_format=kind
    ) as response:
        pieces = list(response.iter_bytes())

    assert ("transfer-encoding" in response.headers) is (kind != "flac")
    check_length(kind, *decoded(kind, b"".join(pieces)), length_s(server, CHINESE))


def test_a_flac_says_how_long_it_is(server: WholeServer, client: OpenAI) -> None:
    """``create`` asks for no stream: libsndfile reads to the end, to the bit."""
    speech = client.audio.speech.create(
        model="tts-1", voice="bob", input=ENGLISH, response_format="flac"
    )

    heard, _ = with_libsndfile(speech.content)
    pcm = server.expected(Words(ENGLISH), "bob", int(speech.response.headers["x-seed"]))
    assert int(speech.response.headers["content-length"]) == len(speech.content)
    assert heard.tobytes() == pcm


def test_a_flac_that_is_asked_for_as_a_stream_says_that_its_length_is_unknown(
    server: WholeServer, client: OpenAI
) -> None:
    """0 samples in its header, as the format has it; FFmpeg and browsers read on to the end."""
    with client.audio.speech.with_streaming_response.create(
        model="tts-1",
        voice="bob",
        input=ENGLISH,
        response_format="flac",
        extra_body={"stream": True},
    ) as response:
        data = response.read()

    total_samples = int.from_bytes(data[18:26], "big") & ((1 << 36) - 1)
    pcm = server.expected(Words(ENGLISH), "bob", int(response.headers["x-seed"]))
    assert response.headers["transfer-encoding"] == "chunked"
    assert (data[:4], total_samples) == (b"fLaC", 0)
    assert with_ffmpeg(data)[0].tobytes() == pcm


def test_without_a_format_it_is_mp3(server: WholeServer, client: OpenAI) -> None:
    """As OpenAI's."""
    speech = client.audio.speech.create(model="tts-1", voice="alloy", input=ENGLISH)

    samples, rate_hz = with_libsndfile(speech.content)
    assert speech.response.headers["content-type"] == "audio/mpeg"
    check_length("mp3", len(samples), rate_hz, length_s(server, ENGLISH))


@pytest.mark.parametrize(
    ("voice", "speaker"),
    [("bob", "bob"), ({"id": "alice"}, "alice"), ("Alice", "alice"), ("alloy", "default")],
)
def test_the_voice_asked_for_speaks(
    voice: str, speaker: str, server: WholeServer, client: OpenAI
) -> None:
    """A name, a custom voice's id, or one of OpenAI's names, which are the default voice."""
    speech = client.audio.speech.create(
        model="tts-1", voice=voice, input=CHINESE, response_format="wav", speed=1.25
    )

    seed = int(speech.response.headers["x-seed"])
    heard, _ = with_libsndfile(speech.content)
    assert heard.tobytes() == server.expected(Words(CHINESE), speaker, seed)


def test_extra_fields_are_taken(server: WholeServer, client: OpenAI) -> None:
    """``extra_body`` reaches what OpenAI has not: seed, language, the way text is cut."""
    words = Words(ENGLISH, "en", "cut5")
    extra = {"seed": 7, "language": "en", "text_split_method": "cut5", "stream": False}
    speech = client.audio.speech.create(
        model="tts-1", voice="bob", input=ENGLISH, response_format="flac", extra_body=extra
    )

    heard, _ = with_libsndfile(speech.content)  # a file that is not streamed has its length in it
    assert heard.tobytes() == server.expected(words, "bob", 7)


def test_events_are_speech(server: WholeServer, client: OpenAI) -> None:
    """``stream_format="sse"``: deltas that make a file, and one done; as livekit asks."""
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="ash",
        input=ENGLISH,
        response_format="mp3",
        stream_format="sse",
    ) as response:
        lines = [line for line in response.iter_lines() if line]

    assert response.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] > 0
    check_length("mp3", *decoded("mp3", audio), length_s(server, ENGLISH))


def test_async_clients_share_the_server(server: WholeServer) -> None:
    """Eight at a time, as pipecat asks for pcm at 24 kHz; each gets all of its own words."""
    texts = [f"{CHINESE}这是第{index}句。" for index in range(8)]

    async def speak(client: AsyncOpenAI, text: str) -> int:
        async with client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", voice="sage", input=text, response_format="pcm"
        ) as response:
            assert response.headers["x-sample-rate"] == str(_PCM_RATE_HZ)
            return len(b"".join([piece async for piece in response.iter_bytes(1024)])) // 2

    async def main() -> list[int]:
        url = f"{server.url}/v1"
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(speak(client, text) for text in texts))

    for text, num_samples in zip(texts, asyncio.run(main()), strict=True):
        check_length("pcm", num_samples, _PCM_RATE_HZ, length_s(server, text))


def test_a_file_can_be_written(
    server: WholeServer, client: OpenAI, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """``write_to_file`` and ``stream_to_file`` leave files that play."""
    directory = tmp_path_factory.mktemp("files")
    client.audio.speech.create(model="tts-1", voice="alloy", input=ENGLISH).write_to_file(
        directory / "whole.mp3"
    )
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=ENGLISH
    ) as response:
        response.stream_to_file(directory / "streamed.mp3")

    for path in directory.iterdir():
        samples, rate_hz = with_libsndfile(path.read_bytes())
        check_length("mp3", len(samples), rate_hz, length_s(server, ENGLISH))


def test_models_are_listed(client: OpenAI) -> None:
    """``models.list`` and ``models.retrieve`` know what is loaded; another is not found."""
    assert [model.id for model in client.models.list()] == ["default"]
    assert client.models.retrieve("default").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")


@pytest.mark.parametrize(
    ("fields", "kind", "code", "param"),
    [
        ({"voice": "nobody"}, openai.NotFoundError, "unknown_voice", "voice"),
        ({"voice": {"id": "nobody"}}, openai.NotFoundError, "unknown_voice", "voice"),
        ({"input": ""}, openai.BadRequestError, "invalid_request", "input"),
        ({"speed": 9.0}, openai.BadRequestError, "invalid_request", "speed"),
        ({"response_format": "midi"}, openai.BadRequestError, "invalid_request", "response_format"),
        ({"input": "a" * 60_000}, openai.APIStatusError, "text_too_long", "input"),
    ],
)
def test_mistakes_are_the_clients_own_errors(
    fields: dict[str, object],
    kind: type[openai.APIStatusError],
    code: str,
    param: str,
    client: OpenAI,
) -> None:
    """The class that programs catch, with code, field and a message that says what is allowed."""
    with pytest.raises(kind) as caught:
        client.audio.speech.create(model="tts-1", voice="alloy", input=ENGLISH, extra_body=fields)

    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.type == "invalid_request_error"
    assert param in caught.value.message


def test_a_wrong_key_is_an_authentication_error(keyed_server: WholeServer) -> None:
    """And the right one speaks."""
    asked = {"model": "tts-1", "voice": "alloy", "input": "Hello."}
    with (
        make_client(keyed_server, "sk-wrong") as wrong,
        make_client(keyed_server, API_KEY) as right,
    ):
        with pytest.raises(openai.AuthenticationError) as caught:
            wrong.audio.speech.create(**asked)  # type: ignore[arg-type]  # plain strings
        speech = right.audio.speech.create(**asked)  # type: ignore[arg-type]  # as above

    assert caught.value.code == "invalid_api_key"
    assert len(speech.content) > 500


def test_a_full_queue_is_a_rate_limit_that_passes(keyed_server: WholeServer) -> None:
    """429 with Retry-After while a key has all it may have; the client's own retries get through."""
    with make_client(keyed_server, OTHER_KEY) as busy, make_client(keyed_server, OTHER_KEY) as late:
        with busy.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=_LONG, response_format="wav"
        ) as held:
            next(iter(held.iter_bytes(1000)))
            with pytest.raises(openai.RateLimitError) as caught:
                late.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
        # The stream was left before its end, which frees its place.
        patient = late.with_options(max_retries=4)
        speech = patient.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")

    assert caught.value.code == "too_many_requests"
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert len(speech.content) > 500
