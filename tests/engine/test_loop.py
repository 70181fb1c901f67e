"""The engine's process loop: real processes, pipes and sockets around a fake host."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovits_serve.protocol.messages import (
    Abort,
    Aborted,
    AudioChunk,
    EngineDraining,
    EngineLoad,
    Failed,
    Finished,
    Hello,
    LoadModel,
    Message,
    ModelFailed,
    ModelLoaded,
    PhonemizedText,
    PutRecording,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
    UnloadModel,
)
from sovits_serve.protocol.reports import ChildReady, DrainChild, Dying, Heartbeat, Loading
from tests.engine.engine_process import (
    DEADLINE_S,
    Dispatcher,
    EngineProcess,
    Peer,
    running_engine,
)
from tests.fake_engine import expected_pcm


@pytest.fixture
def dispatcher(tmp_path: Path) -> Iterator[Dispatcher]:
    """Return a dispatcher that listens."""
    with Dispatcher(tmp_path / "socket") as listening:
        yield listening


def make(index: int, *, num_phonemes: int = 10, **fields: object) -> SynthesisRequest:
    """Make a request of one segment, its recording named by key."""
    segment = PhonemizedText(tuple(range(1, num_phonemes + 1)), text=str(fields.pop("text", "")))
    return SynthesisRequest(
        request_id=f"r{index}",
        segments=(segment,),
        reference=Reference(ReferenceAudio(b"", 32_000, key="voice")),
        sampling=SamplingParams(seed=index),
        **fields,  # type: ignore[arg-type]
    )


def put_voice(peer: Peer, key: str = "voice") -> None:
    """Send the recording that ``make`` names."""
    peer.send(PutRecording(key, ReferenceAudio(bytes(8), 32_000, key=key)))


def pcm_of(messages: list[Message], request_id: str) -> bytes:
    """Join the audio of one request."""
    return b"".join(
        message.pcm
        for message in messages
        if isinstance(message, AudioChunk) and message.request_id == request_id
    )


def wait_for_event(log: Path, event: str) -> None:
    """Wait for a line of the fake engine's log."""
    deadline = time.monotonic() + DEADLINE_S
    while not log.exists() or f"{event} " not in log.read_text():
        assert time.monotonic() < deadline, event
        time.sleep(0.005)


def test_a_request_is_answered_exactly_and_ends_once(dispatcher: Dispatcher) -> None:
    """Audio arrives whole and in order between ready and the one terminal message."""
    with running_engine(dispatcher.endpoint) as engine:
        engine.wait_for(ChildReady)
        peer, ready = dispatcher.welcome()
        put_voice(peer)
        request = make(1, num_phonemes=50, is_streaming=True)
        peer.send(request)
        messages, finished = peer.take_until(Finished)

    pcm = pcm_of(messages, "r1")
    assert [info.name for info in ready.models] == ["default"]
    assert pcm == expected_pcm(request)
    assert finished.num_samples == len(pcm) // 2


def test_an_idle_engine_answers_at_once(dispatcher: Dispatcher) -> None:
    """An idle loop sleeps on its socket, not on a timer, which would make it 25 s."""
    with running_engine(dispatcher.endpoint):
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        began = time.monotonic()
        for index in range(100):
            peer.send(make(index))
            peer.take_until(Finished)
        elapsed_s = time.monotonic() - began

    assert elapsed_s < 20.0  # a third of one where nobody else is


def test_heartbeats_go_on_while_idle_and_count_steps(dispatcher: Dispatcher) -> None:
    """The loop itself shows that it turns, with its step counter."""
    with running_engine(dispatcher.endpoint) as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(make(1))
        peer.take_until(Finished)
        first = engine.wait_for(Heartbeat, is_it=lambda beat: beat.num_steps == 1)
        for _ in range(2):
            engine.wait_for(Heartbeat, is_it=lambda beat: beat.num_steps == 1)

    assert not first.has_work


def test_load_is_told_while_busy_and_when_work_ends(dispatcher: Dispatcher) -> None:
    """The dispatcher sees how busy the engine is, and that it no longer is."""
    with running_engine(dispatcher.endpoint, FAKE_SLOW_STEP_MS="50") as _:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(make(1, num_phonemes=100, is_streaming=True))
        messages, _ = peer.take_until(Finished)
        _, load = peer.take_until(EngineLoad)

    busy = [message for message in messages if isinstance(message, EngineLoad)]
    assert any(message.num_running == 1 for message in busy)
    assert load.num_running == load.num_waiting == 0


def test_abort_ends_a_request(dispatcher: Dispatcher) -> None:
    """Abort is answered with Aborted, and the next request is served."""
    with running_engine(dispatcher.endpoint, FAKE_SLOW_STEP_MS="20"):
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(make(1, num_phonemes=1000, is_streaming=True))
        peer.take_until(AudioChunk)
        peer.send(Abort("r1"), Abort("never heard of"), make(2))
        _, aborted = peer.take_until(Aborted)
        _, finished = peer.take_until(Finished)

    assert aborted.request_id == "r1"
    assert finished.request_id == "r2"


def test_a_lost_dispatcher_aborts_and_is_looked_for(dispatcher: Dispatcher) -> None:
    """Without its dispatcher the engine keeps its models, forgets the requests, and reconnects."""
    with running_engine(dispatcher.endpoint, FAKE_SLOW_STEP_MS="10") as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(LoadModel("other", "/a", "/b"), make(1, num_phonemes=5000, is_streaming=True))
        peer.take_until(AudioChunk)
        dispatcher.close()
        engine.wait_for(Heartbeat, is_it=lambda beat: beat.num_steps > 0 and not beat.has_work)
        dispatcher.listen()
        peer, ready = dispatcher.welcome()
        peer.send(make(2))
        _, failed = peer.take_until(Failed)
        put_voice(peer)
        peer.send(make(2))
        messages, finished = peer.take_until(Finished)

    assert [info.name for info in ready.models] == ["default", "other"]
    assert failed.code == "unknown_recording"
    assert finished.request_id == "r2"
    assert not pcm_of(messages, "r1")


def test_a_greeting_that_does_not_come_is_given_up(dispatcher: Dispatcher) -> None:
    """A listener that is no dispatcher is left, and tried again."""
    with running_engine(dispatcher.endpoint):
        peer = dispatcher.accept()
        peer.take_until(Hello)
        peer.send(EngineDraining())
        peer.wait_for_end()
        again, _ = dispatcher.welcome()
        again.send(make(1))
        _, failed = again.take_until(Failed)

    assert failed.code == "unknown_recording"


def test_an_engine_starts_before_its_dispatcher(tmp_path: Path) -> None:
    """Nobody listens yet: the engine is ready and keeps trying."""
    dispatcher = Dispatcher(tmp_path / "socket")
    with running_engine(dispatcher.endpoint) as engine:
        engine.wait_for(ChildReady)
        engine.wait_for(Heartbeat)
        with dispatcher:
            peer, _ = dispatcher.welcome()
            peer.close()


def test_drain_finishes_what_was_accepted(dispatcher: Dispatcher) -> None:
    """DrainChild: the dispatcher is told, running requests end with all audio, exit code 0."""
    with running_engine(dispatcher.endpoint, FAKE_SLOW_STEP_MS="10") as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        request = make(1, num_phonemes=200, is_streaming=True)
        peer.send(request)
        before, _ = peer.take_until(AudioChunk)
        engine.tell(DrainChild())
        messages, _ = peer.take_until(EngineDraining)
        late, finished = peer.take_until(Finished)
        code = engine.wait()

    assert code == 0
    assert finished.num_samples == len(expected_pcm(request)) // 2
    assert not any(isinstance(message, Finished) for message in [*before, *messages, *late])


def test_a_request_on_its_way_while_draining_is_served(dispatcher: Dispatcher) -> None:
    """What the dispatcher sent before it heard of the draining is not lost."""
    with running_engine(dispatcher.endpoint) as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        engine.tell(DrainChild())
        peer.take_until(EngineDraining)
        peer.send(make(1))
        _, finished = peer.take_until(Finished)
        code = engine.wait()

    assert finished.request_id == "r1"
    assert code == 0


@pytest.mark.parametrize("kind", ["idle", "busy"])
def test_sigterm_ends_within_a_second(dispatcher: Dispatcher, kind: str) -> None:
    """SIGTERM ends the engine with code 0 long before its work is done; it says that it is meant."""
    with running_engine(dispatcher.endpoint, FAKE_SLOW_STEP_MS="10") as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        if kind == "busy":
            peer.send(make(1, num_phonemes=50_000, is_streaming=True))
            peer.take_until(AudioChunk)
        engine.process.terminate()
        code = engine.wait()
        peer.take_until(EngineDraining)

    assert code == 0


def test_sigterm_cuts_off_a_step_that_hangs(dispatcher: Dispatcher, tmp_path: Path) -> None:
    """A step that does not end is shown in the log and ended with the process."""
    switches = {"FAKE_HANG_AT": "step:1", "FAKE_LOG": str(tmp_path / "log")}
    with running_engine(dispatcher.endpoint, switches=switches) as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(make(1))
        wait_for_event(tmp_path / "log", "hang")
        engine.process.terminate()
        code = engine.wait()

    assert code == 0
    assert any("in step" in line for line in engine.log)


def test_sigterm_while_loading_ends_at_once(dispatcher: Dispatcher) -> None:
    """Nothing was accepted yet, so nothing is waited for."""
    with running_engine(dispatcher.endpoint, FAKE_LOAD_S="60", FAKE_LOAD_KIND="pyloop") as engine:
        engine.wait_for(Loading)
        engine.process.terminate()

        assert engine.wait() == 0


def test_sigabrt_shows_where_it_hangs(dispatcher: Dispatcher, tmp_path: Path) -> None:
    """A hung engine stops its heartbeat, and SIGABRT writes its stacks to the log."""
    switches = {"FAKE_HANG_AT": "step:1", "FAKE_LOG": str(tmp_path / "log")}
    with running_engine(dispatcher.endpoint, switches=switches) as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        engine.wait_for(Heartbeat)
        peer.send(make(1))
        wait_for_event(tmp_path / "log", "hang")
        wait_for_silence(engine)
        engine.process.send_signal(signal.SIGABRT)
        code = engine.wait()

    assert code == -signal.SIGABRT
    assert any("in step" in line for line in engine.log)


def wait_for_silence(engine: EngineProcess) -> None:
    """Wait for a second without a heartbeat; the first may be on their way yet."""
    for _ in range(5):
        engine.reports.clear()
        try:
            engine.wait_for(Heartbeat, 1.0)
        except AssertionError:
            return
    pytest.fail("it beats on")


def test_the_end_of_the_supervisor_is_the_end(dispatcher: Dispatcher) -> None:
    """Standard input closes: the engine is gone, even in the middle of its loading."""
    with running_engine(dispatcher.endpoint, FAKE_LOAD_S="60") as engine:
        engine.wait_for(Loading)
        assert engine.process.stdin is not None
        engine.process.stdin.close()

        assert engine.wait() != 0


def test_a_bad_checkpoint_is_permanent(dispatcher: Dispatcher) -> None:
    """A SetupError is reported as permanent, with its own exit code."""
    with running_engine(dispatcher.endpoint, FAKE_BAD_CHECKPOINT="1") as engine:
        dying = engine.wait_for(Dying)
        code = engine.wait()

    assert dying.is_permanent
    assert dying.code == "bad_checkpoint"
    assert code == 79


def test_an_unexpected_error_is_reported_with_its_traceback(dispatcher: Dispatcher) -> None:
    """An exception of the loop itself: last words, traceback in the log, exit code 70."""
    with running_engine(dispatcher.endpoint, FAKE_BUG_AT="step:1") as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(make(1))
        dying = engine.wait_for(Dying)
        code = engine.wait()

    assert not dying.is_permanent
    assert code == 70
    assert any("Traceback" in line for line in engine.log)


def test_what_is_no_message_for_an_engine_does_no_harm(dispatcher: Dispatcher) -> None:
    """A message of another kind is logged, and the engine serves on."""
    with running_engine(dispatcher.endpoint) as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(Hello("worker", "confused", os.getpid()))
        peer.send(make(1))
        _, finished = peer.take_until(Finished)

    assert finished.request_id == "r1"
    assert any("not a message for an engine: Hello" in line for line in engine.log)


def test_a_request_that_hits_a_bug_fails_alone(dispatcher: Dispatcher) -> None:
    """What goes wrong while a request is accepted costs that request only."""
    with running_engine(dispatcher.endpoint, FAKE_BUG_AT="text:odd") as engine:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(make(1, text="how odd"), make(2))
        _, failed = peer.take_until(Failed)
        _, finished = peer.take_until(Finished)
        engine.wait_for(Heartbeat)

    assert (failed.request_id, failed.code) == ("r1", "engine_error")
    assert finished.request_id == "r2"


def test_models_come_and_go(dispatcher: Dispatcher) -> None:
    """LoadModel is answered; a model can be named from then on, until it is unloaded."""
    with running_engine(dispatcher.endpoint, FAKE_BAD_MODEL="broken") as _:
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        peer.send(LoadModel("bad", "/broken.ckpt", "/b"), LoadModel("new", "/a", "/b"))
        _, model_failed = peer.take_until(ModelFailed)
        _, loaded = peer.take_until(ModelLoaded)
        request = make(1, model="new")
        peer.send(request)
        messages, _ = peer.take_until(Finished)
        peer.send(UnloadModel("new"), make(2, model="new"))
        _, failed = peer.take_until(Failed)

    assert (model_failed.model, loaded.info.name) == ("bad", "new")
    assert pcm_of(messages, "r1") == expected_pcm(request) != expected_pcm(make(1))
    assert failed.code == "unknown_model"


def test_thousands_of_requests_in_one_go(dispatcher: Dispatcher) -> None:
    """Every one of 5,000 queued requests ends once, with its own audio."""
    with running_engine(dispatcher.endpoint):
        peer, _ = dispatcher.welcome()
        put_voice(peer)
        requests = {f"r{index}": make(index) for index in range(5000)}
        for index in range(0, 5000, 100):
            peer.send(*(requests[f"r{place}"] for place in range(index, index + 100)))
        pcm: dict[str, bytes] = {}
        ended: list[str] = []
        while len(ended) < 5000:
            message = peer.take()
            if isinstance(message, AudioChunk):
                pcm[message.request_id] = pcm.get(message.request_id, b"") + message.pcm
            elif isinstance(message, Finished):
                ended.append(message.request_id)

    assert len(set(ended)) == 5000
    assert all(pcm[name] == expected_pcm(request) for name, request in requests.items())


@pytest.mark.parametrize(
    ("switches", "code"),
    [
        ({"FAKE_DIE_AT": "start"}, -signal.SIGKILL),
        ({"FAKE_DIE_AT": "warmup", "FAKE_EXIT_CODE": "3"}, 3),
        ({"FAKE_DIE_AT": "step:2", "FAKE_SIGNAL": "SEGV"}, -signal.SIGSEGV),
        ({"FAKE_DIE_AT": "chunk:1"}, -signal.SIGKILL),
        ({"FAKE_DIE_AT": "text:poison"}, -signal.SIGKILL),
    ],
)
def test_the_fake_dies_as_it_is_told(
    dispatcher: Dispatcher, switches: dict[str, str], code: int
) -> None:
    """The switches that other tests build on do what they say."""
    with running_engine(dispatcher.endpoint, switches=switches) as engine:
        if switches["FAKE_DIE_AT"] not in {"start", "warmup"}:
            peer, _ = dispatcher.welcome()
            put_voice(peer)
            peer.send(make(1, num_phonemes=50, text="some poison", is_streaming=True))

        assert engine.wait() == code


def test_the_fake_misbehaves_once(dispatcher: Dispatcher, tmp_path: Path) -> None:
    """Only the first start counts with FAKE_ONCE; the log tells of both."""
    switches = {
        "FAKE_DIE_AT": "load",
        "FAKE_ONCE": "1",
        "FAKE_STATE_DIR": str(tmp_path),
        "FAKE_LOG": str(tmp_path / "log"),
    }
    with running_engine(dispatcher.endpoint, switches=switches) as engine:
        engine.wait()
    with running_engine(dispatcher.endpoint, switches=switches) as engine:
        engine.wait_for(ChildReady)
    events = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]

    assert events == ["start", "load", "die", "start", "load", "ready"]


def test_a_loading_engine_that_holds_the_lock_says_nothing(dispatcher: Dispatcher) -> None:
    """The kind of load that a supervisor must sit out: no report between first and last."""
    with running_engine(dispatcher.endpoint, FAKE_LOAD_S="1", FAKE_LOAD_KIND="gilhold") as engine:
        began = time.monotonic()
        engine.wait_for(ChildReady)
        elapsed_s = time.monotonic() - began
        loading = [report.what for report in engine.reports if isinstance(report, Loading)]

    assert elapsed_s > 0.9
    assert loading == ["libraries", "fake weights"]
