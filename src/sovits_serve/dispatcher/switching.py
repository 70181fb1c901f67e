"""Calls that change what everybody gets: other weights, another default reference.

One call at a time. Weights are loaded beside the old ones on all ready engines; only when all have
them does the default change. A call is done when every worker has said that it serves by the new
status. Requests that were admitted before keep what they were admitted with.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sovits_serve.dispatcher.models import ModelFiles, ModelRegistry, look_at
from sovits_serve.dispatcher.peers import Engine, Worker
from sovits_serve.errors import InvalidRequest, NotReady, ServingError
from sovits_serve.protocol.messages import (
    CallDone,
    CallFailed,
    LoadModel,
    ModelFailed,
    ModelInfo,
    SwitchModel,
    SwitchReference,
    UnloadModel,
)

_log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 600.0
STATUS_SEEN_TIMEOUT_S = 1.0


class Surroundings(Protocol):
    """What a switch needs of the dispatcher."""

    workers: list[Worker]
    models: ModelRegistry

    def ready_engines(self) -> list[Engine]:
        """Return the engines that are to have all models."""

    def set_reference(self, recording: str, name: str) -> None:
        """Make a known recording the default reference."""

    def announce(self) -> int:
        """Send the changed status to all workers; return its serial number."""


@dataclass(eq=False)
class _Call:
    worker: Worker
    message: SwitchModel | SwitchReference
    deadline_s: float = 0.0
    files: ModelFiles | None = None
    info: ModelInfo | None = None
    loading: list[Engine] = field(default_factory=list)
    unseen: list[Worker] | None = None  # a list once the change is announced
    serial: int = 0


class Switcher:
    """Runs one call after the other."""

    def __init__(self, around: Surroundings, clock: Callable[[], float]) -> None:
        self._around = around
        self._clock = clock
        self._waiting: deque[_Call] = deque()
        self._call: _Call | None = None
        # LoadModel that were taken back before their answer came; the answers mean nothing.
        self._taken_back: dict[Engine, list[str]] = {}

    def submit(self, worker: Worker, message: SwitchModel | SwitchReference) -> None:
        """Take on a call."""
        self._waiting.append(_Call(worker, message))
        self._next()

    def on_loaded(self, engine: Engine, info: ModelInfo) -> bool:
        """Take in a ModelLoaded; return whether the engine has the model now."""
        if self._was_taken_back(engine, info.name):
            return False
        engine.loading.discard(info.name)
        engine.models[info.name] = info
        call = self._call
        if call is not None and engine in call.loading and self._name(call) == info.name:
            call.info = info
            call.loading.remove(engine)
            self._finish_loading(call)
        return True

    def on_failed(self, engine: Engine, message: ModelFailed) -> None:
        """Take in a ModelFailed: the whole call fails."""
        if self._was_taken_back(engine, message.model):
            return
        engine.loading.discard(message.model)
        call = self._call
        if call is not None and engine in call.loading and self._name(call) == message.model:
            call.loading.remove(engine)
            self._fail(call, message.code, f"{engine.place}: {message.message}")
        else:
            _log.error("engine=%s cannot load %s: %s", engine.name, message.model, message.message)

    def on_engine_lost(self, engine: Engine) -> None:
        """Wait for it no longer; when it comes back it gets what it lacks."""
        self._taken_back.pop(engine, None)
        call = self._call
        if call is not None and engine in call.loading:
            call.loading.remove(engine)
            self._finish_loading(call)

    def on_status_seen(self, worker: Worker, serial: int) -> None:
        """Count a worker that serves by a status."""
        worker.seen_serial = max(worker.seen_serial, serial)
        call = self._call
        if call is not None and call.unseen is not None and serial >= call.serial:
            if worker in call.unseen:
                call.unseen.remove(worker)
            self._finish_announcing(call)

    def on_worker_lost(self, worker: Worker) -> None:
        """Wait for it no longer."""
        call = self._call
        if call is not None and call.unseen is not None and worker in call.unseen:
            call.unseen.remove(worker)
            self._finish_announcing(call)

    def tick(self) -> None:
        """Give up what takes too long."""
        call = self._call
        if call is None or self._clock() < call.deadline_s:
            return
        if call.unseen is None:
            names = ", ".join(engine.place for engine in call.loading)
            self._fail(call, NotReady.code, f"{names}: not loaded after {LOAD_TIMEOUT_S:.0f} s")
            return
        late, call.unseen = call.unseen, []
        for worker in late:
            worker.peer.close(f"it did not take in the new status in {STATUS_SEEN_TIMEOUT_S} s")
        self._finish_announcing(call)

    def _next(self) -> None:
        while self._call is None and self._waiting:
            self._call = self._waiting.popleft()
            try:
                self._begin(self._call)
            except ServingError as error:
                self._fail(self._call, error.code, error.message)

    def _begin(self, call: _Call) -> None:
        message = call.message
        if isinstance(message, SwitchReference):
            self._around.set_reference(message.recording, message.name)
            self._announce(call)
            return
        models = self._around.models
        current = models.files.get(models.default, ModelFiles("", ""))
        if not (current.t2s or current.sovits) and self._around.ready_engines():
            raise InvalidRequest(
                "weights_path: the built-in model speaks, and no other weights fit its encoder of "
                "references; start the server with --model"
            )
        call.files = look_at(message.t2s or current.t2s, message.sovits or current.sovits)
        engines = self._around.ready_engines()
        if not engines:
            raise NotReady("no engine is ready; the weights are as they were")
        name = self._name(call)
        call.info = models.infos.get(name)
        lacking = [engine for engine in engines if name not in engine.models]
        if lacking and call.info is None:
            models.make_room(engines, 1)
        call.loading = lacking
        call.deadline_s = self._clock() + LOAD_TIMEOUT_S
        for engine in lacking:
            if name not in engine.loading:
                engine.loading.add(name)
                engine.peer.send(LoadModel(name, call.files.t2s, call.files.sovits))
        self._finish_loading(call)

    def _name(self, call: _Call) -> str:
        assert call.files is not None
        return self._around.models.name_of(call.files)

    def _finish_loading(self, call: _Call) -> None:
        if call.loading or call.files is None:
            return
        if call.info is None:
            self._fail(call, NotReady.code, "no engine is left that loaded the weights")
            return
        self._around.models.add(call.info, call.files)
        self._around.models.set_default(call.info.name)
        _log.info("model=%s is the default now", call.info.name)
        self._announce(call)

    def _announce(self, call: _Call) -> None:
        call.serial = self._around.announce()
        call.unseen = [w for w in self._around.workers if w.seen_serial < call.serial]
        call.deadline_s = self._clock() + STATUS_SEEN_TIMEOUT_S
        self._finish_announcing(call)

    def _finish_announcing(self, call: _Call) -> None:
        if call.unseen:
            return
        call.worker.peer.send(CallDone(call.message.call_id))
        self._end(call)

    def _fail(self, call: _Call, code: str, reason: str) -> None:
        _log.warning("call=%s failed: %s", call.message.call_id, reason)
        if call.files is not None and self._name(call) not in self._around.models.infos:
            self._take_back(call, self._name(call))
        call.worker.peer.send(CallFailed(call.message.call_id, code, reason))
        self._end(call)

    def _take_back(self, call: _Call, name: str) -> None:
        for engine in self._around.ready_engines():
            if engine.models.pop(name, None) is None and engine not in call.loading:
                continue
            if engine in call.loading:
                engine.loading.discard(name)
                self._taken_back.setdefault(engine, []).append(name)
            engine.peer.send(UnloadModel(name))

    def _was_taken_back(self, engine: Engine, name: str) -> bool:
        names = self._taken_back.get(engine, [])
        if name not in names:
            return False
        names.remove(name)
        return True

    def _end(self, call: _Call) -> None:
        assert self._call is call
        self._call = None
        self._next()
