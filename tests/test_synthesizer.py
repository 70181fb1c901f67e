"""Offline use: whole, streamed and batched speech, errors, and leaving early."""

from pathlib import Path

import numpy as np
import pytest

from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.config import EngineConfig
from sovits_serve.errors import BadReferenceAudio, InvalidRequest, ServingError
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
