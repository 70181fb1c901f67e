"""The entry of an HTTP worker: uvicorn on inherited sockets, watched over by a supervisor.

``python -m sovits_serve.api.worker`` is started by the supervisor and by nobody else. It answers
/livez about a second later, whatever engines do. SIGTERM, or ``DrainChild``, lets it finish what
runs; SIGINT, which a terminal sends to everybody, is the supervisor's affair.
"""

import asyncio
import contextlib
import faulthandler
import gc
import logging
import math
import os
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import msgspec
import uvicorn

from sovits_serve.config import WorkerSetup
from sovits_serve.config_sources import load_log_config
from sovits_serve.errors import SetupError
from sovits_serve.log import configure
from sovits_serve.protocol.pipes import ParentPipe, end_process
from sovits_serve.protocol.reports import ChildReady, Dying, Heartbeat, Orders

_HEARTBEAT_S = 0.5
_EXIT_FAILED = 70
_LAST_REQUESTS_S = 0.2
_DEAF_S = 1.0  # at most, until it takes its first connection
_log = logging.getLogger(__name__)


def main() -> int:
    """Serve until told to stop; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    pipe = ParentPipe()
    _configure_logging(pipe.setup.name)
    try:
        _serve(pipe)
    except SetupError as error:
        pipe.report(Dying(error.code, error.message, is_permanent=True))
        _log.error("the worker cannot start: %s", error.message)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 -- a process's top
        pipe.report(Dying("internal_error", f"{type(error).__name__}: {error}", is_permanent=False))
        _log.exception("the worker failed")
        return _EXIT_FAILED
    return 0


class WorkerServer(uvicorn.Server):
    """uvicorn's server, in one process, that tells its supervisor how it is."""

    def __init__(self, config: uvicorn.Config, pipe: ParentPipe) -> None:
        super().__init__(config)
        self._pipe = pipe
        self._heart: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        # What is there now stays; looking through it again and again would cost pauses.
        gc.collect()
        gc.freeze()
        self._heart = asyncio.create_task(self._beat(), name="heartbeat")
        self._pipe.report(ChildReady())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what runs."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        # Requests of connections that were accepted already are read and served first: to close
        # with something unread would reset the connection.
        await asyncio.sleep(_LAST_REQUESTS_S)
        await super().shutdown(sockets)
        if self._heart is not None:
            self._heart.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Obey SIGTERM; unlike uvicorn's own, end with exit code 0 afterwards."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        yield

    def drain(self, order: Orders) -> None:
        """Take the supervisor's order to finish."""
        del order
        self.should_exit = True

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.should_exit = True

    async def _beat(self) -> None:
        """Report from the loop itself, so that a blocked loop is seen."""
        num_steps = 0
        while True:
            num_steps += 1
            self._pipe.report(Heartbeat(num_steps, num_running=len(self.server_state.tasks)))
            await asyncio.sleep(_HEARTBEAT_S)


class DropBrokenAudio(logging.Filter):
    """Keeps uvicorn from logging a traceback for audio that was broken off on purpose."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all else pass; the reason has been logged where it is known."""
        from sovits_serve.api.streaming import BrokenAudio

        return not (record.exc_info and isinstance(record.exc_info[1], BrokenAudio))


def _serve(pipe: ParentPipe) -> None:
    # Most of the time of a start; by now the parent's end is noticed and SIGINT ignored.
    from sovits_serve.api.app import create_app
    from sovits_serve.api.http_protocol import limited_protocol
    from sovits_serve.api.request_log import AddRequestId

    for handler in logging.getLogger().handlers:
        handler.addFilter(AddRequestId())
    setup = msgspec.json.decode(pipe.setup.config, type=WorkerSetup)
    app = create_app(
        setup.api,
        setup.frontend,
        setup.model,
        pipe.setup.endpoint,
        pipe.setup.token,
        name=pipe.setup.name,
    )
    app.state.supervisor_pid = os.getppid()  # whom /control asks
    app.state.first_status_s = _DEAF_S  # the supervisor starts the dispatcher first
    config = uvicorn.Config(
        app,
        host=setup.api.host,
        port=setup.api.port,
        http=limited_protocol(setup.api),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # The supervisor has a shorter deadline and kills.
        timeout_graceful_shutdown=math.ceil(setup.api.request_timeout_s),
    )
    server = WorkerServer(config, pipe)
    pipe.watch(server.drain)
    # Where sockets cannot be inherited (Windows) the only worker binds its own.
    sockets = [socket.socket(fileno=number) for number in setup.sockets] or None
    server.run(sockets)


def _configure_logging(name: str) -> None:
    log = load_log_config()
    configure(log.log_level, log.log_json, name)
    logging.getLogger("uvicorn.error").addFilter(DropBrokenAudio())


if __name__ == "__main__":
    end_process(main())
