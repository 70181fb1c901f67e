"""What others are told of the processes: one state for all, and one line for each engine."""

from collections.abc import Sequence

from sovits_serve.protocol.messages import EngineStatus, Fleet, ServerState
from sovits_serve.supervisor.crew import Slot


def describe_engine(slot: Slot) -> EngineStatus:
    """Return what is known of one engine."""
    place, child, life = slot.place, slot.child, slot.place.life
    detail = place.describe()
    if place.num_memory_kills:
        detail = f"{detail}; {place.num_memory_kills} restarts for memory".removeprefix("; ")
    lines = place.failure.last_lines if place.failure is not None else ()
    if life is None or place.current is None:
        return EngineStatus(
            place.name,
            place.state,
            device=slot.post.device,
            detail=detail,
            num_starts=place.num_starts,
            last_lines=lines,
        )
    rss_bytes, device_bytes = slot.memory_of(place.current, life)
    return EngineStatus(
        name=place.name,
        state=place.state,
        device=life.device or slot.post.device,
        pid=child.pid if child is not None else 0,
        progress=life.progress,
        detail=detail,
        num_starts=place.num_starts,
        num_steps=life.beat.num_steps,
        step_age_s=round(life.beat_age_s, 3),
        num_running=life.beat.num_running,
        num_waiting=life.beat.num_waiting,
        rss_bytes=rss_bytes,
        device_bytes=device_bytes,
        device_limit_bytes=life.beat.device_limit_bytes,
        models=life.models,
        last_lines=lines,
    )


def describe_fleet(
    engines: Sequence[Slot], workers: Sequence[Slot], *, is_leaving: bool, is_draining: bool
) -> Fleet:
    """Return what is known of all."""
    state = state_of(engines, is_draining=is_draining)
    return Fleet(
        state=state,
        reason="the server is stopping" if is_leaving or is_draining else reason_of(state, engines),
        engines=tuple(describe_engine(slot) for slot in engines),
        num_workers=sum(slot.place.is_ready for slot in workers),
        num_worker_starts=sum(slot.place.num_starts for slot in workers),
        is_leaving=is_leaving,
    )


def state_of(engines: Sequence[Slot], *, is_draining: bool) -> ServerState:
    """Return the state of everything."""
    if is_draining:
        return "draining"
    if any(slot.place.is_ready for slot in engines):
        return "ready"
    return "failed" if all(slot.place.failure is not None for slot in engines) else "starting"


def reason_of(state: ServerState, engines: Sequence[Slot]) -> str:
    """Return why the server is not ready, for people."""
    if state == "ready":
        return ""
    return "; ".join(_reason(slot) for slot in engines)


def _reason(slot: Slot) -> str:
    place, life = slot.place, slot.place.life
    if place.failure is not None:
        lines = place.failure.last_lines
        last = f" (its log ends: {lines[-1]})" if lines else ""
        return f"engine {place.name} failed: {place.failure.reason}{last}"
    progress = f" {life.progress:.0%}" if life is not None and life.progress else ""
    detail = place.describe()
    return f"engine {place.name}: {place.state}{progress}" + (f" ({detail})" if detail else "")
