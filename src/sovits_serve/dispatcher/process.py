"""The dispatcher's process: ``python -m sovits_serve.dispatcher.process``, started by the supervisor."""

import asyncio
import faulthandler
import logging
import signal
import sys
from collections.abc import Coroutine

import msgspec

from sovits_serve.config import QueueConfig
from sovits_serve.config_sources import load_log_config
from sovits_serve.dispatcher.core import Dispatcher
from sovits_serve.dispatcher.server import DispatcherServer
from sovits_serve.errors import ConfigError
from sovits_serve.log import configure
from sovits_serve.metrics import ServerMetrics
from sovits_serve.protocol.pipes import ParentPipe
from sovits_serve.protocol.reports import ChildReady, Dying, Heartbeat, Orders

_log = logging.getLogger(__name__)

_HEARTBEAT_TICKS = 5  # of server.TICK_S: four times a second


def main() -> None:
    """Run a dispatcher until it is told to end or its supervisor is gone."""
    faulthandler.enable()
    # Ctrl-C on a terminal reaches the whole group; when to end is the supervisor's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = ParentPipe()
    log = load_log_config()
    configure(log.log_level, log.log_json, parent.setup.name)
    try:
        config = msgspec.json.decode(parent.setup.config, type=QueueConfig)
        _run(_serve(parent, config))
    except (ConfigError, msgspec.ValidationError, OSError, ValueError) as error:
        _log.error("the dispatcher cannot start: %s", error)
        parent.report(Dying(ConfigError.code, str(error), is_permanent=True))
        sys.exit(ConfigError.exit_code)


async def _serve(parent: ParentPipe, config: QueueConfig) -> None:
    dispatcher = Dispatcher(config, ServerMetrics(), has_supervisor=True)
    server = DispatcherServer(dispatcher, parent.setup.endpoint, parent.setup.token)
    await server.start()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    is_draining = False

    def on_order(_order: Orders) -> None:  # in a thread
        loop.call_soon_threadsafe(drain)

    def drain() -> None:
        nonlocal is_draining
        is_draining = True
        dispatcher.drain()

    def on_tick() -> None:
        report = dispatcher.queue_report()
        if server.num_ticks % _HEARTBEAT_TICKS == 0:
            parent.report(
                Heartbeat(
                    num_steps=server.num_ticks,
                    num_running=report.num_running,
                    num_waiting=report.num_waiting,
                )
            )
        if is_draining and dispatcher.ledger.is_idle:
            ended.set()

    if sys.platform == "win32":
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(ended.set))
    else:
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    parent.watch(on_order)
    parent.report(ChildReady())
    turning = asyncio.create_task(server.run(on_tick))
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait({turning, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if turning.done():
        turning.result()  # a bug: end loudly, the supervisor starts another
    turning.cancel()
    dispatcher.stop()
    await server.close()


def _run(coroutine: Coroutine[object, object, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(coroutine)
    else:
        uvloop.run(coroutine)


if __name__ == "__main__":
    main()
