import msgspec
import numpy as np
import pytest

from sovits_serve.builtin import builtin_model_directory
from sovits_serve.config import EngineConfig
from sovits_serve.engine.batch import AudioWindow
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.model_runner import ModelRunner
from sovits_serve.errors import ConfigError
from sovits_serve.models.bundle import Models
from sovits_serve.protocol.messages import AudioChunk, SynthesisRequest
from tests.fakes import load_tiny, make_engine, make_request

MOST_TOKENS = 60


@pytest.fixture(scope="module")
def builtin() -> Models:
    """Return the built-in voice, whose audio is speech."""
    return load_tiny(builtin_model_directory())


def speak(engine: EngineCore, request: SynthesisRequest) -> tuple[np.ndarray, int]:
    """Return a request's samples and in which step the first of them came."""
    engine.add(request)
    pcm, first, step = b"", 0, 0
    while engine.has_work():
        step += 1
        for message in engine.step():
            if isinstance(message, AudioChunk):
                pcm += message.pcm
                first = first or step
    engine.check_integrity()
    return np.frombuffer(pcm, "<i2").astype(float), first


@pytest.mark.parametrize("seed", range(3))
def test_early_audio_comes_sooner_and_is_nearly_the_wholes(builtin: Models, seed: int) -> None:
    """It is as long, sounds alike sample by sample, and has no clicks where it was joined."""
    request = make_request(seed, max_tokens=MOST_TOKENS, is_streaming=True)
    whole, first = speak(make_engine(builtin), request)

    early, first_early = speak(make_engine(builtin, early_tokens=16), request)

    assert len(early) == len(whole)
    assert first_early < first / 2
    assert np.corrcoef(early, whole)[0, 1] > 0.7
    assert np.abs(np.diff(early)).max() < 1.2 * np.abs(np.diff(whole)).max() + 500


def test_answers_that_do_not_stream_are_not_changed(builtin: Models) -> None:
    """With early_tokens, a whole answer and one at another speed are what they were."""
    plain, early = make_engine(builtin), make_engine(builtin, early_tokens=16)
    for speed, is_streaming in ((1.0, False), (1.3, True)):
        request = make_request(4, max_tokens=30, is_streaming=is_streaming)
        request = msgspec.structs.replace(request, speed=speed)

        assert np.array_equal(speak(plain, request)[0], speak(early, request)[0])


def test_what_comes_after_the_end_of_a_request_is_forgotten(builtin: Models) -> None:
    """Audio that is read after its request has ended leaves nothing behind."""
    engine = make_engine(builtin)
    engine.add(make_request(0, max_tokens=MOST_TOKENS, is_streaming=True))
    while not any(isinstance(message, AudioChunk) for message in engine.step()):
        pass
    (sequence,) = engine.scheduler.decoding
    assert isinstance(engine.runner, ModelRunner)
    decoder = engine.runner._audio
    frames = sequence.num_frames
    window = AudioWindow(sequence, sequence.num_frames_decoded, 4, len(sequence.tokens), frames)
    pending = decoder.launch([window])

    engine.abort(sequence.request.request_id)
    decoder.finish(pending, pending.pcm, pending.is_finite)

    assert not decoder._tails
    assert not len(decoder)


def test_too_few_tokens_are_refused() -> None:
    """Of fewer than eight tokens nothing could be sent."""
    with pytest.raises(ConfigError, match="early_tokens: 7"):
        EngineConfig(early_tokens=7)
