"""Which engine gets a request, what it has under way, and whether it is to be trusted.

An engine that fails request after request is taken out for a while (ejected), never the last one;
it comes back by one request at a time (probing) until one finishes.
"""

import logging
from collections.abc import Callable

from sovits_serve.dispatcher.peers import Engine, Ticket
from sovits_serve.errors import EngineError, OutOfMemory, SynthesisError

_log = logging.getLogger(__name__)

MAX_FAILURES_IN_ROW = 5
EJECTION_S = 30.0
# An engine that has so much to read yet gets no more: it looks at its socket between steps only.
MAX_UNREAD_BYTES = 64 * 2**20
# After so long without an ejection, the next one is short again.
_FORGIVE_S = 600.0
_ENGINE_FAULTS = frozenset({EngineError.code, SynthesisError.code, OutOfMemory.code})


class Router:
    """The connected engines and the requests on them."""

    def __init__(self, add_busy: Callable[[str, float], None]) -> None:
        """``add_busy`` is told the place and the seconds for which an engine had requests."""
        self.engines: list[Engine] = []
        self._add_busy = add_busy

    def usable(self, model: str) -> list[Engine]:
        """Return the engines that take requests for a model."""
        return [
            engine
            for engine in self.engines
            if engine.is_ready and not engine.is_draining and model in engine.models
        ]

    def choose(self, model: str, *, is_suspect: bool, now_s: float) -> Engine | None:
        """Return the engine with the least to do of those with room; None: all are full."""
        usable = self.usable(model)
        has_healthy = any(not engine.is_probing for engine in usable)
        best = None
        for engine in usable:
            if is_suspect and engine.suspect is not None:
                continue
            room = engine.capacity
            if engine.is_probing and has_healthy:
                room = 1 if engine.ejected_until_s <= now_s else 0
            if len(engine.running) >= room or engine.peer.unsent_bytes > MAX_UNREAD_BYTES:
                continue
            if best is None or engine.outstanding_cost < best.outstanding_cost:
                best = engine
        return best

    def assign(self, ticket: Ticket, engine: Engine, now_s: float) -> None:
        """Count a request on an engine."""
        if not engine.running:
            engine.busy_since_s = now_s
        engine.running[ticket.request_id] = ticket
        engine.outstanding_cost += ticket.cost
        ticket.engine = engine
        if ticket.num_crashes:
            engine.suspect = ticket

    def release(self, ticket: Ticket, now_s: float) -> None:
        """Count a request off its engine."""
        engine = ticket.engine
        assert engine is not None
        del engine.running[ticket.request_id]
        engine.outstanding_cost -= ticket.cost
        ticket.engine = None
        if engine.suspect is ticket:
            engine.suspect = None
        if not engine.running:
            self._add_busy(engine.place, now_s - engine.busy_since_s)

    def count_busy(self, now_s: float) -> None:
        """Tell how long engines have been busy so far, those that never are idle too."""
        for engine in self.engines:
            if engine.running:
                self._add_busy(engine.place, now_s - engine.busy_since_s)
                engine.busy_since_s = now_s

    def note_success(self, engine: Engine) -> None:
        """Trust an engine that finished a request."""
        engine.num_failures_in_row = 0
        if engine.is_probing:
            engine.is_probing = False
            _log.info("engine=%s is back: it finished a request", engine.name)

    def note_failure(self, engine: Engine, code: str, now_s: float) -> None:
        """Count a failure that is the engine's own; eject an engine that has only failures."""
        if code not in _ENGINE_FAULTS:
            return
        engine.num_failures_in_row += 1
        if engine.is_probing:
            if engine.ejected_until_s <= now_s:
                self._eject(engine, now_s)
            return
        if engine.num_failures_in_row < MAX_FAILURES_IN_ROW:
            return
        others = (other for other in self.engines if other is not engine)
        if any(e.is_ready and not e.is_draining and not e.is_probing for e in others):
            self._eject(engine, now_s)

    def check_integrity(self) -> None:
        """Assert that what is counted is what runs."""
        for engine in self.engines:
            running = engine.running.values()
            assert engine.outstanding_cost == sum(ticket.cost for ticket in running)
            assert all(t.engine is engine and t.num_crashes < 2 for t in running)
            suspects = [ticket for ticket in running if ticket.num_crashes]
            assert suspects == ([] if engine.suspect is None else [engine.suspect])
            assert len(running) <= engine.capacity

    def _eject(self, engine: Engine, now_s: float) -> None:
        if now_s - engine.ejected_until_s > _FORGIVE_S:
            engine.num_ejections = 0
        engine.num_ejections += 1
        engine.is_probing = True
        duration_s = EJECTION_S * engine.num_ejections
        engine.ejected_until_s = now_s + duration_s
        _log.warning(
            "engine=%s is taken out for %.0f s: %d requests in a row failed",
            engine.name,
            duration_s,
            engine.num_failures_in_row,
        )
