"""From what clients ask for to what engines get."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sovits_serve.api import speech
from sovits_serve.api.engine_client import EngineClient
from sovits_serve.api.recordings import Recordings
from sovits_serve.api.speech import SpeechBuilder, SpeechInput
from sovits_serve.audio.decode import AudioLimits, Waveform, decode_audio
from sovits_serve.config import ApiConfig, FrontendConfig
from sovits_serve.errors import (
    BadReferenceAudio,
    InvalidRequest,
    NotReady,
    ServingError,
    TextTooLong,
    UnknownModel,
    UnknownVoice,
    UnsupportedLanguage,
)
from sovits_serve.protocol.messages import Defaults, ModelInfo, ReferenceAudio, Status
from sovits_serve.voices.registry import VoiceRegistry
from tests.api.app_server import recording, warm_texts
from tests.api.fake_dispatcher import MODEL

ASKED = SpeechInput("Hello there.", voice="anna")
VOICE = """
text = "I am Anna."
language = "en"
[defaults]
speed = 1.5
seed = 7
top_k = 3
"""


@dataclass
class Setup:
    """A builder, and how often it decoded."""

    builder: SpeechBuilder
    decoded: list[int]

    def set_status(self, status: Status) -> None:
        """Let the client have a status as if the dispatcher had said it."""
        client: Any = self.builder.client
        client._status = status
        client._heard_s = asyncio.get_running_loop().time()


@asynccontextmanager
async def _builder(directory: Path, frontend: FrontendConfig | None = None) -> AsyncIterator[Setup]:
    (directory / "anna.wav").write_bytes(recording(seed=1))
    (directory / "anna.toml").write_text(VOICE)
    decoded: list[int] = []

    def decode(data: bytes, limits: AudioLimits) -> Waveform:
        decoded.append(len(data))
        return decode_audio(data, limits)

    client = EngineClient("ipc:///nowhere", "w0")
    builder = SpeechBuilder(
        client,
        VoiceRegistry(directory),
        ApiConfig(),
        frontend or FrontendConfig(),
        Recordings(decode),
    )
    if frontend is None:
        builder.texts = warm_texts()
    setup = Setup(builder, decoded)
    setup.set_status(Status(1, "ready", "", models=(MODEL,), defaults=Defaults(MODEL.name)))
    try:
        yield setup
    finally:
        await builder.stop()


def _run(
    directory: Path,
    test: Callable[[Setup], Awaitable[None]],
    frontend: FrontendConfig | None = None,
) -> None:
    async def main() -> None:
        async with _builder(directory, frontend) as setup:
            await test(setup)

    asyncio.run(main())


def _replace(asked: SpeechInput, **changes: Any) -> SpeechInput:
    return SpeechInput(**{**asked.__dict__, **changes})


def test_voice_gives_what_the_request_does_not_say(tmp_path: Path) -> None:
    """A voice's transcript and defaults are used; what the request says goes first."""

    async def test(setup: Setup) -> None:
        usual = await setup.builder.build(ASKED, "r1")
        own = await setup.builder.build(
            _replace(ASKED, speed=1.0, seed=8, top_k=0, prompt_text=""), "r2"
        )

        assert usual.request.reference.prompt_text is not None
        assert usual.request.reference.prompt_text.text == "I am Anna."
        assert (usual.request.speed, usual.seed, usual.request.sampling.top_k) == (1.5, 7, 3)
        assert (own.request.speed, own.seed, own.request.sampling.top_k) == (1.0, 8, None)
        assert own.request.reference.prompt_text is None

    _run(tmp_path, test)


def test_request_names_recordings_by_key(tmp_path: Path) -> None:
    """Samples travel beside the request, once, under the key that it names."""

    async def test(setup: Setup) -> None:
        prepared = await setup.builder.build(ASKED, "r1")
        key = prepared.request.reference.audio.key

        assert prepared.request.reference.audio.samples == b""
        assert set(prepared.recordings) == {key}
        assert prepared.recordings[key].samples
        assert prepared.cost == sum(len(one.phone_ids) for one in prepared.request.segments)
        assert (prepared.sample_rate_hz, prepared.num_characters) == (32_000, len(ASKED.text))

    _run(tmp_path, test)


def test_recordings_are_decoded_once(tmp_path: Path) -> None:
    """Twenty requests at a time with one recording decode it once; a changed file again."""

    async def test(setup: Setup) -> None:
        build = setup.builder.build
        await asyncio.gather(*(build(ASKED, f"r{number}") for number in range(20)))
        data = recording(seed=1)
        await build(_replace(ASKED, voice=None, reference=data), "sent")
        assert len(setup.decoded) == 1
        (tmp_path / "anna.wav").write_bytes(recording(seconds=4, seed=2))
        await build(ASKED, "changed")

        assert len(setup.decoded) == 2

    _run(tmp_path, test)


def test_the_recordings_of_one_request_are_bounded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few bytes of a file can be much sound: what they become is counted, before it is sent."""
    monkeypatch.setattr(speech, "_MAX_DECODED_BYTES", 3 * 4 * 16_000 * 4)

    async def test(setup: Setup) -> None:
        sent = [recording(seconds=4, seed=seed) for seed in range(4)]
        asked = _replace(ASKED, voice=None, reference=sent[0])
        await setup.builder.build(_replace(asked, auxiliary=tuple(sent[1:3])), "fits")
        with pytest.raises(BadReferenceAudio, match=r"^auxiliary\[2\]: .* at most 768000"):
            await setup.builder.build(_replace(asked, auxiliary=tuple(sent[1:])), "r2")

    _run(tmp_path, test)


def test_few_requests_hold_recordings_while_others_wait(tmp_path: Path) -> None:
    """A crowd with several recordings each does not decode all the first ones ahead."""

    async def test(setup: Setup) -> None:
        held, most = 0, 0
        from_bytes = setup.builder.recordings.from_bytes

        async def watched(data: bytes, name: str) -> ReferenceAudio:
            nonlocal held, most
            held += 1 if name == "reference" else 0
            most = max(most, held)
            audio = await from_bytes(data, name)
            held -= 1 if name == "auxiliary[0]" else 0
            return audio

        setup.builder.recordings.from_bytes = watched  # type: ignore[method-assign]
        sent = [recording(seed=seed) for seed in range(40)]
        crowd = [
            _replace(ASKED, voice=None, reference=sent[n], auxiliary=(sent[n + 20],))
            for n in range(20)
        ]
        await asyncio.gather(*(setup.builder.build(one, f"r{n}") for n, one in enumerate(crowd)))

        assert most == 4
        assert len(setup.decoded) == 40

    _run(tmp_path, test)


def test_one_that_gives_up_does_not_stop_the_others(tmp_path: Path) -> None:
    """A cancelled request leaves the decoding to those who wait for the same recording."""

    async def test(setup: Setup) -> None:
        tasks = [asyncio.create_task(setup.builder.build(ASKED, f"r{n}")) for n in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert isinstance(results[0], asyncio.CancelledError)
        assert not any(isinstance(result, BaseException) for result in results[1:])
        assert len(setup.decoded) == 1

    _run(tmp_path, test)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"voice": "nobody"}, UnknownVoice, "anna"),
        ({"model": "nothing"}, UnknownModel, "tiny"),
        ({"text": " "}, InvalidRequest, "text"),
        ({"text": "..."}, InvalidRequest, "text"),
        ({"text": "a" * 50_001}, TextTooLong, "50000"),
        ({"language": "xx"}, InvalidRequest, "language"),
        ({"cut": "cut7"}, InvalidRequest, "cut"),
        ({"speed": 0.0}, InvalidRequest, "speed: 0.0 is not between 0.25 and 4.0"),
        ({"speed": float("nan")}, InvalidRequest, "speed"),
        ({"segment_pause_s": -1.0}, InvalidRequest, "segment_pause_s"),
        ({"top_k": -1}, InvalidRequest, "top_k"),
        ({"top_k": 10**26}, InvalidRequest, "top_k"),
        ({"top_p": 1.5}, InvalidRequest, "top_p"),
        ({"temperature": -0.1}, InvalidRequest, "temperature"),
        ({"repetition_penalty": 0.0}, InvalidRequest, "repetition_penalty"),
        ({"max_tokens": 0}, InvalidRequest, "max_tokens"),
        ({"seed": 2**63}, InvalidRequest, "seed"),
        (
            {"early_tokens": 7},
            InvalidRequest,
            "early_tokens: 7 is neither 0 nor between 8 and 1000",
        ),
        ({"early_tokens": -1}, InvalidRequest, "early_tokens"),
        ({"early_tokens": 1001}, InvalidRequest, "early_tokens"),
        ({"priority": "urgent"}, InvalidRequest, "priority: 'urgent'"),
        ({"timeout_s": 0.0}, InvalidRequest, "timeout_s"),
        ({"timeout_s": 601.0}, InvalidRequest, "600"),
        ({"reference": b""}, BadReferenceAudio, "reference: is empty"),
        ({"reference": b"nothing"}, BadReferenceAudio, "reference"),
        ({"auxiliary": (b"x",)}, InvalidRequest, "auxiliary"),
        (
            {"reference": b"x", "auxiliary": (b"x",) * 5},
            InvalidRequest,
            "auxiliary: 5 recordings; at most 4",
        ),
        ({"prompt_text": "!"}, InvalidRequest, "prompt_text"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, changes: dict[str, Any], kind: type[ServingError], message: str
) -> None:
    """Every field is checked before anything is submitted; nothing becomes a default."""

    async def test(setup: Setup) -> None:
        with pytest.raises(kind) as caught:
            await setup.builder.build(_replace(ASKED, **changes), "r1")

        assert message in caught.value.message

    _run(tmp_path, test)


def test_no_model_yet_is_not_ready(tmp_path: Path) -> None:
    """Before an engine has loaded a model the request is refused, with the server's reason."""

    async def test(setup: Setup) -> None:
        setup.set_status(Status(1, "starting", "loading 40 %", retry_after_s=7))
        with pytest.raises(NotReady, match="loading 40 %") as caught:
            await setup.builder.build(ASKED, "r1")

        assert caught.value.retry_after_s == 7

    _run(tmp_path, test)


def test_models_decide_which_languages_there_are(tmp_path: Path) -> None:
    """What a model cannot speak is refused here already: Korean by v1, Chinese without BERT."""

    async def test(setup: Setup) -> None:
        old = ModelInfo("old", "v1", "v1", 32_000, can_read_chinese=False)
        setup.set_status(Status(2, "ready", "", models=(MODEL, old), defaults=Defaults("old")))
        prepared = await setup.builder.build(ASKED, "r1")
        named = await setup.builder.build(_replace(ASKED, model="tiny"), "r2")

        assert (prepared.request.model, named.request.model) == ("old", "tiny")
        with pytest.raises(InvalidRequest, match="without BERT"):
            await setup.builder.build(_replace(ASKED, text="你好。"), "r3")
        with pytest.raises(UnsupportedLanguage):
            await setup.builder.build(_replace(ASKED, language="ko"), "r4")
        assert (await setup.builder.build(_replace(ASKED, text="你好。", model="tiny"), "r5")).cost

    _run(tmp_path, test)


def test_default_reference_of_the_server_goes_before_the_default_voice(tmp_path: Path) -> None:
    """What SwitchReference has set is used by requests that name nothing."""

    async def test(setup: Setup) -> None:
        status = Status(2, "ready", "", models=(MODEL,), defaults=Defaults("tiny", "key", "x.wav"))
        setup.set_status(status)
        unnamed = await setup.builder.build(_replace(ASKED, voice=None), "r1")
        named = await setup.builder.build(ASKED, "r2")

        setup.builder.voices = VoiceRegistry(None)
        alias = await setup.builder.build(_replace(ASKED, voice="alloy"), "r3")

        assert unnamed.request.reference.audio.key == "key"
        assert alias.request.reference.audio.key == "key"
        assert not unnamed.recordings
        assert named.request.reference.audio.key != "key"

    _run(tmp_path, test)


def test_no_voice_at_all_says_what_to_do(tmp_path: Path) -> None:
    """Without a default voice a request needs a reference; the message says so."""

    async def test(setup: Setup) -> None:
        setup.builder.voices = VoiceRegistry(None)
        with pytest.raises(InvalidRequest, match="send a reference"):
            await setup.builder.build(_replace(ASKED, voice=None), "r1")
        with_own = _replace(ASKED, voice=None, reference=recording())
        assert (await setup.builder.build(with_own, "r2")).recordings

    _run(tmp_path, test)


def test_long_text_leaves_the_loop_free(tmp_path: Path) -> None:
    """While a book is read, the loop turns, and a short text is not behind the book."""

    async def test(setup: Setup) -> None:
        await setup.builder.build(ASKED, "warm")
        book = "The quick brown fox jumps over the lazy dog. " * 1000
        num_turns = 0
        reading = asyncio.create_task(setup.builder.build(_replace(ASKED, text=book), "book"))
        await asyncio.sleep(0)
        short = await setup.builder.build(_replace(ASKED, text="Another short text."), "short")
        assert not reading.done()
        while not reading.done():
            await asyncio.sleep(0)
            num_turns += 1

        assert short.cost
        assert (await reading).cost > 10_000
        assert num_turns > 100  # tens of thousands where nobody else is

    _run(tmp_path, test)


def test_changed_dictionary_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read with an old dictionary, also right after the change, is not remembered."""
    monkeypatch.setattr("sovits_serve.frontend.user_dictionary._CHECK_INTERVAL_S", 0.2)
    monkeypatch.setattr("sovits_serve.api.texts._SETTLE_S", 0.3)
    dictionary = tmp_path / "words.txt"
    dictionary.write_text("")

    async def test(setup: Setup) -> None:
        asked = _replace(ASKED, text="Say zorbix.")
        first = await setup.builder.build(asked, "r1")
        dictionary.write_text("zorbix = K AE1 T\n")
        end_s = asyncio.get_running_loop().time() + 30
        while (await setup.builder.build(asked, "r")).request.segments == first.request.segments:
            assert asyncio.get_running_loop().time() < end_s, "the old reading stays"

    _run(tmp_path, test, FrontendConfig(dictionary=str(dictionary)))


def test_prepared_request_fits_the_wire(tmp_path: Path) -> None:
    """What is built can be encoded and comes back the same."""

    async def test(setup: Setup) -> None:
        prepared = await setup.builder.build(ASKED, "r1")
        encoded = msgspec.msgpack.encode(prepared.request)

        assert msgspec.msgpack.decode(encoded, type=type(prepared.request)) == prepared.request

    _run(tmp_path, test)
