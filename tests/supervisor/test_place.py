import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.protocol.reports import ChildReady, Dying, Heartbeat, Loading
from sovits_serve.supervisor.lifecycle import Deadlines
from sovits_serve.supervisor.place import Decision, Drain, Exit, Kill, Place, Start
from sovits_serve.supervisor.restarts import RestartBudget
from tests.supervisor.clock import FakeClock

CRASH = Exit(-9, "killed by SIGKILL", ("a line", "Segmentation fault"))
CLEAN = Exit(0, "exit code 0")


def make_place(max_restarts: int = 5) -> tuple[Place, FakeClock]:
    """Return a place whose first process was started."""
    clock = FakeClock()
    place = Place("cuda:0", Deadlines(), RestartBudget(max_restarts, 600.0, clock), clock)
    assert place.begin() == [Start(1)]
    return place, clock


def test_crash_loop_backs_off_and_ends() -> None:
    """A process that always dies is started at 0, 1, 3, 7, 15, 31 s and then given up."""
    place, clock = make_place()
    begun, starts = clock.now, [0.0]
    number = 1
    while place.failure is None:
        assert place.exited(number, CRASH) == []
        while place.state == "backoff":
            clock.advance(0.25)
            for decision in place.tick():
                assert decision == Start(number + 1)
                number += 1
                starts.append(clock.now - begun)

    assert starts == [0, 1, 3, 7, 15, 31]
    assert place.state == "failed"
    assert "killed by SIGKILL while starting; given up after 5 restarts in 600 s" in (
        place.failure.reason
    )
    assert place.failure.last_lines == CRASH.last_lines
    assert not place.failure.is_permanent


def test_back_off_is_visible() -> None:
    """While it waits, a place says what went wrong and when it tries again."""
    place, _ = make_place()
    place.exited(1, CRASH)

    assert place.state == "backoff"
    assert place.describe() == "killed by SIGKILL while starting; next start in 1 s"


@pytest.mark.parametrize(
    ("end", "words", "exit_code"),
    [
        (Exit(79, "exit code 79"), Dying("bad_checkpoint", "x.ckpt is truncated", True), 79),
        (Exit(78, "exit code 78"), Dying("bad_config", "device: no such", True), 78),
        (Exit(1, "exit code 1"), Dying("setup_error", "no kernel", True), 70),
        (Exit(78, "exit code 78"), None, 78),
    ],
    ids=["checkpoint", "config", "other", "without a word"],
)
def test_permanent_error_is_not_retried(end: Exit, words: Dying | None, exit_code: int) -> None:
    """What would end the same way again is started once, and has its own exit code."""
    place, clock = make_place()
    if words is not None:
        place.note(1, words)
    place.exited(1, end)
    clock.advance(3600)

    assert place.tick() == []
    assert place.failure is not None
    assert place.failure.is_permanent
    assert place.failure.exit_code == exit_code


def test_hang_is_killed_once_and_restarted() -> None:
    """One decision ends a hung process; however it then ends, it is a death."""
    place, clock = make_place()
    place.note(1, ChildReady())
    place.note(1, Heartbeat(3, has_work=True))
    clock.advance(61)

    [kill] = place.tick()
    assert isinstance(kill, Kill)
    assert "(step_timeout_s)" in kill.reason
    assert place.tick() == []
    assert place.exited(1, CLEAN) == []
    assert place.state == "backoff"


def test_replacement_starts_first_and_swaps() -> None:
    """The old process serves until the new one is ready, and only then drains."""
    place, _ = make_place()
    place.note(1, ChildReady())

    assert place.replace(is_start_first=True) == [Start(2)]
    assert place.note(2, Loading("t2s", 0.5)) == []
    assert (place.state, place.current) == ("ready", 1)
    assert place.describe() == "its replacement is loading (50%)"
    assert place.note(2, ChildReady()) == [Drain(1)]
    assert (place.state, place.current) == ("ready", 2)
    assert place.exited(1, CLEAN) == []
    assert place.state == "ready"


def test_replacement_that_stops_first_starts_at_once_then() -> None:
    """Where two do not fit, the new process starts when the old one has made room."""
    place, _ = make_place()
    place.note(1, ChildReady())

    assert place.replace(is_start_first=False) == [Drain(1)]
    assert place.state == "draining"
    assert place.exited(1, CLEAN) == [Start(2)]


def test_failed_replacement_leaves_the_old_process() -> None:
    """A replacement that dies costs nothing but another try, later each time."""
    place, clock = make_place()
    place.note(1, ChildReady())
    assert place.relieve(is_start_first=True) == [Start(2)]
    place.exited(2, CRASH)

    assert (place.state, place.current) == ("ready", 1)
    assert place.relieve(is_start_first=True) == []
    clock.advance(1)
    place.note(1, Heartbeat())
    assert place.relieve(is_start_first=True) == [Start(3)]
    place.exited(3, CRASH)
    clock.advance(1)
    assert place.relieve(is_start_first=True) == []


def test_old_process_that_dies_is_followed_by_the_one_that_loads() -> None:
    """No third process is started when the old one dies under its replacement."""
    place, clock = make_place()
    place.note(1, ChildReady())
    place.replace(is_start_first=True)
    place.note(2, Loading("t2s", 0.5))

    assert place.exited(1, CRASH) == []
    assert (place.state, place.current) == ("loading", 2)
    clock.advance(5)
    assert place.tick() == []


def test_soft_limit_does_not_replace_in_circles() -> None:
    """A process that is past the limit as soon as it is ready is replaced ever more rarely."""
    place, clock = make_place()
    place.note(1, ChildReady())
    replaced_at = []
    for second in range(900):
        if decisions := place.relieve(is_start_first=True):
            [start] = decisions
            assert isinstance(start, Start)
            replaced_at.append(second)
            place.note(start.number, ChildReady())
        assert place.current is not None
        place.note(place.current, Heartbeat())
        clock.advance(1)

    assert replaced_at == [0, 30, 90, 210, 450]


def test_hard_limit_restarts_without_delay_but_not_for_ever() -> None:
    """A process killed for its memory is started at once, counted, and given up in the end."""
    place, _ = make_place(max_restarts=2)
    for number in (1, 2):
        place.note(number, ChildReady())
        assert place.kill_for_memory(number, "uses too much") == [
            Kill(number, "uses too much", is_urgent=True)
        ]
        assert place.kill_for_memory(number, "uses too much") == []
        assert place.exited(number, CRASH) == [Start(number + 1)]
    place.note(3, ChildReady())
    place.kill_for_memory(3, "uses too much")
    place.exited(3, CRASH)

    assert place.num_memory_kills == 3
    assert place.failure is not None
    assert "uses too much" in place.failure.reason


def test_nothing_starts_after_stop() -> None:
    """Whatever happens while the server ends, no process is started."""
    place, clock = make_place()
    place.note(1, ChildReady())
    place.stop()

    assert place.exited(1, CRASH) == []
    clock.advance(3600)
    assert place.tick() == []
    assert place.replace(is_start_first=True) == []


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["ready", "load", "work", "crash", "permanent", "clean", "tick", "relieve", "memory"]
        ),
        st.integers(0, 2),
        st.floats(0.1, 700),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.booleans())
def test_any_course_of_events_keeps_one_place_in_order(
    events: list[tuple[str, int, float]], is_start_first: bool
) -> None:
    """At most one process serves and one replaces it; something runs, waits, or has failed."""
    place, clock = make_place()
    running = {1}

    def take(decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Start):
                assert decision.number not in running
                assert decision.number == place.num_starts
                running.add(decision.number)
            else:
                assert decision.number in running

    for event, which, pause_s in events:
        number = sorted(running)[which % len(running)] if running else 0
        match event:
            case "ready":
                take(place.note(number, ChildReady()))
            case "load":
                take(place.note(number, Loading("t2s", pause_s)))
            case "work":
                take(place.note(number, Heartbeat(int(pause_s), has_work=True)))
            case "crash" | "permanent" | "clean":
                end = {"crash": CRASH, "clean": CLEAN}.get(event, Exit(79, "exit code 79"))
                running.discard(number)
                take(place.exited(number, end))
            case "tick":
                clock.advance(pause_s)
                take(place.tick())
            case "relieve":
                take(place.relieve(is_start_first=is_start_first))
            case "memory":
                take(place.kill_for_memory(number, "uses too much"))

        assert set(place.lives) == running
        serving = {n for n, life in place.lives.items() if life.state != "draining"}
        assert serving <= {place.current, place.successor}
        is_waiting = place.state == "backoff"
        assert (place.current is not None) + is_waiting + (place.failure is not None) == 1
