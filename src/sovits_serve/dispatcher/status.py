"""What is told about the server: its state, its engines, and figures of the last minute."""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from sovits_serve.dispatcher.peers import Engine
from sovits_serve.protocol.messages import EngineLoad, EngineState, EngineStatus, Fleet, ServerState

_WINDOW_S = 60.0
# Enough for percentiles; at more requests per minute the window is of the latest of them.
_MAX_SAMPLES = 2048


class RecentValues:
    """The latest values of the last minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MAX_SAMPLES)

    def add(self, now_s: float, value: float) -> None:
        """Take in a value."""
        self._samples.append((now_s, value))

    def percentiles(self, now_s: float, *shares: float) -> tuple[float, ...]:
        """Return the values below which these shares (0 to 1) of all are; 0 if there are none."""
        samples = self._samples
        while samples and samples[0][0] < now_s - _WINDOW_S:
            samples.popleft()
        values = sorted(value for _, value in samples)
        if not values:
            return (0.0,) * len(shares)
        return tuple(values[min(int(share * len(values)), len(values) - 1)] for share in shares)


class RecentRate:
    """How much per second, over the last minute (or since the first, if that is less)."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, float]] = deque(maxlen=int(_WINDOW_S) + 1)
        self._first_s: float | None = None

    def add(self, now_s: float, amount: float) -> None:
        """Take in an amount."""
        if self._first_s is None:
            self._first_s = now_s
        second = int(now_s)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + amount)
        else:
            self._seconds.append((second, amount))

    def per_second(self, now_s: float) -> float:
        """Return the rate."""
        if self._first_s is None:
            return 0.0
        total = sum(amount for second, amount in self._seconds if second > now_s - _WINDOW_S)
        return total / min(max(now_s - self._first_s, 1.0), _WINDOW_S)


@dataclass(eq=False)
class Figures:
    """What happened, counted for ``QueueStatus``."""

    num_finished: int = 0
    num_failed: int = 0
    num_refused: int = 0
    waits: RecentValues = field(default_factory=RecentValues)
    first_audio: RecentValues = field(default_factory=RecentValues)
    audio: RecentRate = field(default_factory=RecentRate)
    ends: RecentRate = field(default_factory=RecentRate)


def server_state(fleet: Fleet | None, *, is_usable: bool) -> tuple[ServerState, str]:
    """Return the state of everything, and why it is not ready."""
    if fleet is not None and fleet.state in {"draining", "failed"}:
        return fleet.state, fleet.reason
    if fleet is not None and fleet.is_leaving:
        # Load balancers look elsewhere from now on; whoever still comes is served.
        return "draining", "the server is about to stop"
    if is_usable:
        return "ready", ""
    if fleet is None:
        return "starting", "no engine is connected and ready"
    if fleet.state != "ready" and fleet.reason:
        return "starting", fleet.reason
    states = ", ".join(
        f"{engine.name} is {engine.state}" + (f" ({engine.detail})" if engine.detail else "")
        for engine in fleet.engines
    )
    return "starting", f"no engine is ready: {states or 'there is none'}"


def engine_statuses(fleet: Fleet | None, engines: list[Engine]) -> tuple[EngineStatus, ...]:
    """Return the engines as the supervisor sees them, with what only their connections tell."""
    if fleet is None:
        return tuple(_from_connection(engine) for engine in engines)
    by_pid = {engine.pid: engine for engine in engines if engine.is_ready}
    return tuple(_merged(status, by_pid.get(status.pid)) for status in fleet.engines)


def _from_connection(engine: Engine) -> EngineStatus:
    state: EngineState = "loading"
    if engine.is_ready:
        state = "draining" if engine.is_draining else "ready"
    status = EngineStatus(name=engine.place, state=state, pid=engine.pid, num_starts=1)
    return _merged(status, engine if engine.is_ready else None)


def _merged(status: EngineStatus, engine: Engine | None) -> EngineStatus:
    if engine is None:
        return status
    load = engine.load or EngineLoad(status.num_steps, status.num_running, status.num_waiting)
    return msgspec.structs.replace(
        status,
        device=engine.device or status.device,
        num_steps=max(load.num_steps, status.num_steps),
        num_running=load.num_running,
        num_waiting=load.num_waiting,
        models=tuple(engine.models),
    )
