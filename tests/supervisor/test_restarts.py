from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.supervisor.restarts import BackOff, RestartBudget
from tests.supervisor.clock import FakeClock


def test_waits_double_up_to_the_longest() -> None:
    """Restarts come after 1, 2, 4, ... seconds and never more than a minute apart."""
    back_off = BackOff(1.0, 60.0)

    assert [back_off.delay_s(k) for k in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert back_off.delay_s(100_000) == 60


def test_budget_ends() -> None:
    """After max_restarts within the window there is no further one."""
    budget = RestartBudget(5, 600.0, FakeClock())

    assert [budget.take() for _ in range(7)] == [1, 2, 4, 8, 16, None, None]


def test_health_refills_the_budget() -> None:
    """A restart older than the window counts no more, for the number and for the wait."""
    clock = FakeClock()
    budget = RestartBudget(3, 600.0, clock)
    assert [budget.take() for _ in range(4)] == [1, 2, 4, None]

    clock.advance(600.0)

    assert [budget.take() for _ in range(4)] == [1, 2, 4, None]


def test_restart_without_wait_counts_but_does_not_raise_the_wait() -> None:
    """What is replaced for its memory starts at once, yet not in circles for ever."""
    budget = RestartBudget(3, 600.0, FakeClock())

    waits = [budget.take(is_delayed=False), budget.take(), budget.take(is_delayed=False)]

    assert waits == [0.0, 1.0, 0.0]
    assert budget.take(is_delayed=False) is None


@given(
    st.integers(0, 8),
    st.lists(st.tuples(st.floats(0, 300), st.booleans()), max_size=60),
)
def test_never_more_restarts_in_any_window_than_allowed(
    max_restarts: int, deaths: list[tuple[float, bool]]
) -> None:
    """However deaths are spread, no window of time holds more than max_restarts restarts."""
    clock = FakeClock()
    budget = RestartBudget(max_restarts, 600.0, clock)
    taken = []
    for pause_s, is_delayed in deaths:
        clock.advance(pause_s)
        if budget.take(is_delayed=is_delayed) is not None:
            taken.append(clock.now)

    for first in taken:
        assert sum(first <= at < first + 600.0 for at in taken) <= max_restarts
