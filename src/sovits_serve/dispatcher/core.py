"""The dispatcher as a plain object: who is connected and what they say. START READING HERE.

It routes messages, knows the state of everything and tells it; what becomes of a request is in
``ledger.py``, calls that change the server are in ``switching.py``. Knows no sockets;
``server.py`` does.
"""

import logging
import time
from collections.abc import Callable

from sovits_serve.config import QueueConfig
from sovits_serve.dispatcher.ledger import RequestLedger
from sovits_serve.dispatcher.models import ModelFiles
from sovits_serve.dispatcher.peers import Engine, Peer, Worker
from sovits_serve.dispatcher.recordings import SentRecordings
from sovits_serve.dispatcher.status import engine_statuses, server_state
from sovits_serve.dispatcher.switching import Switcher
from sovits_serve.errors import Draining, InvalidRequest, NotReady, ServingError
from sovits_serve.metrics import ServerMetrics, Snapshot
from sovits_serve.protocol.codec import MAX_FRAME_BYTES, decode_body, encode_body
from sovits_serve.protocol.messages import (
    Abort,
    Aborted,
    AudioChunk,
    Defaults,
    EngineDraining,
    EngineLoad,
    EngineReady,
    Failed,
    Finished,
    Fleet,
    GetMetrics,
    Keepsake,
    Message,
    Metrics,
    ModelFailed,
    ModelLoaded,
    Observe,
    PutRecording,
    QueueReport,
    QueueStatus,
    ServerState,
    Status,
    StatusSeen,
    Submit,
    SwitchModel,
    SwitchReference,
)

_log = logging.getLogger(__name__)

# So long after the last engine was ready, requests still wait for the next one.
HOLD_S = 30.0
# An engine that could not load a model others have is asked again.
_RELOAD_S = 30.0
# Of a Keepsake, all but the recording.
_KEEPSAKE_BYTES = 64 * 2**10
_MAX_ENGINE_RECORDING_BYTES = 256 * 2**20


class Dispatcher:
    """The queue between workers and engines.

    Every Submit is answered by exactly one Finished, Failed or Aborted, unless its worker is gone.
    """

    def __init__(
        self,
        config: QueueConfig,
        metrics: ServerMetrics,
        clock: Callable[[], float] = time.monotonic,
        *,
        has_supervisor: bool = False,
    ) -> None:
        self._config = config
        # Until it has spoken, what a dispatcher before this one had switched is not known.
        self._awaits_supervisor = has_supervisor
        self._clock = clock
        self._metrics = metrics
        self.ledger = RequestLedger(config, metrics, clock)
        self.models = self.ledger.models
        self.workers: list[Worker] = []
        self._switcher = Switcher(self, clock)
        self._supervisor: Peer | None = None
        self._fleet: Fleet | None = None
        self._is_draining = False
        self._was_reported_idle = True
        self._defaults = Defaults()
        self._serial = 0
        self._last_ready_s: float | None = None
        self._announced: tuple[object, ...] = ()
        self._percentiles = (0.0, 0.0, 0.0)
        self._next_second_s = 0.0
        self._next_report_s = 0.0
        self._next_reload_s = 0.0
        metrics.export(self._snapshot)

    # Who is there.

    def add_worker(self, name: str, pid: int, peer: Peer) -> Worker:
        """Take on an HTTP worker; it is told the status at once."""
        worker = Worker(name, pid, peer)
        self.workers.append(worker)
        peer.send(self.status())
        return worker

    def lose_worker(self, worker: Worker) -> None:
        """Abort all that a worker asked for: it is gone."""
        self.workers.remove(worker)
        for ticket in list(worker.tickets.values()):
            self.ledger.abort(ticket)
            ticket.worker = None
        worker.tickets.clear()
        self._switcher.on_worker_lost(worker)
        self._report_when_idle()

    def add_engine(self, name: str, pid: int, peer: Peer) -> Engine | None:
        """Take on an engine; None: its name is taken by another process."""
        for other in list(self.ledger.router.engines):
            if other.name == name and other.pid != pid:
                return None
            if other.name == name:
                # The same process connects again, so its old connection is dead.
                other.peer.close("the engine has connected again")
        sent = SentRecordings(min(self._config.max_recording_bytes, _MAX_ENGINE_RECORDING_BYTES))
        engine = Engine(name, pid, peer, sent)
        self.ledger.router.engines.append(engine)
        return engine

    def lose_engine(self, engine: Engine) -> None:
        """Have run again what an engine had: it is gone."""
        self._note_readiness()
        self.ledger.lose_engine(engine)
        self._switcher.on_engine_lost(engine)
        self._announce_changes()
        self._report_when_idle()

    def set_supervisor(self, peer: Peer) -> None:
        """Take on a supervisor, in the place of any other."""
        previous, self._supervisor = self._supervisor, peer
        if previous is not None:
            previous.close("another supervisor has connected")
        if self.models.was_switched or self._defaults.recording:
            peer.send(self._keepsake())  # it may have missed the last one
        self._report()

    def lose_supervisor(self, peer: Peer) -> None:
        """Judge readiness by the connected engines alone."""
        if self._supervisor is peer:
            self._supervisor = None
            self._fleet = None
            self._announce_changes()

    # What they say.

    def on_worker_message(self, worker: Worker, message: Message) -> None:
        """Take in a worker's message."""
        match message:
            case Submit():
                self._submit(worker, message)
            case Abort():
                ticket = worker.tickets.get(message.request_id)
                if ticket is not None:
                    self.ledger.abort(ticket)
                    self._report_when_idle()
            case PutRecording():
                self.ledger.recordings.put(message)
            case Observe():
                self._metrics.observe(message.responses)
            case StatusSeen():
                self._switcher.on_status_seen(worker, message.serial)
            case GetMetrics():
                worker.peer.send(Metrics(message.call_id, self._metrics.render()))
            case SwitchModel() | SwitchReference():
                self._switcher.submit(worker, message)
            case _:
                worker.peer.close(f"a worker does not send {type(message).__name__}")

    def on_engine_message(self, engine: Engine, message: Message) -> None:
        """Take in an engine's message."""
        match message:
            case AudioChunk():
                self.ledger.on_audio(engine, message)
            case Finished() | Failed() | Aborted():
                self.ledger.on_terminal(engine, message)
                self._report_when_idle()
            case EngineLoad():
                engine.load = message
            case EngineReady():
                self._welcome(engine, message)
            case EngineDraining():
                engine.is_draining = True
                self._switcher.on_engine_lost(engine)
                self._note_change()
            case ModelLoaded():
                if self._switcher.on_loaded(engine, message.info):
                    self._note_change()
            case ModelFailed():
                self._switcher.on_failed(engine, message)
            case _:
                engine.peer.close(f"an engine does not send {type(message).__name__}")

    def on_supervisor_message(self, peer: Peer, message: Message) -> None:
        """Take in the supervisor's message."""
        if isinstance(message, Keepsake):
            self._restore(message)
        elif not isinstance(message, Fleet):
            peer.close(f"a supervisor does not send {type(message).__name__}")
        elif peer is self._supervisor:
            was_draining = self._is_stopping()
            self._fleet = message
            self._awaits_supervisor = False
            if message.state == "failed":
                reason = NotReady(f"no engine can be started: {message.reason}")
                self.ledger.fail(self.ledger.queue.waiting(), reason)
            self._note_change()
            if self._is_stopping() and not was_draining:
                self._report()

    def drain(self) -> None:
        """Refuse new requests from now on; those admitted are finished."""
        self._is_draining = True
        self._announce_changes()

    def stop(self) -> None:
        """End everything that is unfinished: the dispatcher ends."""
        self.drain()
        unfinished = self.ledger.queue.unfinished()
        self.ledger.fail(unfinished, Draining("the server stopped before this was finished"))

    def tick(self) -> None:
        """Do what is due by the clock; called several times a second."""
        now_s = self._clock()
        if not self._note_readiness():
            self._end_hold(now_s)
        self.ledger.expire(now_s)
        self._switcher.tick()
        self.ledger.dispatch(now_s)  # engines come back from an ejection by time alone
        self._report_when_idle()
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + 0.5
            self._report()
        if now_s >= self._next_reload_s:
            self._next_reload_s = now_s + _RELOAD_S
            self._load_missing()
        if now_s >= self._next_second_s:
            self._next_second_s = now_s + 1.0
            self._do_each_second(now_s)

    # What it tells.

    def status(self) -> Status:
        """Return the state of everything."""
        state, reason = self._state()
        return Status(
            serial=self._serial,
            state=state,
            reason=reason,
            engines=engine_statuses(self._fleet, self.ledger.router.engines),
            queue=self._queue_status(),
            models=tuple(sorted(self.models.infos.values(), key=lambda info: info.name)),
            defaults=self._defaults,
            retry_after_s=self.ledger.retry_after(is_ready=state == "ready"),
        )

    def queue_report(self) -> QueueReport:
        """Return what is unfinished."""
        ready = self.ledger.router.usable(self.models.default)
        names = tuple(engine.name for engine in ready)
        return QueueReport(self.ledger.queue.num_waiting, self.ledger.queue.num_running, names)

    # What switching.py needs.

    def ready_engines(self) -> list[Engine]:
        """Return the engines that are to have all models."""
        engines = self.ledger.router.engines
        return [engine for engine in engines if engine.is_ready and not engine.is_draining]

    def set_reference(self, recording: str, name: str) -> None:
        """Make a known recording the default reference; it is kept from now on.

        Raises:
            QueueFull: there was no room to keep it.
            UnknownRecording: it was not sent before, or is forgotten.
        """
        recordings = self.ledger.recordings
        wanted = (recording,) if recording else ()
        recordings.check(wanted)
        recordings.pin(wanted)
        size_bytes = len(recordings.body(recording)) if recording else 0
        if size_bytes > MAX_FRAME_BYTES - _KEEPSAKE_BYTES:
            recordings.unpin(wanted)
            raise InvalidRequest(f"{name}: {size_bytes} bytes of samples are too many")
        if self._defaults.recording:
            recordings.unpin((self._defaults.recording,))
        self._defaults = Defaults(self.models.default, recording, name if recording else "")

    def announce(self) -> int:
        """Send the changed status to all workers; return its serial number."""
        self._load_missing()
        self._announce_changes()
        if self._supervisor is not None:
            self._supervisor.send(self._keepsake())
        return self._serial

    def _keepsake(self) -> Keepsake:
        """Return what a dispatcher after this one is to know."""
        files = ModelFiles("", "")
        if self.models.was_switched:
            files = self.models.files.get(self.models.default, files)
        reference = None
        if self._defaults.recording:
            kept = decode_body(self.ledger.recordings.body(self._defaults.recording))
            assert isinstance(kept, PutRecording)
            reference = kept
        name = self._defaults.recording_name
        return Keepsake(files.t2s, files.sovits, files.state, reference, name)

    def _restore(self, keepsake: Keepsake) -> None:
        """Go on where a dispatcher that died had come to."""
        if keepsake.t2s and not self.models.was_switched:
            files = ModelFiles(keepsake.t2s, keepsake.sovits, keepsake.state)
            self.models.restore(files)
            _log.info("model=%s is the default still", files.name)
        if keepsake.reference is not None and not self._defaults.recording:
            self.ledger.recordings.put(keepsake.reference)
            self.set_reference(keepsake.reference.key, keepsake.reference_name)
        self._load_missing()
        self._note_change()

    def _submit(self, worker: Worker, message: Submit) -> None:
        try:
            self._check_state()
            self.ledger.admit(worker, message)
        except ServingError as error:
            self.ledger.refuse(worker, message.request_id, error)

    def _check_state(self) -> None:
        """Check that requests are let in at all.

        Raises:
            Draining: the server finishes what it has.
            NotReady: no engine takes work, and none is to be expected soon.
        """
        if self._is_stopping():
            raise Draining("the server takes no more requests: it is stopping")
        if self._fleet is not None and self._fleet.state == "failed":
            raise NotReady(f"no engine can be started: {self._fleet.reason}")
        if not self._note_readiness():
            last_s = self._last_ready_s
            if last_s is None or self._clock() - last_s > HOLD_S:
                raise NotReady(self._state()[1])

    def _welcome(self, engine: Engine, message: EngineReady) -> None:
        if engine.is_ready or not message.models:
            engine.peer.close("EngineReady twice, or without models")
            return
        engine.is_ready = True
        engine.device = message.device
        engine.capacity = self._config.running_per_engine or max(2 * message.max_running, 1)
        engine.max_models = message.max_models
        engine.models = {info.name: info for info in message.models}
        _log.info("engine=%s pid=%d is ready on %s", engine.name, engine.pid, message.device)
        self.models.welcome(engine, t2s=message.t2s, sovits=message.sovits)
        self._load_missing()
        self._note_change()

    def _load_missing(self) -> None:
        for engine in self.ready_engines():
            for message in self.models.missing(engine):
                engine.loading.add(message.model)
                engine.peer.send(message)

    def _note_change(self) -> None:
        """Tell of an engine that changed, and use it."""
        self._announce_changes()
        self.ledger.dispatch(self._clock())

    def _is_stopping(self) -> bool:
        return self._is_draining or (self._fleet is not None and self._fleet.state == "draining")

    def _end_hold(self, now_s: float) -> None:
        """Refuse what has waited for an engine that does not come."""
        last_s = self._last_ready_s
        if self.ledger.queue.num_waiting and (last_s is None or now_s - last_s > HOLD_S):
            reason = NotReady(f"no engine has come back within {HOLD_S:.0f} s: {self._state()[1]}")
            self.ledger.fail(self.ledger.queue.waiting(), reason)

    def _note_readiness(self) -> bool:
        is_ready = self._is_usable()
        if is_ready:
            self._last_ready_s = self._clock()
        return is_ready

    def _state(self) -> tuple[ServerState, str]:
        if self._is_draining:
            return "draining", "the server is stopping"
        return server_state(self._fleet, is_usable=self._is_usable())

    def _is_usable(self) -> bool:
        return not self._awaits_supervisor and bool(self.ledger.router.usable(self.models.default))

    def _announce_changes(self) -> None:
        """Send the status to all workers if more than figures has changed."""
        if self._defaults.model != self.models.default:
            defaults = self._defaults
            self._defaults = Defaults(
                self.models.default, defaults.recording, defaults.recording_name
            )
        told = self._announced
        named = (self._defaults, frozenset(self.models.infos.values()))
        engines = engine_statuses(self._fleet, self.ledger.router.engines)
        shown = tuple((e.name, e.state, e.pid, e.detail, e.progress, e.models) for e in engines)
        self._announced = (named, self._state(), shown)
        if not told or told[0] != named:
            self._serial += 1
        if told != self._announced:
            self._send_status()

    def _send_status(self) -> None:
        body = encode_body(self.status())
        for worker in list(self.workers):
            worker.peer.send_body(body)

    def _report(self) -> None:
        if self._supervisor is not None:
            self._was_reported_idle = self.ledger.is_idle
            self._supervisor.send(self.queue_report())

    def _report_when_idle(self) -> None:
        """Tell a supervisor that waits for the end that it has come."""
        if self.ledger.is_idle and not self._was_reported_idle and self._is_stopping():
            self._report()

    def _do_each_second(self, now_s: float) -> None:
        figures = self.ledger.figures
        (wait_s,) = figures.waits.percentiles(now_s, 0.5)
        first_p50_s, first_p95_s = figures.first_audio.percentiles(now_s, 0.5, 0.95)
        self._percentiles = (wait_s, first_p50_s, first_p95_s)
        self.ledger.quarantine.expire(now_s)
        self.ledger.log_refused()
        self.ledger.router.count_busy(now_s)
        self.models.make_room(self.ready_engines(), 0)
        self._announce_changes()
        self._send_status()

    def _queue_status(self) -> QueueStatus:
        queue, figures = self.ledger.queue, self.ledger.figures
        wait_s, first_p50_s, first_p95_s = self._percentiles
        return QueueStatus(
            num_waiting=queue.num_waiting,
            num_running=queue.num_running,
            waiting_bytes=queue.waiting_bytes,
            max_waiting=self._config.max_waiting,
            num_finished=figures.num_finished,
            num_failed=figures.num_failed,
            num_refused=figures.num_refused,
            wait_p50_s=wait_s,
            first_audio_p50_s=first_p50_s,
            first_audio_p95_s=first_p95_s,
            audio_s_per_s=figures.audio.per_second(self._clock()),
        )

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            status=self.status(),
            num_workers=len(self.workers),
            num_worker_starts=self._fleet.num_worker_starts if self._fleet is not None else 0,
            recording_bytes=self.ledger.recordings.size_bytes,
            num_quarantined=len(self.ledger.quarantine),
        )
