"""The life of requests: admitted or refused, given to an engine, run again, ended exactly once.

A request whose client left or whose time is over has ended, but keeps its place in the engine
until the engine says so.
"""

import logging
from collections.abc import Callable

import msgspec

from sovits_serve.config import QueueConfig
from sovits_serve.dispatcher.models import ModelRegistry
from sovits_serve.dispatcher.peers import Engine, Ticket, Worker
from sovits_serve.dispatcher.quarantine import Quarantine
from sovits_serve.dispatcher.queue import AdmissionQueue
from sovits_serve.dispatcher.recordings import RecordingStore
from sovits_serve.dispatcher.routing import Router
from sovits_serve.dispatcher.status import Figures
from sovits_serve.errors import (
    DeadlineExceeded,
    Draining,
    EngineDead,
    InvalidRequest,
    QueueFull,
    RequestError,
    ServingError,
    TooManyForKey,
    UnknownModel,
    UnknownRecording,
)
from sovits_serve.metrics import ServerMetrics
from sovits_serve.protocol.codec import ProtocolError, decode_request, encode_body
from sovits_serve.protocol.messages import (
    Abort,
    Aborted,
    AudioChunk,
    DropRecording,
    Failed,
    Finished,
    Submit,
)

_log = logging.getLogger(__name__)

_NOT_READY_RETRY_S = 5.0
_UNKNOWN_RETRY_S = 2.0
_MAX_RETRY_S = 60.0
_MAX_CRASHES = 2  # engines that may die under one request
# Engines that die at the same moment (a driver's reset, a kill of all) are heard of one after the
# other: a request of the first is not to be given to the second, and to be blamed for both.
RETRY_PAUSE_S = 0.2
Terminal = Finished | Failed | Aborted


class RequestLedger:
    """All requests that were admitted, until no engine holds them."""

    def __init__(
        self, config: QueueConfig, metrics: ServerMetrics, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self.queue = AdmissionQueue(config)
        self.recordings = RecordingStore(config.max_recording_bytes)
        self.quarantine = Quarantine(config.quarantine_s)
        self.router = Router(metrics.add_busy)
        self.models = ModelRegistry()
        self.figures = Figures()
        self._tickets: dict[str, Ticket] = {}  # ended ones too while an engine holds them
        self._num_refused_unlogged = 0

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is unfinished."""
        return not self.queue.num_waiting and not self.queue.num_running

    def admit(self, worker: Worker, message: Submit) -> None:
        """Let a request in, and to an engine if one has room.

        Raises:
            CapacityError: there is no room for it now.
            RequestError: there is something wrong with it.
        """
        now_s = self._clock()
        if message.request_id in self._tickets:
            raise InvalidRequest(f"request_id: {message.request_id!r} is in use")
        self.queue.check(message.key, len(message.payload))
        _check_payload(message)
        model = self._resolve_model(message.model)
        self.recordings.check(message.recordings)
        self.quarantine.check(message.cost, message.payload, now_s)
        ticket = self._ticket(worker, message, model, now_s)
        self.recordings.pin(ticket.recordings)
        self.models.use(model)
        self.queue.admit(ticket)
        self._tickets[ticket.request_id] = ticket
        worker.tickets[ticket.request_id] = ticket
        self._metrics.admitted.labels(ticket.priority).inc()
        self._metrics.phonemes.inc(ticket.cost)
        self.dispatch(now_s)

    def refuse(self, worker: Worker, request_id: str, error: ServingError) -> None:
        """Answer a request that was not admitted."""
        retry_after_s = None
        if not isinstance(error, RequestError):
            is_full = isinstance(error, QueueFull | TooManyForKey)
            retry_after_s = self.retry_after(is_ready=is_full)
        if not isinstance(error, UnknownRecording):  # the worker's affair: it sends it again
            self.figures.num_refused += 1
            self._metrics.rejected(error.code)
            self._num_refused_unlogged += 1
        worker.peer.send(Failed(request_id, error.code, error.message, retry_after_s))

    def log_refused(self) -> None:
        """Log how many were refused since the last time: a flood must not flood the log."""
        if self._num_refused_unlogged:
            _log.warning("%d requests refused", self._num_refused_unlogged)
            self._num_refused_unlogged = 0

    def retry_after(self, *, is_ready: bool) -> float:
        """Return when another try may succeed: when what waits now has been worked off."""
        if not is_ready:
            return _NOT_READY_RETRY_S
        rate = self.figures.ends.per_second(self._clock())
        if not rate:
            return _UNKNOWN_RETRY_S
        return min(max(self.queue.num_waiting / rate, 1.0), _MAX_RETRY_S)

    def dispatch(self, now_s: float) -> None:
        """Give waiting requests to engines until all that could take one is full."""
        while self.queue.num_waiting:
            for ticket in self.queue.heads():
                is_suspect = ticket.num_crashes > 0
                if is_suspect and now_s < ticket.not_before_s:
                    continue
                engine = self.router.choose(ticket.model, is_suspect=is_suspect, now_s=now_s)
                if engine is not None:
                    self._start(ticket, engine, now_s)
                    break
            else:
                return

    def abort(self, ticket: Ticket) -> None:
        """End a request on demand: at once if it waits, else when its engine has."""
        if ticket.engine is None:
            self._metrics.disconnects.labels("waiting").inc()
            self._end(ticket, Aborted(ticket.request_id), self._clock())
        elif not ticket.is_aborting:
            phase = "computing" if ticket.last_chunk_s is None else "streaming"
            self._metrics.disconnects.labels(phase).inc()
            ticket.is_aborting = True
            ticket.engine.peer.send(Abort(ticket.request_id))

    def expire(self, now_s: float) -> None:
        """End the requests whose time is over."""
        for ticket in self.queue.take_expired(now_s):
            seconds = now_s - ticket.arrival_s
            where = "waiting for an engine" if ticket.engine is None else "running"
            if ticket.engine is not None and not ticket.is_aborting:
                ticket.engine.peer.send(Abort(ticket.request_id))
            reason = f"not finished after {seconds:.1f} s, the request's timeout; it was {where}"
            self._end(ticket, Failed(ticket.request_id, DeadlineExceeded.code, reason), now_s)

    def fail(self, tickets: list[Ticket], error: ServingError) -> None:
        """End requests for a reason that is not theirs."""
        now_s = self._clock()
        for ticket in tickets:
            if ticket.engine is not None and not ticket.is_aborting:
                ticket.engine.peer.send(Abort(ticket.request_id))
            failed = Failed(ticket.request_id, error.code, error.message, _NOT_READY_RETRY_S)
            self._end(ticket, failed, now_s)

    def lose_engine(self, engine: Engine) -> None:
        """Run again what a dead engine had, where that is possible."""
        now_s = self._clock()
        self.router.engines.remove(engine)
        had = list(engine.running.values())
        # An engine that was told to end says so first: its requests did not bring it down.
        is_crash = not engine.is_draining
        if had and is_crash:
            self._metrics.crashes.inc()
        self.queue.put_back([t for t in had if self._survives(t, now_s, is_crash=is_crash)])
        self.dispatch(now_s)

    def on_audio(self, engine: Engine, message: AudioChunk) -> None:
        """Pass audio on."""
        ticket = engine.running.get(message.request_id)
        if ticket is None or ticket.is_over:
            return
        now_s = self._clock()
        if ticket.last_chunk_s is None:
            self._metrics.first_audio.observe(now_s - ticket.arrival_s)
            self.figures.first_audio.add(now_s, now_s - ticket.arrival_s)
        else:
            self._metrics.chunk_gap.observe(now_s - ticket.last_chunk_s)
        ticket.last_chunk_s = now_s
        if message.sample_rate_hz > 0:
            audio_s = len(message.pcm) / 2 / message.sample_rate_hz
            self._metrics.audio.inc(audio_s)
            self.figures.audio.add(now_s, audio_s)
        if ticket.worker is not None:
            ticket.worker.peer.send(message)

    def on_terminal(self, engine: Engine, message: Terminal) -> None:
        """Pass an end on, and use the place that is free now."""
        ticket = engine.running.get(message.request_id)
        if ticket is None:
            return
        now_s = self._clock()
        self.router.release(ticket, now_s)
        engine.sent.release(ticket.recordings)
        if isinstance(message, Finished):
            self.router.note_success(engine)
        elif isinstance(message, Failed):
            self.router.note_failure(engine, message.code, now_s)
            if message.code == UnknownRecording.code:
                engine.sent.forget(ticket.recordings)
        if ticket.is_over:
            del self._tickets[ticket.request_id]
        elif _was_not_begun(ticket, message):
            # It crossed with EngineDraining: the engine never looked at it.
            engine.is_draining = True
            self.queue.put_back([ticket])
        else:
            self._end(ticket, message, now_s)
        self.dispatch(now_s)

    def check_integrity(self) -> None:
        """Assert that queue, engines and stores agree on every request."""
        self.queue.check_integrity()
        self.router.check_integrity()
        self.recordings.check_integrity()
        unfinished = {ticket.request_id: ticket for ticket in self.queue.unfinished()}
        held = {t.request_id: t for engine in self.router.engines for t in engine.running.values()}
        assert self._tickets == unfinished | held
        for ticket in unfinished.values():
            assert not ticket.is_over
            assert (ticket.lane is None) == (ticket.engine is not None)
            assert ticket.worker is None or ticket.worker.tickets[ticket.request_id] is ticket
        assert all(t.is_over for request_id, t in held.items() if request_id not in unfinished)

    def _resolve_model(self, wanted: str) -> str:
        model = self.models.resolve(wanted)
        if model == self.models.default or self.router.usable(model):
            return model
        is_coming = any(model in engine.loading for engine in self.router.engines)
        if self.router.usable(self.models.default) and not is_coming:
            raise UnknownModel(f"model {model!r} is loaded on no engine any more")
        return model

    def _ticket(self, worker: Worker, message: Submit, model: str, now_s: float) -> Ticket:
        payload = message.payload
        if not message.model and self.models.was_switched:
            payload = _with_model(payload, model)
        return Ticket(
            request_id=message.request_id,
            worker=worker,
            payload=payload,
            recordings=message.recordings,
            model=model,
            priority=message.priority,
            key=message.key,
            cost=max(message.cost, 1),
            arrival_s=now_s,
            # "not >": neither NaN nor a negative number may get into the order of deadlines.
            deadline_s=now_s + message.timeout_s if message.timeout_s > 0 else now_s,
        )

    def _start(self, ticket: Ticket, engine: Engine, now_s: float) -> None:
        self.queue.take(ticket)
        self.router.assign(ticket, engine, now_s)
        if not ticket.was_started:
            ticket.was_started = True
            wait_s = now_s - ticket.arrival_s
            self._metrics.queue_time.observe(wait_s)
            self.figures.waits.add(now_s, wait_s)
        for key in ticket.recordings:
            body = self.recordings.body(key)
            if engine.sent.use(key, len(body)):
                engine.peer.send_body(body)
        for key in engine.sent.take_excess():
            engine.peer.send(DropRecording(key))
        engine.peer.send_body(ticket.payload)

    def _survives(self, ticket: Ticket, now_s: float, *, is_crash: bool) -> bool:
        """Take a request off its dead engine; return whether it is to be run again."""
        assert ticket.engine is not None
        place = ticket.engine.place
        self.router.release(ticket, now_s)
        if ticket.is_over:
            del self._tickets[ticket.request_id]
            return False
        if ticket.is_aborting:
            self._end(ticket, Aborted(ticket.request_id), now_s)
            return False
        if is_crash:
            ticket.num_crashes += 1
            ticket.not_before_s = now_s + RETRY_PAUSE_S
        if ticket.last_chunk_s is None and ticket.num_crashes < _MAX_CRASHES:
            self._metrics.retries.inc()
            _log.warning("waits again: engine=%s is gone", place, extra=_extra(ticket))
            return True
        if ticket.num_crashes >= _MAX_CRASHES:
            self.quarantine.add(ticket.cost, ticket.payload, now_s)
            reason = f"two engines died under this request, the last on {place}"
        else:
            reason = f"the engine on {place} ended after part of the audio had been sent"
        self._end(ticket, Failed(ticket.request_id, EngineDead.code, reason), now_s)
        return False

    def _end(self, ticket: Ticket, terminal: Terminal, now_s: float) -> None:
        """Send a request's one terminal message; forget all but its place in an engine."""
        assert not ticket.is_over
        ticket.is_over = True
        self.queue.end(ticket)
        self.recordings.unpin(ticket.recordings)
        self.models.release(ticket.model)
        ticket.payload = b""
        if ticket.engine is None:
            del self._tickets[ticket.request_id]
        if ticket.worker is not None:
            del ticket.worker.tickets[ticket.request_id]
            ticket.worker.peer.send(terminal)
        self._count_end(ticket, terminal, now_s)

    def _count_end(self, ticket: Ticket, terminal: Terminal, now_s: float) -> None:
        self.figures.ends.add(now_s, 1)
        if isinstance(terminal, Finished):
            self.figures.num_finished += 1
            self._metrics.finished.inc()
            self._metrics.request_time.observe(now_s - ticket.arrival_s)
            self._metrics.tokens.inc(sum(terminal.num_tokens))
        elif isinstance(terminal, Failed):
            self.figures.num_failed += 1
            self._metrics.ended(terminal.code)
            _log.warning("failed: %s: %s", terminal.code, terminal.message, extra=_extra(ticket))
        else:
            self._metrics.ended("aborted")


def _extra(ticket: Ticket) -> dict[str, object]:
    return {"request_id": ticket.request_id}


def _was_not_begun(ticket: Ticket, message: Terminal) -> bool:
    is_refused = isinstance(message, Failed) and message.code == Draining.code
    return is_refused and ticket.last_chunk_s is None and not ticket.is_aborting


def _check_payload(message: Submit) -> None:
    """Check that what an engine is going to be sent is a request, and the one that was announced.

    Raises:
        InvalidRequest: it is not. An engine would end its connection, and with it other requests.
    """
    try:
        request = decode_request(message.payload)
    except ProtocolError as error:
        raise InvalidRequest(f"payload: {error}") from error
    if request.request_id != message.request_id:
        raise InvalidRequest(f"payload: of another request, {request.request_id!r}")
    audios = (request.reference.audio, *request.reference.auxiliary)
    if {audio.key for audio in audios} - {""} != set(message.recordings):
        raise InvalidRequest("payload: names other recordings than were announced")


def _with_model(payload: bytes, model: str) -> bytes:
    """Return a request that says which model it means.

    Raises:
        InvalidRequest: it is no request.
    """
    try:
        request = decode_request(payload)
    except ProtocolError as error:
        raise InvalidRequest(str(error)) from error
    return encode_body(msgspec.structs.replace(request, model=model))
