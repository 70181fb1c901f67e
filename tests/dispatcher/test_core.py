"""The dispatcher as its peers see it: who is let in, what is told, what happens when one leaves."""

from typing import Any

import msgspec
import pytest

from sovits_serve.dispatcher.core import HOLD_S
from sovits_serve.dispatcher.routing import MAX_UNREAD_BYTES
from sovits_serve.protocol.codec import encode_body
from sovits_serve.protocol.messages import (
    Abort,
    Aborted,
    AudioChunk,
    EngineDraining,
    EngineLoad,
    EngineReady,
    Failed,
    Finished,
    GetMetrics,
    HttpSample,
    Message,
    Metrics,
    Observe,
    QueueReport,
    Welcome,
)
from tests.dispatcher.world import (
    FakePeer,
    World,
    engine_status,
    fleet,
    recording,
    request,
    submit,
)


def test_request_reaches_the_engine_and_its_audio_the_worker() -> None:
    """A request is forwarded as it was submitted, its audio and end come back in order."""
    world = World()
    worker, engine = world.worker(), world.engine()

    world.submit(worker, "a")
    world.audio(engine, "a")
    world.finish(engine, "a")

    assert world.peers[engine].sent[-1] == request("a")
    answers = world.sent(worker, AudioChunk, Finished)
    assert [type(answer) for answer in answers] == [AudioChunk, Finished]
    world.check()


def test_no_engine_ever_ready_refuses_at_once() -> None:
    """Before the first engine is ready a request fails as not_ready and says when to come back."""
    world = World()
    worker = world.worker()

    world.submit(worker, "a")

    (failed,) = world.sent(worker, Failed)
    assert isinstance(failed, Failed)
    assert failed.code == "not_ready"
    assert failed.retry_after_s


def test_requests_wait_for_a_short_time_without_engine() -> None:
    """After the only engine died requests are held for its successor, but not for ever."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.lose(engine)

    world.submit(worker, "held")
    world.pass_time(HOLD_S - 1)
    successor = world.engine()
    world.finish(successor, "held")
    world.lose(successor)
    world.submit(worker, "in vain")
    world.pass_time(HOLD_S + 1)
    world.submit(worker, "refused")

    assert world.given(successor) == ["held"]
    assert world.ends(worker) == {
        "held": "Finished",
        "in vain": "not_ready",
        "refused": "not_ready",
    }


def test_server_about_to_stop_is_not_ready_and_still_serves() -> None:
    """Within shutdown_delay_s readiness is gone, for load balancers, and requests are let in."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.supervisor(msgspec.structs.replace(fleet("ready", ""), is_leaving=True))

    world.submit(worker, "late")

    assert world.status(worker).state == "draining"
    assert world.given(engine) == ["late"]


def test_readiness_flips_at_once() -> None:
    """Workers hear that no engine is left in the same turn, and that one is back."""
    world = World()
    worker, engine = world.worker(), world.engine()
    states = [world.status(worker).state]
    world.lose(engine)
    states.append(world.status(worker).state)
    world.engine()
    states.append(world.status(worker).state)

    assert states == ["ready", "starting", "ready"]


def test_draining_fleet_refuses_and_finishes() -> None:
    """While the server stops, new requests are refused and admitted ones finished."""
    world = World()
    worker, engine = world.worker(), world.engine(capacity=1)
    world.submit(worker, "running", "waiting")
    supervisor = world.supervisor(fleet("draining", "stopping"))

    world.submit(worker, "late")
    world.finish(engine, "running")
    world.finish(engine, "waiting")

    assert world.ends(worker) == {"late": "draining", "running": "Finished", "waiting": "Finished"}
    assert supervisor.of(QueueReport)[-1] == QueueReport(0, 0, ("cpu#1",))


def test_failed_fleet_ends_what_waits() -> None:
    """When no engine can be started any more nobody is left waiting, and the reason is told."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.lose(engine)
    world.submit(worker, "held")

    world.supervisor(fleet("failed", "cpu died five times"))
    world.submit(worker, "late")

    assert world.ends(worker) == {"held": "not_ready", "late": "not_ready"}
    assert world.status(worker).state == "failed"
    assert "five times" in world.status(worker).reason


def test_stopping_dispatcher_ends_everything() -> None:
    """A dispatcher that ends leaves no request without its terminal message."""
    world = World()
    worker, engine = world.worker(), world.engine(capacity=1)
    world.submit(worker, "running", "waiting")

    world.dispatcher.stop()

    assert world.ends(worker) == {"running": "draining", "waiting": "draining"}
    assert world.sent(engine, Abort) == [Abort("running")]
    world.check()


def test_abort_of_a_waiting_request_never_reaches_an_engine() -> None:
    """A client that leaves the queue is answered at once."""
    world = World()
    worker, engine = world.worker(), world.engine(capacity=1)
    world.submit(worker, "running", "waiting")

    world.say(worker, Abort("waiting"))

    assert world.ends(worker) == {"waiting": "Aborted"}
    assert world.given(engine) == ["running"]
    world.check()


def test_abort_of_a_running_request_goes_to_its_engine_once() -> None:
    """The engine is asked to abort, and the answer is the engine's."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.submit(worker, "a")

    world.say(worker, Abort("a"), Abort("a"))
    before = world.ends(worker)
    world.say(engine, Aborted("a"))

    assert not before
    assert world.sent(engine, Abort) == [Abort("a")]
    assert world.ends(worker) == {"a": "Aborted"}
    world.check()


def test_lost_worker_frees_its_places() -> None:
    """What a dead worker asked for is aborted wherever it is, and others move up."""
    world = World()
    dead, living, engine = world.worker(), world.worker(), world.engine(capacity=1)
    world.submit(dead, "a", "b")
    world.submit(living, "c")

    world.lose(dead)
    world.say(engine, Aborted("a"))

    assert world.sent(engine, Abort) == [Abort("a")]
    assert world.given(engine) == ["a", "c"]
    world.check()


def test_only_the_owner_can_abort() -> None:
    """A worker cannot end another worker's request."""
    world = World()
    owner, other, engine = world.worker(), world.worker(), world.engine()
    world.submit(owner, "a")

    world.say(other, Abort("a"))

    assert not world.sent(engine, Abort)


def test_request_id_in_use_is_refused() -> None:
    """Two unfinished requests of one name could not be told apart."""
    world = World()
    first, second, engine = world.worker(), world.worker(), world.engine()
    world.submit(first, "a")

    world.submit(second, "a")
    world.finish(engine, "a")

    assert world.ends(second) == {"a": "invalid_request"}
    assert world.ends(first) == {"a": "Finished"}


def test_deadline_in_the_queue_never_reaches_an_engine() -> None:
    """A request whose time is over while it waits fails, and no engine sees it."""
    world = World()
    worker, engine = world.worker(), world.engine(capacity=1)
    world.submit(worker, "a")
    world.say(worker, submit("b", timeout_s=5.0))

    world.pass_time(5.1)
    world.finish(engine, "a")

    assert world.ends(worker) == {"a": "Finished", "b": "deadline_exceeded"}
    assert world.given(engine) == ["a"]


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_no_time_at_all_expires(timeout_s: float) -> None:
    """A timeout that is no time ends the request at the next tick, and disturbs no other."""
    world = World()
    worker, _engine = world.worker(), world.engine(capacity=1)
    world.submit(worker, "a")
    world.say(worker, submit("b", timeout_s=timeout_s))

    world.pass_time(0.0)

    assert world.ends(worker) == {"b": "deadline_exceeded"}


def test_deadline_while_running_keeps_the_place_until_the_engine_lets_go() -> None:
    """The client is told in time; the engine gets the next request when it is free."""
    world = World()
    worker, engine = world.worker(), world.engine(capacity=1)
    world.say(worker, submit("a", timeout_s=5.0))
    world.submit(worker, "b")
    world.pass_time(5.1)
    before = world.given(engine)
    world.audio(engine, "a")
    world.say(engine, Aborted("a"))

    assert world.ends(worker) == {"a": "deadline_exceeded"}
    assert world.sent(engine, Abort) == [Abort("a")]
    assert not world.sent(worker, AudioChunk)
    assert (before, world.given(engine)) == (["a"], ["a", "b"])
    world.check()


def test_engine_that_refuses_because_it_drains_loses_nothing() -> None:
    """A request that crossed with EngineDraining goes to another engine as if nothing was."""
    world = World()
    worker, old = world.worker(), world.engine(capacity=1)
    world.submit(worker, "a", "b")
    new = world.engine(capacity=1)
    assert world.given(new) == ["b"]

    world.fail(old, "a", "draining")
    world.finish(new, "b")
    world.finish(new, "a")

    assert world.ends(worker) == {"a": "Finished", "b": "Finished"}
    world.check()


def test_draining_engine_gets_no_more() -> None:
    """During a soft swap the old engine finishes, the new one gets what comes."""
    world = World()
    worker, old = world.worker(), world.engine()
    world.submit(worker, "a")
    new = world.engine()

    world.say(old, EngineDraining())
    world.submit(worker, "b")
    world.finish(old, "a")
    world.lose(old)

    assert world.given(new) == ["b"]
    assert world.ends(worker) == {"a": "Finished"}
    assert world.status(worker).state == "ready"


def test_second_process_of_one_name_is_refused() -> None:
    """An engine's name belongs to one process at a time."""
    world = World()
    engine = world.engine()

    assert world.dispatcher.add_engine(engine.name, engine.pid + 1, FakePeer()) is None
    assert not world.peers[engine].closed


def test_engine_that_connects_again_replaces_its_dead_connection() -> None:
    """The same process under the same name is no stranger."""
    world = World()
    engine = world.engine()

    assert world.dispatcher.add_engine(engine.name, engine.pid, FakePeer()) is not None
    assert world.peers[engine].closed


@pytest.mark.parametrize("message", [Welcome(), EngineReady("cpu", (), 1)])
def test_worker_that_says_nonsense_is_disconnected(message: Message) -> None:
    """A message that the sender's role does not send ends the connection."""
    world = World()
    worker = world.worker()

    world.say(worker, message)

    assert world.peers[worker].closed


def test_engine_that_says_nonsense_is_disconnected() -> None:
    """The same for an engine, and for one that is ready twice."""
    world = World()
    engines = [world.engine(), world.engine()]

    world.say(engines[0], Welcome())
    world.say(engines[1], EngineReady("cpu", (), 1))

    assert all(world.peers[engine].closed for engine in engines)


def test_new_supervisor_replaces_the_old_one() -> None:
    """There is one supervisor; the old one's end does not matter any more."""
    world = World()
    worker = world.worker()
    world.engine()
    old = world.supervisor(fleet("ready"))
    world.supervisor(fleet("draining", "stopping"))

    world.dispatcher.lose_supervisor(old)

    assert old.closed
    assert world.status(worker).state == "draining"


def test_engines_are_as_the_supervisor_says_with_figures_of_their_connection() -> None:
    """Status shows each place once; what only a connection tells is matched by process id."""
    world = World()
    worker, engine = world.worker(), world.engine(place="cuda:0")
    world.say(engine, EngineLoad(num_steps=7, num_running=3, num_waiting=2))
    world.supervisor(
        fleet(
            "ready",
            "",
            engine_status("cuda:0", "ready", engine.pid),
            engine_status("cuda:1", "loading", 5),
        )
    )

    first, second = world.status(worker).engines

    assert (first.name, first.num_steps, first.num_running, first.num_waiting) == (
        "cuda:0",
        7,
        3,
        2,
    )
    assert first.models == ("base",)
    assert (second.name, second.state) == ("cuda:1", "loading")


def test_without_supervisor_engines_are_their_connections() -> None:
    """Engines that were started by hand are seen too."""
    world = World()
    worker, engine = world.worker(), world.engine(place="cuda:0")

    (status,) = world.status(worker).engines

    assert (status.name, status.state, status.pid) == ("cuda:0", "ready", engine.pid)


def test_reason_names_the_engines() -> None:
    """While nothing is ready people can read what is going on."""
    world = World()
    worker = world.worker()

    world.supervisor(fleet("ready", "", engine_status("cuda:0", "backoff")))

    assert world.status(worker).state == "starting"
    assert "cuda:0 is backoff" in world.status(worker).reason


def test_status_comes_every_second_and_reports_twice() -> None:
    """Even when nothing changes, peers hear that the dispatcher lives."""
    world = World()
    worker, supervisor = world.worker(), world.supervisor(fleet("starting"))
    world.pass_time(0)
    world.peers[worker].sent.clear()
    supervisor.sent.clear()

    for _ in range(40):
        world.pass_time(0.25)

    assert len(world.peers[worker].sent) == 10
    assert len(supervisor.sent) == 20


def test_figures_of_the_last_minute() -> None:
    """Status tells waits, first audio and throughput, and forgets them after a minute."""
    world = World()
    worker, engine = world.worker(), world.engine(capacity=1)
    world.submit(worker, "a", "b")
    world.pass_time(2.0)
    world.audio(engine, "a")
    world.finish(engine, "a")
    world.pass_time(1.0)
    queue = world.status(worker).queue

    assert queue.wait_p50_s == 2.0
    assert queue.first_audio_p50_s == 2.0
    assert queue.audio_s_per_s > 0
    assert (queue.num_running, queue.num_finished) == (1, 1)

    world.pass_time(61.0)
    assert world.status(worker).queue.wait_p50_s == 0.0


def test_metrics_answer_whatever_state_things_are_in() -> None:
    """GetMetrics is answered from what the dispatcher knows, without asking anybody."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.submit(worker, "a", "b", "c")
    world.audio(engine, "a")
    world.say(worker, Observe((HttpSample("/v1/audio/speech", 200, 0.2, "complete"),)))

    world.say(worker, GetMetrics("call"))

    (answer,) = world.sent(worker, Metrics)
    assert isinstance(answer, Metrics)
    lines = answer.text.decode().splitlines()
    assert "sovits_serve_requests_waiting 1.0" in lines
    assert "sovits_serve_requests_running 2.0" in lines
    assert 'sovits_serve_engine_state{engine="cpu",state="ready"} 1.0' in lines


def test_busy_time_of_an_engine_that_never_rests_is_counted() -> None:
    """Busy seconds grow while a request runs, not only once the engine is idle again."""
    world = World()
    worker, _engine = world.worker(), world.engine()
    world.submit(worker, "long")
    for _ in range(10):
        world.pass_time(1.0)

    text = world.metrics.render().decode()

    assert 'sovits_serve_engine_busy_seconds_total{engine="cpu"} 10.0' in text


def test_full_queue_says_when_to_come_back() -> None:
    """Retry-After follows from how fast requests have been ending."""
    world = World(max_waiting=30)
    worker, engine = world.worker(), world.engine(capacity=1)
    for index in range(10):
        world.submit(worker, f"done-{index}")
        world.finish(engine, f"done-{index}")
    world.pass_time(2.0)

    world.submit(worker, *(f"{index}" for index in range(32)))

    (failed,) = world.sent(worker, Failed)
    assert isinstance(failed, Failed)
    assert failed.retry_after_s == pytest.approx(6.0)  # 30 wait, 5 end per second


def test_unknown_recording_is_told_and_cured() -> None:
    """A worker is told that a recording is missing; once it has been sent the request runs."""
    world = World()
    worker, engine = world.worker(), world.engine()

    world.say(worker, submit("a", recordings=("voice",)))
    world.say(worker, recording("voice"), submit("b", recordings=("voice",)))

    assert world.ends(worker) == {"a": "unknown_recording"}
    assert world.peers[engine].sent == [recording("voice"), request("b", recordings=("voice",))]


def test_recording_is_sent_to_each_engine_once() -> None:
    """An engine that has a recording is not sent it again; another one is."""
    world = World()
    worker, first = world.worker(), world.engine(capacity=2)
    world.say(worker, recording("voice"))
    for request_id in "abc":
        world.say(worker, submit(request_id, recordings=("voice",)))
    second = world.engine(capacity=2)

    named = [request(request_id, recordings=("voice",)) for request_id in "abc"]
    assert world.peers[first].sent == [recording("voice"), *named[:2]]
    assert world.peers[second].sent == [recording("voice"), named[2]]


def test_engine_that_was_told_to_end_makes_no_suspects() -> None:
    """Requests of engines that said EngineDraining before they went run again, however often."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.submit(worker, "a")
    for _ in range(3):
        world.say(engine, EngineDraining())
        world.lose(engine)
        engine = world.engine()
        assert world.given(engine) == ["a"]
    world.finish(engine, "a")

    assert world.ends(worker) == {"a": "Finished"}


@pytest.mark.parametrize(
    "change",
    [
        {"payload": b"garbage"},
        {"payload": encode_body(Abort("a"))},
        {"payload": encode_body(request("another"))},
        {"recordings": ("voice",)},
    ],
    ids=["garbage", "another message", "another id", "other recordings"],
)
def test_what_is_no_request_never_reaches_an_engine(change: dict[str, Any]) -> None:
    """A Submit whose payload is not the request it announces is refused: it could end an engine."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.say(worker, recording("voice"))

    world.say(worker, msgspec.structs.replace(submit("a"), **change))

    assert world.ends(worker) == {"a": "invalid_request"}
    assert not world.given(engine)


def test_engine_that_has_much_to_read_gets_no_more() -> None:
    """Requests go to another engine, or wait, while one has not read what it was sent."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.peers[engine].unsent_bytes = MAX_UNREAD_BYTES + 1

    world.submit(worker, "a")
    before = world.given(engine)
    world.peers[engine].unsent_bytes = 0
    world.pass_time(0.1)

    assert before == []
    assert world.given(engine) == ["a"]
