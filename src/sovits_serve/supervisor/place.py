"""A place is where one process of a kind is to run: who runs there, and what is done next.

Plain Python: events go in, decisions come out, the clock is given. It knows nothing of pipes and
signals, so that every course of events can be tested without a process. Usually one process runs
in a place; while it is replaced there are two: the ``current`` one serves until its ``successor``
is ready, then drains. Starts are numbered from 1 for as long as the place exists.
"""

from dataclasses import dataclass

from sovits_serve.errors import CheckpointError, ConfigError, SetupError
from sovits_serve.protocol.messages import EngineState
from sovits_serve.protocol.reports import Report
from sovits_serve.supervisor.lifecycle import ChildLife, Deadlines
from sovits_serve.supervisor.restarts import DEFAULT_BACK_OFF, BackOff, Clock, RestartBudget

_EXIT_CODES = {cls.code: cls.exit_code for cls in (SetupError, ConfigError, CheckpointError)}
_PERMANENT_EXIT_CODES = frozenset({ConfigError.exit_code, CheckpointError.exit_code})
# An engine that is past its soft limit again as soon as it is ready is not replaced in circles:
# it is left alone for that long, then for twice as long, ...
_REPLACEMENT_BACK_OFF = BackOff(30.0, 3600.0)


@dataclass(frozen=True)
class Start:
    """Start a process."""

    number: int


@dataclass(frozen=True)
class Drain:
    """Tell a process to finish what it has and to end."""

    number: int


@dataclass(frozen=True)
class Kill:
    """End a process: politely at first, or at once."""

    number: int
    reason: str
    is_urgent: bool = False


Decision = Start | Drain | Kill


@dataclass(frozen=True)
class Exit:
    """How a process ended."""

    code: int | None  # negative: by that signal; None: it could not even be started
    description: str
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a place was given up."""

    reason: str
    is_permanent: bool  # another start would end the same way
    exit_code: int
    last_lines: tuple[str, ...] = ()


class Place:
    """Decides what runs in one place."""

    def __init__(
        self,
        name: str,
        deadlines: Deadlines,
        budget: RestartBudget,
        clock: Clock,
        back_off: BackOff = DEFAULT_BACK_OFF,
    ) -> None:
        self.name = name
        self.lives: dict[int, ChildLife] = {}
        self.current: int | None = None
        self.successor: int | None = None
        self.num_starts = 0
        self.num_memory_kills = 0
        self.failure: Failure | None = None
        self.was_ready = False
        self.is_stopping = False
        self.trouble = ""  # what went wrong last
        self._deadlines = deadlines
        self._budget = budget
        self._clock = clock
        self._back_off = back_off
        self._start_due_at: float | None = None
        self._replacement_due_at = 0.0
        self._num_failed_successors = 0
        self._num_replacements = 0
        self._is_replacement_hopeless = False

    @property
    def life(self) -> ChildLife | None:
        """Return the process that serves, or is to."""
        return None if self.current is None else self.lives[self.current]

    @property
    def state(self) -> EngineState:
        """Return the state to tell others."""
        if self.failure is not None:
            return "failed"
        if self.life is not None:
            return self.life.state
        return "backoff" if self._start_due_at is not None else "starting"

    @property
    def is_ready(self) -> bool:
        """Return whether a process of this place serves."""
        return any(life.state == "ready" for life in self.lives.values())

    def describe(self) -> str:
        """Return what goes on, for people."""
        if self.failure is not None:
            return self.failure.reason
        if self._start_due_at is not None:
            wait_s = max(0.0, self._start_due_at - self._clock())
            return f"{self.trouble}; next start in {wait_s:.0f} s"
        if self.life is None:
            return ""
        if self.successor is None:
            return self.life.what
        successor = self.lives[self.successor]
        return f"its replacement is {successor.state} ({successor.progress:.0%})"

    # Events.

    def begin(self) -> list[Decision]:
        """Start the first process."""
        return self._start()

    def note(self, number: int, report: Report) -> list[Decision]:
        """Take in a report of a process."""
        life = self.lives.get(number)
        if life is None:
            return []
        life.note(report)
        if not life.was_ready:
            return []
        self.was_ready = True
        return self._promote() if number == self.successor else []

    def exited(self, number: int, end: Exit) -> list[Decision]:
        """Take in that a process has ended."""
        life = self.lives.pop(number, None)
        if life is None or number not in {self.current, self.successor}:
            return []  # one that was replaced
        if number == self.successor:
            return self._lose_successor(life, end)
        self.current, self.successor = self.successor, None
        if self.is_stopping or self.current is not None:
            return []
        if life.state == "draining" and not life.doom:
            return self._start()  # it made room, as it was told
        return self._lose(life, end)

    def tick(self) -> list[Decision]:
        """Look at the clock; to be called a few times a second."""
        decisions: list[Decision] = []
        for number, life in self.lives.items():
            if not life.doom and (reason := life.overdue()):
                life.doom = reason
                decisions.append(Kill(number, reason))
        if self._start_due_at is not None and self._clock() >= self._start_due_at:
            decisions += self._start()
        return decisions

    def forgive(self, gap_s: float) -> None:
        """Move all deadlines: for that long the supervisor itself did not run."""
        for life in self.lives.values():
            life.forgive(gap_s)

    # What the supervisor wants.

    def replace(self, *, is_start_first: bool) -> list[Decision]:
        """Replace the process that serves; nothing happens while that is not possible."""
        life = self.life
        is_possible = life is not None and life.state == "ready" and not life.doom
        if not is_possible or self.successor is not None or self.is_stopping:
            return []
        if is_start_first:
            return self._start_successor()
        assert life is not None
        assert self.current is not None
        life.drain()
        return [Drain(self.current)]

    def relieve(self, *, is_start_first: bool) -> list[Decision]:
        """Replace the process that serves as it needs too much memory, unless it just was."""
        if self._clock() < self._replacement_due_at or self._is_replacement_hopeless:
            return []
        decisions = self.replace(is_start_first=is_start_first)
        if decisions:
            wait_s = _REPLACEMENT_BACK_OFF.delay_s(self._num_replacements)
            self._replacement_due_at = self._clock() + wait_s
            self._num_replacements += 1
        return decisions

    def kill_for_memory(self, number: int, reason: str) -> list[Decision]:
        """End a process at once as it endangers the machine."""
        life = self.lives.get(number)
        if life is None or life.doom:
            return []
        life.doom = reason
        life.is_too_big = True
        self.num_memory_kills += 1
        return [Kill(number, reason, is_urgent=True)]

    def condemn(self, reason: str) -> list[Decision]:
        """End the process that serves, as it is of no use any more; another follows."""
        life = self.life
        if life is None or life.doom or life.state != "ready":
            return []
        assert self.current is not None
        life.doom = reason
        return [Kill(self.current, reason)]

    def stop(self) -> None:
        """Start nothing from now on."""
        self.is_stopping = True
        self._start_due_at = None

    # How decisions are made.

    def _start(self) -> list[Decision]:
        self._start_due_at = None
        self.current = self._add_life()
        return [Start(self.current)]

    def _start_successor(self) -> list[Decision]:
        self.successor = self._add_life()
        return [Start(self.successor)]

    def _add_life(self) -> int:
        self.num_starts += 1
        self.lives[self.num_starts] = ChildLife(self._deadlines, self._clock)
        return self.num_starts

    def _promote(self) -> list[Decision]:
        old = self.current
        assert old is not None
        self.current, self.successor = self.successor, None
        self._num_failed_successors = 0
        self.lives[old].drain()
        return [Drain(old)]

    def _lose_successor(self, life: ChildLife, end: Exit) -> list[Decision]:
        """The old process serves on; ``relieve`` tries again later."""
        self.successor = None
        self.trouble = f"its replacement failed: {_cause(life, end)}"
        self._is_replacement_hopeless = _is_permanent(life, end)
        wait_s = self._back_off.delay_s(self._num_failed_successors)
        self._num_failed_successors += 1
        self._replacement_due_at = self._clock() + wait_s
        return []

    def _lose(self, life: ChildLife, end: Exit) -> list[Decision]:
        self.trouble = _cause(life, end)
        if _is_permanent(life, end):
            self._fail(self.trouble, life, end)
            return []
        # One that was ready and then took too much memory is no crash at start.
        delay_s = self._budget.take(is_delayed=not (life.was_ready and life.is_too_big))
        if delay_s is None:
            count = f"{self._budget.max_restarts} restarts in {self._budget.window_s:g} s"
            self._fail(f"{self.trouble}; given up after {count} (max_restarts)", life, end)
            return []
        if delay_s == 0.0:
            return self._start()
        self._start_due_at = self._clock() + delay_s
        return []

    def _fail(self, reason: str, life: ChildLife, end: Exit) -> None:
        code = SetupError.exit_code
        if _is_permanent(life, end):
            code = _exit_code(life, end)
        self.failure = Failure(reason, _is_permanent(life, end), code, end.last_lines)


def _is_permanent(life: ChildLife, end: Exit) -> bool:
    if life.last_words is not None:
        return life.last_words.is_permanent
    return not life.doom and end.code in _PERMANENT_EXIT_CODES


def _exit_code(life: ChildLife, end: Exit) -> int:
    if life.last_words is not None and life.last_words.code in _EXIT_CODES:
        return _EXIT_CODES[life.last_words.code]
    return end.code if end.code in _PERMANENT_EXIT_CODES else SetupError.exit_code


def _cause(life: ChildLife, end: Exit) -> str:
    """Return what ended a process, in the words of whoever knows best."""
    if life.doom:
        return life.doom
    if life.last_words is not None:
        return life.last_words.message
    where = "" if life.was_ready else f" while {life.state}"
    return f"{end.description}{where}"
