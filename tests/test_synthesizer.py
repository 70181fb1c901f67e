"""Offline use: whole, streamed and batched speech, errors, and leaving early."""

from pathlib import Path

import numpy as np
import pytest

from sovits_serve import builtin
from sovits_serve.checkpoints.random_model import write_random_model, write_random_t2s
from sovits_serve.config import EngineConfig
from sovits_serve.errors import (
    BadReferenceAudio,
    ConfigError,
    InvalidRequest,
    ServingError,
    UnknownVoice,
)
from sovits_serve.models.spec import ModelVersion
from sovits_serve.protocol.messages import Reference
from sovits_serve.synthesizer import (
    SpeechFailed,
    SpeechOptions,
    Synthesizer,
    load_reference,
    with_prompt,
)
from tests.fakes import make_recording
from tests.stand_in import write_stand_in, write_stand_in_voices

SAMPLES_PER_TOKEN = 1280
OPTIONS = SpeechOptions(seed=7, max_tokens=20, segment_pause_s=0.0)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny v2Pro model's directory."""
    directory = tmp_path_factory.mktemp("synthesizer") / "model"
    write_random_model(directory, version=ModelVersion.V2PRO, size="tiny", seed=1)
    return directory


@pytest.fixture(scope="module")
def synthesizer(directory: Path) -> Synthesizer:
    """Return a synthesizer with the tiny model."""
    config = EngineConfig(device="cpu", num_threads=1, max_sequence_length=512)
    return Synthesizer.load(directory, config=config)


@pytest.fixture(scope="module")
def reference(synthesizer: Synthesizer, directory: Path) -> Reference:
    """Return the model directory's own recording with a transcript."""
    return load_reference(directory / "reference.wav", synthesizer.phonemes("n i3 h ao3 ."))


def test_streamed_equals_whole(synthesizer: Synthesizer, reference: Reference) -> None:
    """The chunks of a stream join to what synthesize returns."""
    segments = [synthesizer.phonemes("n i3 h ao3 ,"), synthesizer.phonemes("sh i4 j ie4 .")]

    speech = synthesizer.synthesize(segments, reference, OPTIONS)
    pcm = b"".join(chunk.pcm for chunk in synthesizer.stream(segments, reference, OPTIONS))

    streamed = np.frombuffer(pcm, dtype="<i2").astype(int)
    assert speech.samples.size == streamed.size == sum(speech.num_tokens) * SAMPLES_PER_TOKEN
    assert np.abs(streamed - speech.samples).max() <= 1


def test_two_streams_can_be_read_in_turns(synthesizer: Synthesizer, reference: Reference) -> None:
    """Reading one stream computes the other along; nobody's chunks get lost."""
    segments = [synthesizer.phonemes("h ao3 .")] * 2
    first = synthesizer.stream(segments, reference, OPTIONS)
    second = synthesizer.stream(segments, reference, OPTIONS)

    both = [(next(first).pcm, next(second).pcm)]
    rest = b"".join(c.pcm for c in first), b"".join(c.pcm for c in second)

    assert both[0][0] + rest[0] == both[0][1] + rest[1]


def test_closing_a_stream_aborts_its_request(
    synthesizer: Synthesizer, reference: Reference
) -> None:
    """Whoever stops reading frees the slots."""
    stream = synthesizer.stream([synthesizer.phonemes("h ao3 .")] * 3, reference, OPTIONS)
    next(stream)

    stream.close()

    assert synthesizer.engine.scheduler.requests == {}
    synthesizer.engine.check_integrity()


def test_a_batch_gives_each_its_own_result(synthesizer: Synthesizer, reference: Reference) -> None:
    """Good items speak; a bad one is its own error."""
    good = [synthesizer.phonemes("h ao3 .")]

    results = synthesizer.synthesize_batch(
        [
            (good, reference, OPTIONS),
            (good, reference, SpeechOptions(speed=9.0)),
            (good, Reference(make_recording(seconds=1.0)), OPTIONS),
        ]
    )

    assert not isinstance(results[0], ServingError)
    assert isinstance(results[1], InvalidRequest)
    assert isinstance(results[2], SpeechFailed)
    assert results[2].engine_code == "bad_reference_audio"


def test_an_interrupted_batch_leaves_nothing_behind(
    synthesizer: Synthesizer, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever interrupts a batch and goes on does not compute the rest of it later."""
    items = [([synthesizer.phonemes("h ao3 .")] * 2, reference, OPTIONS)] * 3

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(synthesizer.engine.runner), "execute", interrupt)
        with pytest.raises(KeyboardInterrupt):
            synthesizer.synthesize_batch(items)

    synthesizer.engine.check_integrity()
    assert synthesizer.engine.scheduler.requests == {}
    assert not synthesizer._inboxes


def test_without_a_seed_one_is_drawn_and_told(
    synthesizer: Synthesizer, reference: Reference
) -> None:
    """A drawn seed is returned, and gives the same speech again."""
    segments = [synthesizer.phonemes("h ao3 .")]
    speech = synthesizer.synthesize(segments, reference, SpeechOptions(max_tokens=15))

    again = synthesizer.synthesize(
        segments, reference, SpeechOptions(max_tokens=15, seed=speech.seed)
    )

    assert np.array_equal(speech.samples, again.samples)


def test_empty_and_unknown_phonemes_are_refused(synthesizer: Synthesizer) -> None:
    """Phonemes must be there and known."""
    with pytest.raises(InvalidRequest, match="empty"):
        synthesizer.phonemes("  ")
    with pytest.raises(InvalidRequest, match="'xyz' at position 1"):
        synthesizer.phonemes("h xyz")


def test_a_reference_must_be_audio(reference: Reference) -> None:
    """Bytes that are no audio are refused; a transcript can be changed without decoding again."""
    with pytest.raises(BadReferenceAudio):
        load_reference(b"<html>not audio</html>")
    assert with_prompt(reference, None).audio == reference.audio


def test_without_a_directory_the_built_in_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its voices are there by name, with what they say; Chinese needs no BERT."""
    monkeypatch.setattr(builtin, "FOLDER", str(write_stand_in(tmp_path / "model")))
    config = EngineConfig(device="cpu", num_threads=1, max_sequence_length=512)
    synthesizer = Synthesizer.load(config=config)
    segments = synthesizer.segments("你好。Hello.")

    voices = [synthesizer.voice(), synthesizer.voice("echo")]
    speech = [synthesizer.synthesize(segments, voice, OPTIONS) for voice in voices]

    assert segments[0].spans
    assert all(voice.prompt_text is not None for voice in voices)
    assert not np.array_equal(speech[0].samples, speech[1].samples)


def test_encoders_alone_are_no_model() -> None:
    """``pretrained`` is not quietly left out where the built-in model would be loaded."""
    with pytest.raises(ConfigError, match="pretrained: is for a model of your own"):
        Synthesizer.load(pretrained="anywhere")


def test_a_model_without_voices_has_none(synthesizer: Synthesizer) -> None:
    """A voice that is not there is named; the built-in ones are not there with another model."""
    with pytest.raises(UnknownVoice, match="voice: there is none"):
        synthesizer.voice("ada-en")


def test_a_voice_speaks_by_its_own_settings_unless_told(tmp_path: Path) -> None:
    """``options`` takes what a voice's file says, and what the caller says before it."""
    voices = tmp_path / "voices"
    write_stand_in_voices(voices)
    (voices / "max-en.toml").write_text("[defaults]\ntemperature = 0.25\nseed = 7\nspeed = 1.5\n")
    synthesizer = Synthesizer.__new__(Synthesizer)  # finding a voice needs no model
    synthesizer.voices = voices

    options = synthesizer.options("max-en", speed=2.0)

    assert options == SpeechOptions(seed=7, temperature=0.25, speed=2.0)
    with pytest.raises(UnknownVoice, match="nobody"):
        synthesizer.options("nobody")


def test_a_random_model_can_speak_as_long_as_its_text_says(directory: Path, tmp_path: Path) -> None:
    """With ``tokens_per_phoneme`` no draw ends a segment, early or late; a limit still does."""
    for path in directory.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "gpt.ckpt").unlink()
    write_random_t2s(
        tmp_path / "gpt.ckpt", version=ModelVersion.V2, size="tiny", seed=5, tokens_per_phoneme=3
    )
    config = EngineConfig(device="cpu", num_threads=1, max_sequence_length=512)
    synthesizer = Synthesizer.load(tmp_path, config=config)
    reference = load_reference(directory / "reference.wav", synthesizer.phonemes("n i3 h ao3 ."))
    lines = "n i3 h ao3 .", "a1", " ".join(["sh", "i4"] * 12)
    segments = [synthesizer.phonemes(line) for line in lines]

    for seed in range(6):
        free = synthesizer.synthesize(segments, reference, SpeechOptions(seed=seed))
        short = synthesizer.synthesize(segments, reference, SpeechOptions(seed=seed, max_tokens=9))
        assert free.num_tokens == (15, 3, 72)
        assert short.num_tokens == (9, 3, 9)


@pytest.mark.parametrize(("dtype", "step"), [("float32", 1), ("bfloat16", 600)])
def test_eight_bit_weights_speak_and_are_repeated(directory: Path, dtype: str, step: int) -> None:
    """``decode_weights`` changes what is drawn, not whether a seed repeats or a batch leaks."""
    config = EngineConfig(
        device="cpu", dtype=dtype, num_threads=1, max_sequence_length=512, decode_weights="int8"
    )
    synthesizer = Synthesizer.load(directory, config=config)
    reference = load_reference(directory / "reference.wav", synthesizer.phonemes("n i3 h ao3 ."))
    items = [([synthesizer.phonemes("sh i4 j ie4 .")], reference, OPTIONS) for _ in range(3)]

    alone = synthesizer.synthesize(*items[0])
    for speech in synthesizer.synthesize_batch(items):
        assert not isinstance(speech, ServingError)
        assert speech.num_tokens == alone.num_tokens
        assert np.abs(speech.samples.astype(int) - alone.samples).max() <= step
