"""When a process that died is started again, and when no more. Times in seconds, clock given."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class BackOff:
    """Waits that double: ``first_s``, twice that, four times, up to ``longest_s``."""

    first_s: float = 1.0
    longest_s: float = 60.0

    def delay_s(self, num_before: int) -> float:
        """Return the wait after ``num_before`` earlier ones."""
        return min(self.longest_s, self.first_s * 2.0 ** min(num_before, 60))


DEFAULT_BACK_OFF = BackOff()


class RestartBudget:
    """How many restarts are left; health refills it, as a restart counts for ``window_s`` only."""

    def __init__(
        self, max_restarts: int, window_s: float, clock: Clock, back_off: BackOff = DEFAULT_BACK_OFF
    ) -> None:
        self.max_restarts = max_restarts
        self.window_s = window_s
        self._clock = clock
        self._back_off = back_off
        self._restarts: deque[tuple[float, bool]] = deque()  # when, and whether it raises the wait

    @property
    def num_recent(self) -> int:
        """Return how many restarts count now."""
        while self._restarts and self._restarts[0][0] <= self._clock() - self.window_s:
            self._restarts.popleft()
        return len(self._restarts)

    def take(self, *, is_delayed: bool = True) -> float | None:
        """Use up one restart; return how long to wait before it, or None if none is left.

        One that is not delayed counts, but neither waits nor makes later ones wait longer.
        """
        if self.num_recent >= self.max_restarts:
            return None
        num_before = sum(raises for _, raises in self._restarts)
        self._restarts.append((self._clock(), is_delayed))
        return self._back_off.delay_s(num_before) if is_delayed else 0.0
