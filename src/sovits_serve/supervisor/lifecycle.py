"""The life of one process as its reports tell it: states, and the deadline of each.

Plain Python: reports and the clock go in, the reason to end it comes out. A process that loads is
judged by its progress, never by a ping, as code that holds the interpreter lock cannot answer one;
one that works is judged by its step counter, as a thread that answers says nothing of the loop.
"""

from dataclasses import dataclass
from typing import Literal

from sovits_serve.config import ServerConfig
from sovits_serve.protocol.reports import ChildReady, Dying, Heartbeat, Loading, Report, Warming
from sovits_serve.supervisor.restarts import Clock

LifeState = Literal["starting", "loading", "warming", "ready", "draining"]


@dataclass(frozen=True)
class Deadlines:
    """How long a process may stay in a state, in seconds."""

    start_s: float = 60.0
    load_s: float = 300.0
    max_load_s: float = 900.0
    warm_s: float = 300.0
    step_s: float = 60.0
    ping_s: float = 15.0
    ping_setting: str = "ping_timeout_s"
    # One that was replaced finishes its requests, and none lives longer than that.
    drain_s: float = 600.0

    @classmethod
    def of(cls, config: ServerConfig, *, is_engine: bool) -> "Deadlines":
        """Return those that were set.

        An engine's first step after a pause is not announced, so that its silence may be that step.
        """
        supervisor = config.supervisor
        ping_s, ping_setting = supervisor.ping_timeout_s, "ping_timeout_s"
        if is_engine and supervisor.step_timeout_s > ping_s:
            ping_s, ping_setting = supervisor.step_timeout_s, "step_timeout_s"
        return cls(
            start_s=supervisor.start_timeout_s,
            load_s=supervisor.load_timeout_s,
            max_load_s=supervisor.max_load_s,
            warm_s=supervisor.warm_timeout_s,
            step_s=supervisor.step_timeout_s,
            ping_s=ping_s,
            ping_setting=ping_setting,
            drain_s=config.api.request_timeout_s,
        )


class ChildLife:
    """One process, from its start to its end."""

    def __init__(self, deadlines: Deadlines, clock: Clock) -> None:
        self.state: LifeState = "starting"
        self.what = ""
        self.progress = 0.0
        self.device = ""
        self.models: tuple[str, ...] = ()
        self.beat = Heartbeat()
        self.last_words: Dying | None = None
        self.doom = ""  # why the supervisor ends it
        self.is_too_big = False  # that is why
        self.was_ready = False
        self._deadlines = deadlines
        self._clock = clock
        now = clock()
        self._started_at = now
        self._changed_at = now  # state or progress
        self._beat_at = now
        self._stepped_at = now

    @property
    def beat_age_s(self) -> float:
        """Return how long ago its loop turned, as far as is known."""
        return max(0.0, self._clock() - self._beat_at)

    def note(self, report: Report) -> None:
        """Take in a report."""
        self._beat_at = self._clock()
        match report:
            case Loading():
                self._note_progress("loading", report)
            case Warming():
                self._note_progress("warming", report)
            case ChildReady():
                self._note_ready(report)
            case Heartbeat():
                self._note_beat(report)
            case Dying():
                self.last_words = report

    def drain(self) -> None:
        """It was told to finish what it has and to end."""
        self._enter("draining")

    def forgive(self, gap_s: float) -> None:
        """Move all deadlines: for that long the supervisor itself did not run."""
        now = self._clock()
        self._started_at = min(now, self._started_at + gap_s)
        self._changed_at = min(now, self._changed_at + gap_s)
        self._beat_at = min(now, self._beat_at + gap_s)
        self._stepped_at = min(now, self._stepped_at + gap_s)

    def overdue(self) -> str:
        """Return why it must be ended, with the setting that says so; "" while all is well."""
        now, limits = self._clock(), self._deadlines
        in_state_s = now - self._changed_at
        match self.state:
            case "starting" if in_state_s > limits.start_s:
                return f"said nothing for {limits.start_s:g} s after its start (start_timeout_s)"
            case "loading" if now - self._started_at > limits.max_load_s:
                return f"was not loaded after {limits.max_load_s:g} s (max_load_s)"
            case "loading" if in_state_s > limits.load_s:
                what = f"loading {self.what}".strip()
                return f"made no progress for {limits.load_s:g} s while {what} (load_timeout_s)"
            case "warming" if in_state_s > limits.warm_s:
                what = f"warming up {self.what}".strip()
                return f"made no progress for {limits.warm_s:g} s while {what} (warm_timeout_s)"
            case "ready" | "draining":
                return self._stuck(now)
        return ""

    def _stuck(self, now: float) -> str:
        limits = self._deadlines
        if self.beat.has_work and now - self._stepped_at > limits.step_s:
            return f"has work and made no step for {limits.step_s:g} s (step_timeout_s)"
        if self.state == "draining":
            # What an HTTP worker that ends still says is its server's matter.
            is_late = now - self._changed_at > limits.drain_s
            return f"was not done {limits.drain_s:g} s after its replacement" if is_late else ""
        if not self.beat.has_work and now - self._beat_at > limits.ping_s:
            return f"gave no sign of life for {limits.ping_s:g} s ({limits.ping_setting})"
        return ""

    def _note_progress(self, state: LifeState, report: Loading | Warming) -> None:
        if self.state not in {"starting", "loading", "warming"}:
            return  # weights loaded beside others later on; a sign of life, no more
        if (state, report.what, report.progress) != (self.state, self.what, self.progress):
            self._enter(state)
        self.what, self.progress = report.what, report.progress

    def _note_ready(self, report: ChildReady) -> None:
        self.device = report.device
        self.models = tuple(model.name for model in report.models)
        if self.state != "draining":
            self._enter("ready")
        self.what, self.progress = "", 1.0
        self._stepped_at = self._clock()
        self.was_ready = True

    def _note_beat(self, beat: Heartbeat) -> None:
        if beat.num_steps != self.beat.num_steps or not (beat.has_work and self.beat.has_work):
            self._stepped_at = self._clock()
        self.beat = beat
        if self.state == "starting":  # its first word
            self._enter("loading")

    def _enter(self, state: LifeState) -> None:
        self.state = state
        self._changed_at = self._clock()
