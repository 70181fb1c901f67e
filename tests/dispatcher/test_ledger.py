"""What becomes of requests: limits, crashes, suspects, quarantine; and random histories."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.dispatcher.peers import Engine, Worker
from sovits_serve.protocol.codec import encode_body
from sovits_serve.protocol.messages import (
    Abort,
    Aborted,
    DropRecording,
    EngineDraining,
    Failed,
    Priority,
    PutRecording,
    Submit,
)
from tests.dispatcher.world import World, recording, request, submit


def test_full_queue_refuses_before_any_work() -> None:
    """One more than may wait is refused at once, with a time to come back."""
    world = World(max_waiting=2)
    worker, engine = world.worker(), world.engine(capacity=1)

    world.submit(worker, "a", "b", "c", "d")

    (failed,) = world.sent(worker, Failed)
    assert isinstance(failed, Failed)
    assert (failed.request_id, failed.code) == ("d", "queue_full")
    assert failed.retry_after_s
    assert world.given(engine) == ["a"]


def test_queue_is_bounded_by_bytes() -> None:
    """Few large requests fill the queue as many small ones do."""
    size_bytes = len(submit("a").payload)
    world = World(max_waiting_bytes=1 << 16)
    worker, _engine = world.worker(), world.engine(capacity=1)
    num_fitting = (1 << 16) // size_bytes

    world.submit(worker, "0", *(str(1000 + index) for index in range(num_fitting + 40)))

    assert set(world.ends(worker).values()) == {"queue_full"}
    assert world.dispatcher.ledger.queue.waiting_bytes <= 1 << 16
    world.check()


def test_one_client_cannot_have_everything() -> None:
    """Unfinished requests of one key are limited; others and nameless ones are not."""
    world = World(max_per_key=2)
    worker, engine = world.worker(), world.engine(capacity=1)
    for request_id in "abc":
        world.say(worker, submit(request_id, key="greedy"))
    world.say(worker, submit("d", key="modest"), submit("e"), submit("f"), submit("g"))
    world.finish(engine, "a")
    world.say(worker, submit("h", key="greedy"))

    assert world.ends(worker) == {"c": "too_many_requests", "a": "Finished"}
    world.check()


def test_interactive_before_batch_and_each_in_order() -> None:
    """Batch requests wait for interactive ones; inside a class first come is first served."""
    world = World()
    worker, engine = world.worker(), world.engine(capacity=1)
    order: list[tuple[str, Priority]] = [
        ("0", "batch"),
        ("1", "batch"),
        ("2", "interactive"),
        ("3", "batch"),
        ("4", "interactive"),
    ]
    for request_id, priority in order:
        world.say(worker, submit(request_id, priority=priority))
    for request_id in "02413":
        world.finish(engine, request_id)

    assert world.given(engine) == ["0", "2", "4", "1", "3"]


def test_least_loaded_engine_is_chosen_by_cost() -> None:
    """One long request counts as much as many short ones."""
    world = World()
    worker, first, second = world.worker(), world.engine(capacity=9), world.engine(capacity=9)

    world.say(worker, submit("long", cost=100))
    for request_id in "abcd":
        world.say(worker, submit(request_id, cost=3))

    assert world.given(first) == ["long"]
    assert world.given(second) == ["a", "b", "c", "d"]


def test_dead_engine_without_audio_is_made_up_for() -> None:
    """Requests that were silent so far run again, before those that came later, in order."""
    world = World()
    worker, dead = world.worker(), world.engine(capacity=3)
    world.submit(worker, "a", "b", "c", "later")
    world.audio(dead, "b")
    other = world.engine(capacity=1)
    assert world.given(other) == ["later"]
    world.submit(worker, "last")

    world.lose(dead)
    for request_id in ("later", "a", "c", "last"):
        world.finish(other, request_id)

    # A suspect is alone of its kind on an engine; "b" was heard, so it cannot begin anew.
    assert world.given(other) == ["later", "a", "c", "last"]
    assert world.ends(worker) == {
        "b": "engine_crash",
        "later": "Finished",
        "a": "Finished",
        "c": "Finished",
        "last": "Finished",
    }


def test_suspects_run_one_at_a_time_beside_others() -> None:
    """After a crash one suspect at most shares an engine with innocents."""
    world = World()
    worker, dead = world.worker(), world.engine(capacity=3)
    world.submit(worker, "a", "b", "c")
    world.lose(dead)

    engine = world.engine(capacity=3)
    world.submit(worker, "new")

    assert world.given(engine) == ["a", "new"]
    world.check()


def test_poison_kills_two_engines_at_most_and_is_quarantined() -> None:
    """A request under which two engines died fails; the same again is refused, another is not."""
    world = World(quarantine_s=60.0)
    worker = world.worker()
    for place in ("first", "second"):
        engine = world.engine(place=place)
        if place == "first":
            world.submit(worker, "poison")
        assert world.given(engine) == ["poison"]
        world.lose(engine)

    engine = world.engine()
    same = request("again", seed=5)
    world.say(worker, Submit("again", encode_body(same), (), cost=3))
    world.say(worker, submit("other", cost=4))
    world.pass_time(61.0)
    world.say(worker, submit("much later"))

    assert world.ends(worker) == {"poison": "engine_crash", "again": "quarantined"}
    assert world.given(engine) == ["other", "much later"]


def test_engines_that_die_at_once_are_one_crash() -> None:
    """What the first of several dead engines had is not given to the second, nor blamed twice."""
    world = World()
    worker, first, second = world.worker(), world.engine(place="a"), world.engine(place="b")
    world.submit(worker, "a", "b", "c", "d")
    world.lose(first, second)
    third = world.engine(capacity=4)
    for request_id in ("a", "b", "c", "d"):
        world.finish(third, request_id)

    assert sorted(world.given(first) + world.given(second)) == ["a", "b", "c", "d"]
    assert world.ends(worker) == dict.fromkeys("abcd", "Finished")


def test_innocent_beside_poison_is_not_dragged_down_twice() -> None:
    """Of two requests on a dead engine only the poisonous one meets the second death."""
    world = World()
    worker, first = world.worker(), world.engine(capacity=2)
    world.submit(worker, "poison", "innocent")
    world.lose(first)
    world.lose(world.engine(capacity=2))
    third = world.engine(capacity=2)
    world.finish(third, "innocent")

    assert world.ends(worker) == {"poison": "engine_crash", "innocent": "Finished"}


def test_abort_that_an_engine_took_with_it_is_answered() -> None:
    """A client that left gets its end even if the engine died before it could say so."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.submit(worker, "a")
    world.say(worker, Abort("a"))

    world.lose(engine)

    assert world.ends(worker) == {"a": "Aborted"}
    world.check()


def test_failing_engine_is_taken_out_and_comes_back_by_probe() -> None:
    """After five failures in a row an engine rests; then one request at a time tries it."""
    world = World()
    worker, bad, good = world.worker(), world.engine(capacity=1), world.engine(capacity=1)
    for index in range(5):
        world.submit(worker, f"bad-{index}", f"good-{index}")
        world.fail(bad, f"bad-{index}")
        world.finish(good, f"good-{index}")
    bad.capacity = good.capacity = 4
    num_before = len(world.given(bad))

    world.submit(worker, *(f"ejected-{index}" for index in range(4)))
    while_ejected = world.given(bad)[num_before:]
    world.pass_time(30.1)
    world.submit(worker, "probe", "after")
    by_probe = world.given(bad)[num_before:]
    world.finish(bad, "probe")

    assert while_ejected == []
    assert by_probe == ["probe"]
    assert world.given(bad)[num_before:] == ["probe", "after"]
    world.check()


def test_failed_probe_means_a_longer_rest() -> None:
    """An engine whose probe fails is out for twice as long."""
    world = World()
    worker, bad, _good = world.worker(), world.engine(capacity=1), world.engine(capacity=1)
    for index in range(5):
        world.submit(worker, f"{index}")
        world.fail(bad, f"{index}")
    world.pass_time(30.1)
    world.submit(worker, "probe")
    world.fail(bad, "probe")
    num_before = len(world.given(bad))

    world.submit(worker, "a", "b")
    world.pass_time(31.0)
    early = world.given(bad)[num_before:]
    world.pass_time(30.0)

    assert early == []
    assert world.given(bad)[num_before:] == ["b"]


def test_last_engine_is_never_taken_out() -> None:
    """An engine that only fails is still better than none; so is one that others have left."""
    world = World()
    worker, only = world.worker(), world.engine(capacity=9)
    for index in range(9):
        world.submit(worker, f"{index}")
        world.fail(only, f"{index}")
    second = world.engine(capacity=9)
    world.submit(worker, "on first", "on second")
    world.fail(only, "on first")
    world.submit(worker, "rests")
    world.lose(second)
    world.submit(worker, "a", "b")

    # "rests" waits: like "on second" it was on a dead engine, and suspects run one at a time.
    assert world.given(only)[-4:] == ["on first", "on second", "a", "b"]
    world.check()


@pytest.mark.parametrize("code", ["invalid_request", "bad_reference_audio", "text_too_long"])
def test_bad_requests_are_not_the_engines_fault(code: str) -> None:
    """A client with bad requests cannot take engines out of service."""
    world = World()
    worker, engine, _other = world.worker(), world.engine(capacity=1), world.engine(capacity=1)
    for index in range(9):
        world.submit(worker, f"{index}")
        world.fail(engine, f"{index}", code)
    world.submit(worker, "good")

    assert world.given(engine)[-1] == "good"


def test_engines_store_of_recordings_is_bounded() -> None:
    """An engine is told to drop what its requests do not use any more, before it has too much."""
    world = World(max_recording_bytes=1 << 20)
    worker, engine = world.worker(), world.engine(capacity=1)
    for key in ("one", "two", "three"):
        world.say(worker, recording(key, 500_000), submit(key, recordings=(key,)))
        world.finish(engine, key)

    assert world.sent(engine, DropRecording) == [DropRecording("one")]
    assert len(world.sent(engine, PutRecording)) == 3


def test_recordings_in_use_are_not_forgotten() -> None:
    """A store full of what requests use refuses more, and says so; later there is room again."""
    world = World(max_recording_bytes=1 << 20)
    worker, engine = world.worker(), world.engine(capacity=1)
    for key in ("one", "two", "three"):
        world.say(worker, recording(key, 500_000), submit(key, recordings=(key,)))
    world.finish(engine, "one")
    world.finish(engine, "two")
    world.say(worker, recording("three", 500_000), submit("again", recordings=("three",)))
    world.finish(engine, "again")

    assert world.ends(worker) == {
        "three": "queue_full",
        "one": "Finished",
        "two": "Finished",
        "again": "Finished",
    }
    world.check()


def test_engine_that_forgot_a_recording_is_sent_it_again() -> None:
    """When an engine says that it does not know a recording, the next request brings it anew."""
    world = World()
    worker, engine = world.worker(), world.engine()
    world.say(worker, recording("voice"), submit("a", recordings=("voice",)))
    world.fail(engine, "a", "unknown_recording")

    world.say(worker, submit("b", recordings=("voice",)))

    assert len(world.sent(engine, PutRecording)) == 2


# Random histories. One step is (what, which one, a number); what cannot be done is left out.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            "submit submit submit submit abort join audio finish finish finish fail die die "
            "time drain lose worker".split()
        ),
        st.integers(0, 30),
        st.integers(0, 5),
    ),
    min_size=10,
    max_size=120,
)


@dataclass
class History:
    """Plays steps against a dispatcher."""

    world: World
    workers: list[Worker] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    submitted: dict[str, Worker] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    def play(self, what: str, which: int, number: int) -> None:
        """Do a step."""
        getattr(self, f"do_{what}")(which, number)
        self.world.check()

    def do_submit(self, which: int, number: int) -> None:
        """Submit a request."""
        if not self.workers:
            return
        worker = self.workers[which % len(self.workers)]
        request_id = f"r{len(self.submitted)}"
        self.submitted[request_id] = worker
        priority: Priority = "batch" if number == 5 else "interactive"
        keys = ("voice",) if which % 2 else ()
        message = submit(
            request_id,
            recordings=keys,
            priority=priority,
            key=f"key{number % 3}",
            timeout_s=5.0 + 10 * number,
            cost=1 + number,
        )
        self.world.say(worker, recording("voice"), message)

    def do_abort(self, which: int, _number: int) -> None:
        """Abort some request, perhaps one that has ended."""
        if self.submitted:
            request_id = list(self.submitted)[which % len(self.submitted)]
            if self.submitted[request_id] in self.workers:
                self.world.say(self.submitted[request_id], Abort(request_id))

    def do_join(self, _which: int, number: int) -> None:
        """Connect an engine."""
        if len(self.engines) < 3:
            self.engines.append(self.world.engine(capacity=1 + number % 3))

    def do_audio(self, which: int, number: int) -> None:
        """Have an engine send audio."""
        if (place := self._running(which, number)) is not None:
            self.world.audio(*place)

    def do_finish(self, which: int, number: int) -> None:
        """Have an engine end a request, as it was asked to."""
        if (place := self._running(which, number)) is not None:
            engine, request_id = place
            if engine.running[request_id].is_aborting:
                self.world.say(engine, Aborted(request_id))
            else:
                self.world.finish(engine, request_id)

    def do_fail(self, which: int, number: int) -> None:
        """Have an engine fail a request."""
        if (place := self._running(which, number)) is not None:
            self.world.fail(*place)

    def do_die(self, which: int, _number: int) -> None:
        """Have an engine die with all it has."""
        if self.engines:
            engine = self.engines.pop(which % len(self.engines))
            self.deaths.update(list(engine.running))
            self.world.lose(engine)

    def do_drain(self, which: int, _number: int) -> None:
        """Have an engine finish what it has."""
        if self.engines:
            self.world.say(self.engines[which % len(self.engines)], EngineDraining())

    def do_time(self, which: int, _number: int) -> None:
        """Let time pass."""
        self.world.pass_time(which / 2)

    def do_worker(self, _which: int, _number: int) -> None:
        """Connect a worker."""
        if len(self.workers) < 3:
            self.workers.append(self.world.worker())

    def do_lose(self, which: int, _number: int) -> None:
        """Have a worker die."""
        if self.workers:
            self.world.lose(self.workers.pop(which % len(self.workers)))

    def finish_all(self) -> None:
        """Let engines and time end everything."""
        self.do_join(0, 0)
        for _ in range(1000):
            places = [(e, r) for engine in self.engines for e, r in [(engine, 0)] if e.running]
            if not places:
                break
            self.do_finish(0, 0)
        self.world.pass_time(1000.0)
        for engine in self.engines:
            for request_id in list(engine.running):
                self.world.say(engine, Aborted(request_id))
        self.world.check()

    def _running(self, which: int, number: int) -> tuple[Engine, str] | None:
        busy = [engine for engine in self.engines if engine.running]
        if not busy:
            return None
        engine = busy[which % len(busy)]
        return engine, list(engine.running)[number % len(engine.running)]


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_every_request_ends_exactly_once(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens, each Submit of a living worker gets one terminal message, in bounds."""
    world = World(max_waiting=6, max_per_key=4)
    history = History(world, [world.worker(), world.worker()], [world.engine(capacity=2)])

    for what, which, number in steps:
        history.play(what, which, number)
    history.finish_all()

    for worker in history.workers:
        asked = {name for name, owner in history.submitted.items() if owner is worker}
        assert world.ends(worker).keys() == asked
    runs = Counter(name for peer in world.peers for name in _given(world, peer))
    assert all(history.deaths[name] <= 2 for name in history.submitted)
    assert all(runs[name] <= history.deaths[name] + 1 for name in runs)
    assert world.dispatcher.ledger.is_idle


def _given(world: World, peer: Worker | Engine) -> list[str]:
    return world.given(peer) if isinstance(peer, Engine) else []
