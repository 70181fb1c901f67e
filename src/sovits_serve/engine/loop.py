"""The life of an engine process around a ``Host``: pipes, signals, dispatcher, heartbeat.

No torch, no models: ``process.py`` gives it the real host, tests a fake one. One turn of ``_turn``
receives, computes one step and sends; the same turn carries the heartbeat, so that a stuck step is
seen. While idle it sleeps in ``select`` until a socket, a signal or another thread wakes it.
"""

import faulthandler
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn, Protocol

from sovits_serve.config_sources import load_log_config
from sovits_serve.engine.link import DispatcherLink
from sovits_serve.errors import EngineError, ServingError, SetupError
from sovits_serve.log import configure
from sovits_serve.protocol.messages import (
    Abort,
    DropRecording,
    EngineDraining,
    EngineLoad,
    EngineReady,
    Failed,
    Hello,
    LoadModel,
    Message,
    PutRecording,
    SynthesisRequest,
    UnloadModel,
    Welcome,
)
from sovits_serve.protocol.pipes import ParentPipe, end_process
from sovits_serve.protocol.reports import (
    ChildReady,
    Dying,
    Heartbeat,
    Loading,
    Orders,
    Report,
    Setup,
)
from sovits_serve.protocol.transport import ConnectionLost

_log = logging.getLogger(__name__)

EXIT_FAULT = 70
BEAT_S = 0.25
# After SIGTERM: how long the step that runs may take before it is cut off.
_TERMINATE_S = 0.8
# A drained engine waits that long for requests that were on their way when it said so.
_DRAIN_LINGER_S = 0.1


@dataclass(frozen=True)
class HostStatus:
    """How busy a host is, and its device memory as it knows it."""

    num_steps: int
    num_running: int  # segments in the batch
    num_waiting: int  # requests not begun
    device_bytes: int = 0
    device_limit_bytes: int = 0


class Host(Protocol):
    """What an engine process wraps. All methods are called from the process's main thread."""

    def load(self, report: Callable[[Report], None]) -> None:
        """Load the models, with a ``Loading`` now and then. A ``SetupError`` is permanent."""

    def warm_up(self, report: Callable[[Report], None]) -> None:
        """Run first syntheses, with a ``Warming`` for each."""

    def ready(self) -> EngineReady:
        """Return what the dispatcher is to know of the engine as it is now."""

    def add(self, request: SynthesisRequest) -> None:
        """Accept a request; a ``ServingError`` refuses it."""

    def abort(self, request_id: str) -> None:
        """End a request on demand; unknown ones are left alone."""

    def put_recording(self, message: PutRecording) -> None:
        """Keep a recording for requests that name it."""

    def drop_recording(self, message: DropRecording) -> None:
        """Forget a recording."""

    def load_model(self, message: LoadModel) -> None:
        """Begin to load weights; ``step`` returns ModelLoaded or ModelFailed later."""

    def unload_model(self, message: UnloadModel) -> None:
        """Forget weights once their last request has ended."""

    def has_work(self) -> bool:
        """Return whether ``step`` would do or say anything."""

    def step(self) -> list[Message]:
        """Do one step for everybody."""

    def status(self) -> HostStatus:
        """Return how busy it is. Must be cheap."""

    def close(self) -> None:
        """Remove what is on disk; the process ends. Called after any end that can be noticed."""

    def reset(self) -> None:
        """Forget requests, recordings and unsent messages: the dispatcher is gone. Keep models."""


MakeHost = Callable[[Setup, Callable[[], None]], Host]


def run_engine(make_host: MakeHost) -> NoReturn:
    """Be an engine process: the entry's only call.

    Args:
        make_host: gets the setup, and a function that any thread may call to wake the loop.
    """
    faulthandler.enable()  # SIGABRT, SIGSEGV and the like write all stacks to the log
    pipe = ParentPipe()
    log = load_log_config()
    configure(log.log_level, log.log_json, pipe.setup.name)
    code = EXIT_FAULT
    try:
        EngineLoop(pipe, make_host).run()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else EXIT_FAULT
    except SetupError as error:
        _log.error("cannot start: %s", error.message)
        pipe.report(Dying(error.code, error.message, is_permanent=True))
        code = error.exit_code
    except BaseException as error:  # noqa: BLE001 -- a process's top: say it, end
        _log.critical("the engine fails", exc_info=error)
        pipe.report(Dying("engine_error", f"{type(error).__name__}: {error}", is_permanent=False))
    end_process(code)


class EngineLoop:
    """Runs a host from its loading to the end of the process."""

    def __init__(self, pipe: ParentPipe, make_host: MakeHost) -> None:
        setup = pipe.setup
        hello = Hello("engine", setup.name, os.getpid(), token=setup.token)
        self._pipe = pipe
        self._link = DispatcherLink(setup.endpoint, hello)
        self._waker = Waker()
        pipe.report(Loading("libraries", 0.0))
        self._host = make_host(setup, self._waker.wake)
        self._is_draining = self._has_told = False
        self._is_terminated = False
        self._is_serving = False
        self._was_busy = False
        self._beat_due_s = 0.0
        self._idle_since_s = 0.0

    def run(self) -> None:
        """Load, warm up and serve, until drained or told to end."""
        self._set_signals()
        self._pipe.watch(self._on_order)
        try:
            self._host.load(self._pipe.report)
            self._host.warm_up(self._pipe.report)
            # Libraries and models are a few hundred thousand objects that stay. To look through
            # them takes the collector up to half a second, in which no audio is made.
            gc.collect()
            gc.freeze()
            self._serve()
        finally:
            self._host.close()

    def _serve(self) -> None:
        ready = self._host.ready()
        self._is_serving = True
        self._pipe.report(ChildReady(ready.device, ready.models))
        while not self._is_over():
            self._turn()
        self._link.close(linger_s=0.0 if self._is_terminated else 1.0)

    def _turn(self) -> None:
        """Receive, compute one step, send, show a sign of life."""
        if not self._host.has_work() or self._link.is_clogged:
            self._link.wait(self._sleep_s(), self._waker.reader)
        self._waker.clear()
        try:
            self._apply_all(self._link.receive())
            if self._is_draining and not self._has_told and self._link.is_welcome:
                self._link.send([EngineDraining()])
                self._has_told = True
            if self._host.has_work() and not self._link.is_clogged:
                self._link.send(self._host.step())
            self._beat()
        except ConnectionLost as error:
            _log.warning("lost the dispatcher (%s): its requests are aborted", error)
            self._host.reset()

    def _sleep_s(self) -> float:
        now = time.monotonic()
        due = self._beat_due_s
        if self._is_draining:
            due = min(due, self._idle_since_s + _DRAIN_LINGER_S)
        return max(0.0, due - now)

    def _is_over(self) -> bool:
        """Return whether to end: told so, or drained and nothing more has come for a moment."""
        if self._is_terminated:
            self._say_goodbye()
            return True
        if not self._is_draining or self._host.has_work():
            self._idle_since_s = time.monotonic()
            return False
        if not self._link.is_welcome:
            return True
        return self._has_told and time.monotonic() >= self._idle_since_s + _DRAIN_LINGER_S

    def _say_goodbye(self) -> None:
        """Tell that the end is meant: what is unfinished did not bring this engine down."""
        try:
            self._link.send([] if self._has_told else [EngineDraining()])
        except ConnectionLost as error:
            _log.warning("ending without a word: %s", error)

    # Messages.

    def _apply_all(self, messages: list[Message]) -> None:
        replies: list[Message] = []
        for message in messages:
            self._idle_since_s = time.monotonic()
            replies += self._apply(message)
        if replies:
            self._link.send(replies)

    def _apply(self, message: Message) -> list[Message]:
        match message:
            case SynthesisRequest():
                return self._accept(message)
            case Abort():
                self._host.abort(message.request_id)
            case PutRecording():
                self._host.put_recording(message)
            case DropRecording():
                self._host.drop_recording(message)
            case LoadModel():
                self._host.load_model(message)
            case UnloadModel():
                self._host.unload_model(message)
            case Welcome():
                self._has_told = False
                return [self._host.ready(), self._load()]
            case _:
                _log.error("not a message for an engine: %s", type(message).__name__)
        return []

    def _accept(self, request: SynthesisRequest) -> list[Message]:
        try:
            self._host.add(request)
        except ServingError as error:
            return [Failed(request.request_id, error.code, error.message, error.retry_after_s)]
        except Exception as error:  # noqa: BLE001 -- one request fails, the engine goes on
            _log.error("request %s cannot be added", request.request_id, exc_info=error)
            message = f"{type(error).__name__} while the request was checked"
            return [Failed(request.request_id, EngineError.code, message)]
        return []

    # Signs of life.

    def _beat(self) -> None:
        """Report to supervisor and dispatcher: when it is time, and when work begins or ends."""
        is_busy = self._host.has_work()
        now = time.monotonic()
        if now < self._beat_due_s and is_busy == self._was_busy:
            return
        if is_busy or self._was_busy:
            self._link.send([self._load()])
        self._was_busy = is_busy
        if now < self._beat_due_s:
            return
        self._beat_due_s = now + BEAT_S
        status = self._host.status()
        self._pipe.report(
            Heartbeat(
                num_steps=status.num_steps,
                has_work=is_busy,
                num_running=status.num_running,
                num_waiting=status.num_waiting,
                device_bytes=status.device_bytes,
                device_limit_bytes=status.device_limit_bytes,
            )
        )

    def _load(self) -> EngineLoad:
        status = self._host.status()
        return EngineLoad(status.num_steps, status.num_running, status.num_waiting)

    # Orders and signals.

    def _on_order(self, _order: Orders) -> None:
        """Called from the pipe's thread."""
        self._is_draining = True
        if not self._is_serving:
            signal.raise_signal(signal.SIGTERM)  # nothing was accepted yet
        self._waker.wake()

    def _set_signals(self) -> None:
        # Ctrl-C reaches the whole group; the supervisor decides what becomes of its children.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_terminate)
        self._waker.wake_on_signals()

    def _on_terminate(self, _signum: int, _frame: FrameType | None) -> None:
        if not self._is_serving:
            raise SystemExit(0)
        # The turn that runs may end; what is then unfinished is the dispatcher's to run again.
        self._is_terminated = True
        timer = threading.Timer(_TERMINATE_S, _cut_off)
        timer.daemon = True
        timer.start()


def _cut_off() -> None:
    """End a process whose step does not, and show where it is."""
    _log.warning("SIGTERM: a step takes too long and is cut off")
    faulthandler.dump_traceback()
    end_process(0)


class Waker:
    """Lets other threads, and signals, end the loop's sleep."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)

    def wake(self) -> None:
        """Make ``reader`` readable. Any thread may call it."""
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # full: it is awake already

    def wake_on_signals(self) -> None:
        """Have every signal with a handler of Python's wake, too."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def clear(self) -> None:
        """Take out what is there."""
        try:
            while self.reader.recv(4096):
                pass
        except BlockingIOError:
            return
