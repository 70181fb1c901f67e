"""Switching weights and references: on all engines or none, seen by all workers, requests kept."""

from pathlib import Path

import pytest

from sovits_serve.dispatcher.peers import Engine, Worker
from sovits_serve.dispatcher.switching import LOAD_TIMEOUT_S, STATUS_SEEN_TIMEOUT_S
from sovits_serve.protocol.messages import (
    CallDone,
    CallFailed,
    Defaults,
    EngineDraining,
    Failed,
    Keepsake,
    LoadModel,
    ModelFailed,
    ModelInfo,
    ModelLoaded,
    StatusSeen,
    SwitchModel,
    SwitchReference,
    SynthesisRequest,
    UnloadModel,
)
from tests.dispatcher.world import BASE, World, fleet, recording, submit


class Weights:
    """Checkpoint files in a directory, and a world whose engines began with the first pair."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.world = World()
        self.files = self.path("base.ckpt"), self.path("base.pth")

    def path(self, name: str) -> str:
        """Return a file's path, the file made if need be."""
        path = self.directory / name
        if not path.exists():
            path.write_text(name)
        return str(path)

    def engine(self, **options: int) -> Engine:
        """Connect an engine."""
        return self.world.engine(files=self.files, max_models=options.get("max_models", 2))

    def switch(self, worker: Worker, name: str, call_id: str = "call") -> None:
        """Ask for other SoVITS weights."""
        self.world.say(worker, SwitchModel(call_id, sovits=self.path(name)))

    def asked(self, engine: Engine) -> LoadModel:
        """Return what the engine was asked to load last."""
        message = self.world.sent(engine, LoadModel)[-1]
        assert isinstance(message, LoadModel)
        return message

    def load(self, engine: Engine) -> ModelInfo:
        """Have the engine load what it was asked to."""
        info = ModelInfo(self.asked(engine).model, "v2", "v2", 32_000)
        self.world.say(engine, ModelLoaded(info))
        return info

    def see(self, *workers: Worker) -> None:
        """Have workers take in their last status."""
        for worker in workers:
            self.world.say(worker, StatusSeen(self.world.status(worker).serial))


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    """Return weights to switch among."""
    return Weights(tmp_path)


def test_switch_is_done_when_all_engines_have_it_and_all_workers_know(weights: Weights) -> None:
    """Only when every engine has loaded does the default change; then workers confirm it."""
    world = weights.world
    workers = [world.worker(), world.worker()]
    engines = [weights.engine(), weights.engine()]
    serial = world.status(workers[0]).serial

    weights.switch(workers[0], "other.pth")
    info = weights.load(engines[0])
    half_way = world.status(workers[0]).defaults.model
    weights.load(engines[1])
    after = [world.status(worker).defaults.model for worker in workers]
    weights.see(workers[0])
    too_early = world.sent(workers[0], CallDone)
    weights.see(workers[1])

    assert half_way == "base"
    assert after == [info.name, info.name]
    assert world.status(workers[1]).serial > serial
    assert not too_early
    assert world.sent(workers[0], CallDone) == [CallDone("call")]
    assert weights.asked(engines[0]).t2s == weights.files[0]


def test_one_engine_that_cannot_load_undoes_it_everywhere(weights: Weights) -> None:
    """When one engine fails, the others forget the model and nothing has changed."""
    world = weights.world
    worker = world.worker()
    engines = [weights.engine(), weights.engine(), weights.engine()]
    before = world.status(worker).defaults

    weights.switch(worker, "bad.pth")
    weights.load(engines[0])
    name = weights.asked(engines[1]).model
    world.say(engines[1], ModelFailed(name, "bad_checkpoint", "truncated"))
    weights.load(engines[2])

    (failed,) = world.sent(worker, CallFailed)
    assert isinstance(failed, CallFailed)
    assert failed.code == "bad_checkpoint"
    assert "truncated" in failed.message
    assert world.status(worker).defaults == before
    assert world.sent(engines[0], UnloadModel) == [UnloadModel(name)]
    assert not world.sent(engines[1], UnloadModel)
    # It was still loading; its late success means nothing.
    assert world.sent(engines[2], UnloadModel) == [UnloadModel(name)]
    assert list(engines[2].models) == ["base"]


def test_missing_file_fails_without_asking_engines(weights: Weights) -> None:
    """Weights that are not there are refused at once."""
    world = weights.world
    worker, engine = world.worker(), weights.engine()

    world.say(worker, SwitchModel("call", sovits=str(weights.directory / "missing.pth")))

    (failed,) = world.sent(worker, CallFailed)
    assert isinstance(failed, CallFailed)
    assert failed.code == "unknown_model"
    assert not world.sent(engine, LoadModel)


def test_the_built_in_model_takes_no_other_weights(weights: Weights) -> None:
    """Its engines name no files; a switch is refused with what to do, and no engine is asked."""
    world = weights.world
    worker, engine = world.worker(), world.engine(files=("", ""))

    weights.switch(worker, "other.pth")

    (failed,) = world.sent(worker, CallFailed)
    assert isinstance(failed, CallFailed)
    assert failed.code == "invalid_request"
    assert "start the server with --model" in failed.message
    assert not world.sent(engine, LoadModel)


def test_admitted_requests_keep_their_model(weights: Weights) -> None:
    """What waited through a switch means the old model, what comes later the new one."""
    world = weights.world
    worker, engine = world.worker(), weights.engine()
    world.submit(worker, "a", "b", "waits")
    weights.switch(worker, "other.pth")
    info = weights.load(engine)
    world.submit(worker, "new")
    for request_id in ("a", "b", "waits"):
        world.finish(engine, request_id)

    requests = world.sent(engine, SynthesisRequest)
    models = {r.request_id: r.model for r in requests if isinstance(r, SynthesisRequest)}
    assert models == {"a": "", "b": "", "waits": "", "new": info.name}
    world.check()


def test_engine_that_starts_later_is_used_once_it_has_the_default(weights: Weights) -> None:
    """A new engine loads what the others have before it serves requests for it."""
    world = weights.world
    worker, first = world.worker(), weights.engine()
    weights.switch(worker, "other.pth")
    info = weights.load(first)
    world.lose(first)

    second = weights.engine()
    world.submit(worker, "a")
    before = (world.status(worker).state, world.given(second))
    weights.load(second)

    assert weights.asked(second).model == info.name
    assert before == ("starting", [])
    assert world.status(worker).state == "ready"
    assert world.given(second) == ["a"]


def test_least_used_model_goes(weights: Weights) -> None:
    """Engines keep so many models; the one that was not used for longest is unloaded."""
    world = weights.world
    worker, engine = world.worker(), weights.engine(max_models=2)
    infos = []
    for name in ("second.pth", "third.pth"):
        weights.switch(worker, name)
        infos.append(weights.load(engine))
        weights.see(worker)
        world.pass_time(1.0)

    assert world.sent(engine, UnloadModel) == [UnloadModel("base")]
    assert set(engine.models) == {info.name for info in infos}
    world.say(worker, submit("a", model="base"))
    assert world.ends(worker) == {"a": "unknown_model"}


def test_model_in_use_stays(weights: Weights) -> None:
    """A model is not unloaded while a request means it, and goes afterwards."""
    world = weights.world
    worker, engine = world.worker(), weights.engine(max_models=1)
    world.submit(worker, "a")
    weights.switch(worker, "second.pth")
    weights.load(engine)
    world.pass_time(1.0)
    while_used = world.sent(engine, UnloadModel)
    world.finish(engine, "a")
    world.pass_time(1.0)

    assert not while_used
    assert world.sent(engine, UnloadModel) == [UnloadModel("base")]


def test_back_to_loaded_weights_needs_no_loading(weights: Weights) -> None:
    """Switching to what is loaded already is done at once."""
    world = weights.world
    worker, engine = world.worker(), weights.engine()
    weights.switch(worker, "other.pth")
    weights.load(engine)
    weights.see(worker)

    weights.switch(worker, "base.pth", "back")
    weights.see(worker)

    assert world.sent(worker, CallDone) == [CallDone("call"), CallDone("back")]
    assert len(world.sent(engine, LoadModel)) == 1
    assert world.status(worker).defaults.model == "base"


def test_overwritten_file_is_loaded_again(weights: Weights) -> None:
    """The same path with other content is another model."""
    world = weights.world
    worker, engine = world.worker(), weights.engine()
    weights.switch(worker, "other.pth")
    first = weights.load(engine)
    weights.see(worker)
    Path(weights.path("other.pth")).write_text("trained for longer")

    weights.switch(worker, "other.pth", "again")
    second = weights.load(engine)

    assert first.name != second.name


def test_calls_run_one_after_the_other(weights: Weights) -> None:
    """Two switches at once are both done, the later one last."""
    world = weights.world
    first, second, engine = world.worker(), world.worker(), weights.engine()
    weights.switch(first, "one.pth", "one")
    weights.switch(second, "two.pth", "two")
    num_asked = len(world.sent(engine, LoadModel))
    weights.load(engine)
    weights.see(first, second)
    info = weights.load(engine)
    weights.see(first, second)

    assert num_asked == 1
    assert world.sent(first, CallDone) == [CallDone("one")]
    assert world.sent(second, CallDone) == [CallDone("two")]
    assert world.status(first).defaults.model == info.name


def test_worker_that_does_not_see_the_status_is_dropped(weights: Weights) -> None:
    """A hung worker cannot hold up a switch for longer than its deadline."""
    world = weights.world
    worker, hung, _engine = world.worker(), world.worker(), weights.engine()
    world.say(worker, recording("voice"), SwitchReference("call", "voice", "voice.wav"))
    weights.see(worker)
    before = world.sent(worker, CallDone)

    world.pass_time(STATUS_SEEN_TIMEOUT_S + 0.1)

    assert not before
    assert world.sent(worker, CallDone) == [CallDone("call")]
    assert world.peers[hung].closed
    assert not world.peers[worker].closed


def test_worker_lost_in_a_switch_is_not_waited_for(weights: Weights) -> None:
    """A worker that dies counts as one that will begin with the new status."""
    world = weights.world
    worker, dead, _engine = world.worker(), world.worker(), weights.engine()
    world.say(worker, recording("voice"), SwitchReference("call", "voice", "voice.wav"))
    weights.see(worker)

    world.lose(dead)

    assert world.sent(worker, CallDone) == [CallDone("call")]


@pytest.mark.parametrize("leaves", ["dies", "drains"])
def test_engine_that_leaves_in_a_switch_is_not_waited_for(weights: Weights, leaves: str) -> None:
    """The engines that are left decide."""
    world = weights.world
    worker, living, leaving = world.worker(), weights.engine(), weights.engine()
    weights.switch(worker, "other.pth")
    weights.load(living)

    if leaves == "dies":
        world.lose(leaving)
    else:
        world.say(leaving, EngineDraining())
    weights.see(worker)

    assert world.sent(worker, CallDone) == [CallDone("call")]


def test_switch_with_no_engine_left_fails(weights: Weights) -> None:
    """If the only engine dies while it loads, the switch fails; so does one without any engine."""
    world = weights.world
    worker, engine = world.worker(), weights.engine()
    weights.switch(worker, "other.pth")
    world.lose(engine)
    weights.switch(worker, "other.pth", "later")

    calls = world.sent(worker, CallFailed)
    codes = [(call.call_id, call.code) for call in calls if isinstance(call, CallFailed)]
    assert codes == [("call", "not_ready"), ("later", "not_ready")]
    assert world.status(worker).defaults.model == "base"


def test_switch_that_takes_for_ever_fails(weights: Weights) -> None:
    """An engine that never answers LoadModel cannot block later calls."""
    world = weights.world
    worker, engine = world.worker(), weights.engine()
    weights.switch(worker, "other.pth")
    name = weights.asked(engine).model

    world.pass_time(LOAD_TIMEOUT_S + 1)

    assert len(world.sent(worker, CallFailed)) == 1
    assert world.sent(engine, UnloadModel) == [UnloadModel(name)]


def test_default_reference_is_kept_and_told(weights: Weights) -> None:
    """A default reference is in every status, and is not forgotten however many others come."""
    world = World(max_recording_bytes=1 << 20)
    worker = world.worker()
    world.say(worker, recording("voice", 1000), SwitchReference("call", "voice", "voice.wav"))
    weights.world = world
    weights.see(worker)
    for index in range(8):
        world.say(worker, recording(f"{index}", 400_000))
    world.engine(models=(BASE,))
    world.say(worker, submit("a", recordings=("voice",)))

    assert world.sent(worker, CallDone) == [CallDone("call")]
    assert world.status(worker).defaults == Defaults("base", "voice", "voice.wav")
    assert not world.sent(worker, Failed)
    world.check()


def test_unknown_reference_changes_nothing() -> None:
    """A recording that was never sent cannot become the default."""
    world = World()
    worker = world.worker()

    world.say(worker, SwitchReference("call", "voice", "voice.wav"))

    (failed,) = world.sent(worker, CallFailed)
    assert isinstance(failed, CallFailed)
    assert failed.code == "unknown_recording"
    assert world.status(worker).defaults == Defaults()


def test_dispatcher_after_one_that_died_knows_what_was_switched(weights: Weights) -> None:
    """Switched weights and the default reference outlive a dispatcher, by way of the supervisor."""
    world = weights.world
    worker, engine = world.worker(), weights.engine()
    supervisor = world.supervisor(fleet("ready"))
    weights.switch(worker, "other.pth")
    info = weights.load(engine)
    weights.see(worker)
    world.say(worker, recording("voice"), SwitchReference("second", "voice", "anna"))
    keepsake = supervisor.of(Keepsake)[-1]
    assert isinstance(keepsake, Keepsake)

    after = World()
    successor = after.worker()
    after.supervisor(keepsake)
    after.engine(models=(BASE, info))
    after.submit(successor, "a")

    defaults = after.status(successor).defaults
    assert defaults == Defaults(info.name, "voice", "anna")
    assert world.status(worker).defaults == defaults
    assert after.ends(successor) == {}


def test_nothing_runs_before_the_supervisor_has_said_what_was_switched() -> None:
    """A dispatcher that has a supervisor lets nobody in before it knows which weights are meant."""
    world = World(has_supervisor=True)
    worker = world.worker()
    world.engine()
    before = world.status(worker).state
    world.supervisor(fleet("ready"))

    assert before == "starting"
    assert world.status(worker).state == "ready"


def test_supervisor_that_missed_what_was_switched_is_told_when_it_comes_back(
    weights: Weights,
) -> None:
    """A supervisor that connects again is given what it must know for the next dispatcher."""
    world = weights.world
    worker = world.worker()
    weights.engine()
    world.say(worker, recording("voice"), SwitchReference("call", "voice", "anna"))

    supervisor = world.supervisor(fleet("ready"))

    (keepsake,) = supervisor.of(Keepsake)
    assert isinstance(keepsake, Keepsake)
    assert keepsake.reference == recording("voice")


def test_first_weights_are_known_again_after_a_dispatcher_died(weights: Weights) -> None:
    """Switched back to what engines begin with, nothing has to be loaded again after a death."""
    world = weights.world
    worker, engine = world.worker(), weights.engine()
    weights.switch(worker, "other.pth", "there")
    weights.load(engine)
    weights.see(worker)
    world.say(worker, SwitchModel("back", sovits=weights.files[1]))
    weights.see(worker)
    supervisor = world.supervisor(fleet("ready"))
    keepsake = supervisor.of(Keepsake)[-1]
    assert isinstance(keepsake, Keepsake)

    after = World()
    successor = after.worker()
    after.supervisor(keepsake)
    joined = after.engine(files=weights.files)

    assert after.status(successor).defaults.model == "base"
    assert after.status(successor).state == "ready"
    assert not after.sent(joined, LoadModel)
