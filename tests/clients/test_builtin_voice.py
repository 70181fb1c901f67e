"""The first command as it is, the official client, and what a person then hears: the built-in voice."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from openai import OpenAI

from sovits_serve.builtin import VOICES
from tests.clients.listening import with_ffmpeg, with_libsndfile
from tests.clients.whole_server import RATE_HZ, WholeServer, whole_server

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(300)]

# With the seconds that they take, at most and at least, from a hasty to a slow speaker.
_ENGLISH = ("Hello, and welcome to this place.", 1.2, 4.5)
_MANDARIN = ("你好，欢迎来到这里。", 1.2, 4.5)
_LOUDNESS_DB = (-35.0, -12.0)  # of the whole, pauses included, below full scale


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeServer]:
    """Start a server that was given no model."""
    directory = tmp_path_factory.mktemp("builtin")
    with whole_server(directory, {}, has_fake_engines=False) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: WholeServer) -> Iterator[OpenAI]:
    """Return a client of it."""
    base_url = f"{server.url}/v1"
    with OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=120) as one:
        yield one


def speak(client: OpenAI, text: str, voice: str, *, seed: int = 1) -> NDArray[np.int16]:
    """Return what a voice says as a whole wav file."""
    speech = client.audio.speech.create(
        model="tts-1",
        voice=voice,
        input=text,
        response_format="wav",
        extra_body={"seed": seed, "stream": False},
    )
    samples, rate_hz = with_libsndfile(speech.content)
    assert rate_hz == RATE_HZ
    return samples


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize(("text", "shortest_s", "longest_s"), [_ENGLISH, _MANDARIN])
def test_each_voice_speaks_english_and_mandarin(
    client: OpenAI, voice: str, text: str, shortest_s: float, longest_s: float
) -> None:
    """As long as such a sentence takes, and as loud as speech is: neither silent nor clipped."""
    samples = speak(client, text, voice)

    level = samples.astype(np.float64) / 32_768
    loudness_db = 10 * np.log10(np.mean(level**2))
    assert shortest_s < len(samples) / RATE_HZ < longest_s
    assert _LOUDNESS_DB[0] < loudness_db < _LOUDNESS_DB[1]
    assert np.abs(level).max() < 0.999


def test_its_voices_are_listed_and_openais_names_are_some_of_them(
    client: OpenAI, server: WholeServer
) -> None:
    """The announcement and the list have all of them; alloy is Ada and echo is Max."""
    listed = client.get("/audio/voices", cast_to=dict[str, list[dict[str, object]]])
    same = {
        alias: np.array_equal(speak(client, "Hello.", alias), speak(client, "Hello.", voice))
        for alias, voice in (("alloy", "ada-en"), ("echo", "max-en"))
    }

    assert {str(voice["id"]) for voice in listed["voices"]} == set(VOICES)
    assert [voice["id"] for voice in listed["voices"] if voice["is_default"]] == ["default"]
    assert same == {"alloy": True, "echo": True}
    assert not np.array_equal(speak(client, "Hello.", "alloy"), speak(client, "Hello.", "echo"))
    assert "the built-in one speaks" in server.log.read_text()


@pytest.mark.parametrize("text", [_ENGLISH[0], _MANDARIN[0]])
def test_streamed_speech_is_the_same_speech(client: OpenAI, text: str) -> None:
    """One seed, asked for as a stream of mp3 and as a file: equally long."""
    lengths_s = []
    for is_streaming in (True, False):
        speech = client.audio.speech.create(
            model="tts-1",
            voice="default",
            input=text,
            extra_body={"seed": 2, "stream": is_streaming},
        )
        samples, rate_hz = with_ffmpeg(speech.content)
        lengths_s.append(len(samples) / rate_hz)

    assert lengths_s[0] > 1.0
    assert lengths_s[0] == pytest.approx(lengths_s[1], abs=0.1)


def test_speed_is_heard(client: OpenAI) -> None:
    """Twice as fast is about half as long."""
    lengths = {}
    for speed in (1.0, 2.0):
        speech = client.audio.speech.create(
            model="tts-1",
            voice="alloy",
            input=_ENGLISH[0],
            speed=speed,
            response_format="pcm",
            extra_body={"seed": 3},
        )
        lengths[speed] = len(speech.content)

    assert lengths[2.0] / lengths[1.0] == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("seed", range(6))
def test_the_first_command_says_both_of_its_sentences(client: OpenAI, seed: int) -> None:
    """English and Mandarin in one text, as in the README: neither half is left out."""
    samples = speak(client, "Hello, world! 你好，世界。", "default", seed=seed)

    assert 2.3 < len(samples) / RATE_HZ < 4.5
