"""A dispatcher that only listens to the supervisor, and writes down what it is told.

STUB_FLEETS      file that gets a line of JSON per Fleet, with the time
STUB_UNFINISHED  requests that it says are running, until this file is removed
DISPATCHER_DIES  it exits with this code at once
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path

from sovits_serve.protocol.messages import Fleet, Hello, Message, QueueReport, Welcome
from sovits_serve.protocol.pipes import ParentPipe
from sovits_serve.protocol.reports import ChildReady, Dying, Heartbeat
from sovits_serve.protocol.transport import Connection, listen
from tests.supervisor.stub_child import log


def on_message(connection: Connection, message: Message) -> None:
    """Answer the supervisor."""
    if isinstance(message, Hello):
        connection.send(Welcome())
    elif isinstance(message, Fleet):
        line = {
            "at": time.monotonic(),
            "state": message.state,
            "reason": message.reason,
            "is_leaving": message.is_leaving,
            "num_workers": message.num_workers,
            "engines": [
                {name: getattr(engine, name) for name in engine.__struct_fields__}
                for engine in message.engines
            ],
        }
        with Path(os.environ["STUB_FLEETS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if message.state == "draining":
            connection.send(QueueReport(0, num_running(), ()))


def num_running() -> int:
    """Return how many requests are said to run."""
    return int(Path(os.environ.get("STUB_UNFINISHED", "/nowhere")).exists())


async def main() -> None:
    """Listen until told to end."""
    pipe = ParentPipe()
    log("start", pipe.setup.name)
    if os.environ.get("DISPATCHER_DIES"):
        raise SystemExit(int(os.environ["DISPATCHER_DIES"]))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    peers: list[Connection] = []

    def make() -> Connection:
        peers.append(Connection(on_message, lambda *_: None))
        return peers[-1]

    try:
        server = await listen(pipe.setup.endpoint, make)
    except OSError as error:  # as the real one
        pipe.report(Dying("bad_config", str(error), is_permanent=True))
        raise SystemExit(78) from error
    pipe.watch(lambda _: None)
    pipe.report(ChildReady())
    log("ready", pipe.setup.name)
    while not ended.is_set():
        pipe.report(Heartbeat())
        for peer in peers:
            peer.send(QueueReport(0, num_running(), ()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.1)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
