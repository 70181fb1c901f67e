"""The supervisor's connection to its dispatcher: made again whenever that was replaced."""

import asyncio
import os
from collections.abc import Callable

from sovits_serve.protocol.messages import Fleet, Hello, Keepsake, Message, QueueReport, Welcome
from sovits_serve.protocol.transport import Connection, connect

_RETRY_S = 0.1


class DispatcherLink:
    """Sends the fleet's state, receives what is unfinished."""

    def __init__(self, endpoint: str, token: str, on_report: Callable[[QueueReport], None]) -> None:
        self._endpoint = endpoint
        self._hello = Hello("supervisor", "supervisor", os.getpid(), token=token)
        self._on_report = on_report
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._fleet: Fleet | None = None
        self._keepsake: Keepsake | None = None
        self.is_open = False

    async def run(self) -> None:
        """Keep connected until cancelled."""
        try:
            while True:
                await self._serve()
                await asyncio.sleep(_RETRY_S)
        finally:
            if self._connection is not None:
                self._connection.close("the supervisor ends")

    def send(self, fleet: Fleet) -> None:
        """Tell the dispatcher, now or as soon as it is there."""
        self._fleet = fleet
        if self.is_open and self._connection is not None:
            self._connection.send(fleet)

    async def _serve(self) -> None:
        self._lost.clear()
        try:
            self._connection = await connect(self._endpoint, self._take, self._lose)
        except OSError:
            return  # it is not there yet, or no more
        self._connection.send(self._hello)
        await self._lost.wait()

    def _take(self, connection: Connection, message: Message) -> None:
        if isinstance(message, QueueReport):
            self._on_report(message)
        elif isinstance(message, Keepsake):
            self._keepsake = message
        elif isinstance(message, Welcome):
            self.is_open = True
            if self._keepsake is not None:
                connection.send(self._keepsake)
            if self._fleet is not None:
                connection.send(self._fleet)

    def _lose(self, connection: Connection, reason: str) -> None:  # noqa: ARG002
        self.is_open = False
        self._lost.set()
