"""The real engine process with a tiny model: loading, voices, recordings, further models."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

import sovits_serve
from sovits_serve.checkpoints.random_model import write_random_t2s
from sovits_serve.config import EngineSetup, ModelConfig
from sovits_serve.models.bundle import Models
from sovits_serve.models.spec import ModelVersion
from sovits_serve.protocol.messages import (
    TERMINAL,
    Abort,
    AudioChunk,
    DropRecording,
    EngineReady,
    Failed,
    Finished,
    LoadModel,
    Message,
    ModelFailed,
    ModelLoaded,
    PutRecording,
    SynthesisRequest,
    UnloadModel,
)
from sovits_serve.protocol.reports import ChildReady, Dying, Heartbeat, Loading, Warming
from sovits_serve.voices.demo import write_demo_recording
from sovits_serve.voices.reference_cache import content_key
from tests.engine.engine_process import Dispatcher, EngineProcess, Peer, running_engine
from tests.fakes import CPU_CONFIG, make_request, run_alone

MODULE = "sovits_serve.engine.process"
LOAD_DEADLINE_S = 120.0  # other runs share the cores


@dataclass
class Served:
    """A running engine and the test's end of its connection."""

    dispatcher: Dispatcher
    engine: EngineProcess
    peer: Peer
    ready: EngineReady


@pytest.fixture(scope="module")
def other_t2s(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a T2S file of other weights."""
    path = tmp_path_factory.mktemp("other") / "gpt.ckpt"
    write_random_t2s(path, version=ModelVersion.V2, size="tiny", seed=70)
    return path


@pytest.fixture(scope="module")
def served(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return an engine process with two voices, one of them bad."""
    voices = tmp_path_factory.mktemp("voices")
    write_demo_recording(voices / "anna.wav", seed=1)
    (voices / "bert.wav").write_bytes(b"RIFF but not much of it")
    model = ModelConfig(model=str(tiny_directory), voices=str(voices))
    config = EngineSetup(replace(CPU_CONFIG, max_running=0), model)
    socket = tmp_path_factory.mktemp("run") / "socket"
    with (
        Dispatcher(socket) as dispatcher,
        running_engine(dispatcher.endpoint, module=MODULE, config=config) as engine,
    ):
        peer, ready = dispatcher.welcome(LOAD_DEADLINE_S)
        yield Served(dispatcher, engine, peer, ready)


def by_key(peer: Peer, request: SynthesisRequest, **fields: object) -> SynthesisRequest:
    """Send a request's recording ahead and return the request that names it by key."""
    audio = request.reference.audio
    key = content_key(audio)
    peer.send(PutRecording(key, msgspec.structs.replace(audio, key=key)))
    named = msgspec.structs.replace(audio, samples=b"", key=key)
    reference = msgspec.structs.replace(request.reference, audio=named)
    return msgspec.structs.replace(request, reference=reference, **fields)


def samples_of(messages: list[Message], request_id: str) -> np.ndarray:
    """Join the audio of one request."""
    chunks = (m for m in messages if isinstance(m, AudioChunk) and m.request_id == request_id)
    return np.frombuffer(b"".join(chunk.pcm for chunk in chunks), dtype="<i2")


def _wait_for_end(peer: Peer, request_id: str) -> None:
    while True:
        message = peer.take()
        if isinstance(message, TERMINAL) and message.request_id == request_id:
            return


def test_loading_and_first_syntheses_are_reported(served: Served) -> None:
    """Each part that loads and each voice that is tried is a sign of progress, in this order."""
    reports = served.engine.reports
    served.engine.wait_for(Heartbeat)
    loading = [report for report in reports if isinstance(report, Loading)]
    warming = [report for report in reports if isinstance(report, Warming)]
    ready = next(report for report in reports if isinstance(report, ChildReady))

    assert [report.what for report in loading][:2] == ["libraries", "files"]
    assert {"T2S", "SoVITS", "HuBERT", "BERT"} <= {report.what for report in loading}
    shares = [report.progress for report in loading]
    assert shares == sorted(shares)
    assert [report.what for report in warming][:2] == ["first synthesis", "voice anna"]
    assert ready.models == served.ready.models


def test_a_bad_voice_is_reported_and_the_engine_serves(served: Served) -> None:
    """The voice that cannot be used is named, with the reason, in report and log."""
    warming = [report for report in served.engine.reports if isinstance(report, Warming)]

    assert any(report.what.startswith("voice bert: ") for report in warming)
    served.engine.wait_log("voice bert cannot be used")


def test_ready_says_what_is_loaded(served: Served, tiny_directory: Path) -> None:
    """The dispatcher learns names, sizes, and where switching begins."""
    info = served.ready.models[0]

    assert (info.name, info.version, info.symbol_version) == ("default", "v2", "v2")
    assert (info.sample_rate_hz, info.can_read_chinese) == (32_000, True)
    assert served.ready.max_running == 16  # what 0 is on the CPU
    assert served.ready.t2s == str((tiny_directory / "gpt.ckpt").resolve())


def test_it_speaks_as_the_engine_in_this_process(served: Served, tiny: Models) -> None:
    """A request by recording key gives the audio of the same request with its samples."""
    request = make_request(1, num_segments=2)
    served.peer.send(by_key(served.peer, request))
    messages, finished = served.peer.take_until(Finished)
    alone = run_alone(tiny, request)

    assert finished.num_tokens == alone.num_tokens
    np.testing.assert_allclose(samples_of(messages, "request-1"), alone.samples, atol=2)


def test_an_unknown_recording_is_asked_for(served: Served) -> None:
    """A key that was never sent, or dropped, fails with the code on which it is sent again."""
    request = by_key(served.peer, make_request(2, voice=7))
    served.peer.send(DropRecording(request.reference.audio.key), request)
    _, failed = served.peer.take_until(Failed)

    assert (failed.request_id, failed.code) == ("request-2", "unknown_recording")


def test_a_deadline_holds_in_the_engine(served: Served) -> None:
    """timeout_s is honoured without the dispatcher's help."""
    request = by_key(served.peer, make_request(3, num_segments=8, max_tokens=200), timeout_s=0.05)
    served.peer.send(request)
    _, failed = served.peer.take_until(Failed)

    assert failed.code == "deadline_exceeded"


def test_a_model_is_loaded_while_others_speak(
    served: Served, tiny_directory: Path, other_t2s: Path
) -> None:
    """Requests go on during LoadModel; the new model speaks until it is unloaded."""
    peer = served.peer
    long = by_key(peer, make_request(4, num_segments=10, max_tokens=60), is_streaming=True)
    peer.send(long)
    peer.take_until(AudioChunk)
    peer.send(LoadModel("other", str(other_t2s), str(tiny_directory / "sovits.pth")))
    before, loaded = peer.take_until(ModelLoaded)
    peer.send(by_key(peer, make_request(5), model="other", request_id="new"))
    peer.send(by_key(peer, make_request(5), request_id="old"))
    ends: list[str] = []
    while not {"new", "old"} <= set(ends):
        more, finished = peer.take_until(Finished)
        before += more
        ends.append(finished.request_id)
    peer.send(UnloadModel("other"), by_key(peer, make_request(6), model="other"))
    _, failed = peer.take_until(Failed)
    peer.send(Abort("request-4"))
    if "request-4" not in ends:
        _wait_for_end(peer, "request-4")

    assert loaded.info.name == "other"
    assert any(isinstance(message, AudioChunk) for message in before)
    assert samples_of(before, "new").size
    assert not np.array_equal(samples_of(before, "new"), samples_of(before, "old"))
    assert failed.code == "unknown_model"


def test_a_model_that_cannot_be_loaded_is_told(served: Served, tmp_path: Path) -> None:
    """ModelFailed names the file, and the engine serves on."""
    bad = tmp_path / "bad.ckpt"
    bad.write_bytes(b"nothing")
    served.peer.send(LoadModel("bad", str(bad), str(bad)), LoadModel("gone", "/no/x", "/no/y"))
    _, first = served.peer.take_until(ModelFailed)
    _, second = served.peer.take_until(ModelFailed)
    served.peer.send(by_key(served.peer, make_request(7)))
    _, finished = served.peer.take_until(Finished)

    assert (first.model, first.code) == ("bad", "bad_checkpoint")
    assert "bad.ckpt" in first.message
    assert "/no/x: no such file" in second.message
    assert finished.request_id == "request-7"


def test_it_survives_its_dispatcher(served: Served) -> None:
    """A new dispatcher finds the engine as it was: models loaded, nothing running."""
    peer, engine = served.peer, served.engine
    peer.send(by_key(peer, make_request(8, num_segments=20, max_tokens=200), is_streaming=True))
    peer.take_until(AudioChunk)
    served.dispatcher.close()
    engine.reports.clear()
    engine.wait_for(Heartbeat, is_it=lambda beat: not beat.has_work)
    served.dispatcher.listen()
    served.peer, again = served.dispatcher.welcome()
    served.peer.send(by_key(served.peer, make_request(9)))
    before, finished = served.peer.take_until(Finished)

    assert again == served.ready
    assert finished.request_id == "request-9"
    assert not samples_of(before, "request-8").size


def test_without_torch_it_says_what_to_install_and_is_not_started_again(tmp_path: Path) -> None:
    """A missing library is a permanent error with the exit code of a bad set-up."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "torch.py").write_text("raise ModuleNotFoundError('none', name='torch')\n")
    source = Path(sovits_serve.__file__).parents[1]
    paths = os.pathsep.join(map(str, (hidden, source)))
    config = EngineSetup(CPU_CONFIG, ModelConfig())
    endpoint = f"ipc://{tmp_path / 'socket'}"
    with running_engine(endpoint, module=MODULE, config=config, PYTHONPATH=paths) as engine:
        dying = engine.wait_for(Dying)
        code = engine.wait()

    assert dying.is_permanent
    assert "pip install 'sovits-serve[engine]'" in dying.message
    assert code == 78
