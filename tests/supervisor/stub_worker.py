"""An HTTP worker that answers everything with its process id, some milliseconds later.

WORKER_DIES  the name of a process that ends at once
WORKER_HOLD  while this file exists, nobody but a place's first process becomes ready
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import msgspec

from sovits_serve.config import WorkerSetup
from sovits_serve.protocol.pipes import ParentPipe
from sovits_serve.protocol.reports import ChildReady, Heartbeat
from tests.supervisor.stub_child import log


async def main() -> None:
    """Serve until told to end."""
    pipe = ParentPipe()
    log("start", pipe.setup.name)
    if os.environ.get("WORKER_DIES") == pipe.setup.name:
        raise SystemExit(1)
    wait_while_held(pipe.setup.name)
    setup = msgspec.json.decode(pipe.setup.config, type=WorkerSetup)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    open_now: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.02)
        body = str(os.getpid()).encode()
        head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        await writer.drain()
        writer.close()
        open_now.discard(task)

    servers = [
        await asyncio.start_server(answer, sock=socket.socket(fileno=os.dup(fd)))
        for fd in setup.sockets
    ]
    pipe.watch(lambda _: None)
    pipe.report(ChildReady())
    log("ready", pipe.setup.name)
    while not ended.is_set():
        pipe.report(Heartbeat())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.1)
    for server in servers:
        server.close()
    await asyncio.sleep(0)
    await asyncio.gather(*open_now)


def wait_while_held(name: str) -> None:
    """Wait for the end of WORKER_HOLD."""
    file = Path(os.environ.get("WORKER_HOLD", "/nowhere"))
    while file.exists() and not name.endswith("#1"):
        time.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main())
