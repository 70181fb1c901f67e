import pytest

from sovits_serve.protocol.reports import ChildReady, Heartbeat, Loading, Report, Warming
from sovits_serve.supervisor.lifecycle import ChildLife, Deadlines
from tests.supervisor.clock import FakeClock

LIMITS = Deadlines(
    start_s=60, load_s=300, max_load_s=900, warm_s=300, step_s=60, ping_s=15, drain_s=600
)


def make_life(*reports: Report) -> tuple[ChildLife, FakeClock]:
    """Return a life that has made these reports, and its clock."""
    clock = FakeClock()
    life = ChildLife(LIMITS, clock)
    for report in reports:
        life.note(report)
    return life, clock


@pytest.mark.parametrize(
    ("reports", "limit_s", "setting"),
    [
        ((), 60, "start_timeout_s"),
        ((Loading("t2s", 0.1),), 300, "load_timeout_s"),
        ((Warming("voice", 0.1),), 300, "warm_timeout_s"),
        ((ChildReady(), Heartbeat(7, has_work=True)), 60, "step_timeout_s"),
        ((ChildReady(), Heartbeat(7)), 15, "ping_timeout_s"),
        ((ChildReady(),), 15, "ping_timeout_s"),
    ],
    ids=["starting", "loading", "warming", "working", "idle", "idle and silent"],
)
def test_each_state_has_its_own_deadline(
    reports: tuple[Report, ...], limit_s: float, setting: str
) -> None:
    """A process is overdue just after its state's deadline, in words that name the setting."""
    life, clock = make_life(*reports)
    clock.advance(limit_s - 0.1)
    assert life.overdue() == ""

    clock.advance(0.2)

    assert f"({setting})" in life.overdue()
    assert f"{limit_s:g} s" in life.overdue()


def test_progress_extends_the_loading_deadline() -> None:
    """Each report that says something new starts the deadline anew, up to max_load_s."""
    life, clock = make_life()
    for done in range(5):
        life.note(Loading("t2s", done / 10))
        clock.advance(170)
        assert life.overdue() == ""

    clock.advance(60)
    life.note(Loading("t2s", 0.9))

    assert "(max_load_s)" in life.overdue()


def test_saying_the_same_again_is_no_progress() -> None:
    """A thread that repeats a report does not keep a stuck load alive."""
    life, clock = make_life()
    for _ in range(31):
        life.note(Loading("t2s", 0.5))
        life.note(Heartbeat())
        clock.advance(10)

    assert "made no progress for 300 s while loading t2s" in life.overdue()


def test_each_voice_has_its_own_warm_up_deadline() -> None:
    """Many voices may take long together."""
    life, clock = make_life()
    for voice in range(20):
        life.note(Warming(f"voice {voice}", voice / 20))
        clock.advance(299)

    assert life.overdue() == ""


def test_long_work_is_no_hang_while_steps_are_made() -> None:
    """What counts is the step counter, for however long there is work."""
    life, clock = make_life(ChildReady())
    for step in range(100):
        life.note(Heartbeat(step, has_work=True))
        clock.advance(59)

    assert life.overdue() == ""


def test_heartbeats_without_steps_do_not_hide_a_hang() -> None:
    """A loop that beats and makes no step with work queued is ended."""
    life, clock = make_life(ChildReady(), Heartbeat(7, has_work=True))
    for _ in range(61):
        clock.advance(1)
        life.note(Heartbeat(7, has_work=True))

    assert "(step_timeout_s)" in life.overdue()


def test_idle_time_does_not_count_as_a_long_step() -> None:
    """Work that comes after an hour of idleness has the whole deadline."""
    life, clock = make_life(ChildReady())
    for _ in range(360):
        clock.advance(10)
        life.note(Heartbeat(7))
    life.note(Heartbeat(7, has_work=True))
    clock.advance(59)

    assert life.overdue() == ""


@pytest.mark.parametrize(
    "reports",
    [(), (Loading("t2s", 0.1),), (ChildReady(),), (ChildReady(), Heartbeat(1, has_work=True))],
    ids=["starting", "loading", "idle", "working"],
)
def test_time_in_which_the_supervisor_stood_still_is_forgiven(reports: tuple[Report, ...]) -> None:
    """A laptop that slept for an hour finds all its processes alive."""
    life, clock = make_life(*reports)
    clock.advance(3600)
    assert life.overdue()

    life.forgive(3600)

    assert life.overdue() == ""


def test_drained_process_may_take_as_long_as_a_request() -> None:
    """A replaced HTTP worker that says nothing any more is ended after the longest request."""
    life, clock = make_life(ChildReady())
    life.drain()
    clock.advance(599)
    assert life.overdue() == ""

    clock.advance(2)

    assert "was not done 600 s after its replacement" in life.overdue()


def test_weights_loaded_later_do_not_change_the_state() -> None:
    """A ready engine that reports loading (of other weights) stays ready."""
    life, _ = make_life(ChildReady(), Loading("other", 0.5))

    assert life.state == "ready"
