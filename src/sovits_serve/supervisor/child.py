"""One process: how it is started, what it says, and how it is ended. Knows no policy.

It must be started from the main thread: on Linux the kernel kills a child when the *thread* that
started it ends (``protocol/pipes.py``).
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from sovits_serve.protocol.reports import Orders, Report, Reports, Setup
from sovits_serve.supervisor.log_relay import MAX_LINE_CHARACTERS
from sovits_serve.supervisor.place import Exit

NUM_LAST_LINES = 50
# The end is told at once; this is for what the pipes still hold, should a grandchild keep them open.
_LAST_READ_S = 0.05
_STDOUT, _STDERR = 1, 2
_decoder = msgspec.json.Decoder(Reports)

Steps = Sequence[tuple[signal.Signals, float]]  # signals, and how long to wait after each
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
AT_ONCE: Steps = ((_KILL, 5.0),)
# Who is stuck in C code does not see SIGTERM; SIGABRT makes it write its stacks to the log.
STUCK: Steps = ((signal.SIGTERM, 1.0), (signal.SIGABRT, 2.0), (_KILL, 5.0))
STOP: Steps = ((signal.SIGTERM, 1.0), (_KILL, 5.0))


class Listener(Protocol):
    """Who hears of a child's life. Nothing is called after ``on_exit``."""

    def on_report(self, child: "Child", report: Report) -> None:
        """The child said something."""

    def on_line(self, child: "Child", line: str) -> None:
        """The child logged something."""

    def on_exit(self, child: "Child", end: Exit) -> None:
        """The child has ended."""


@dataclass(frozen=True)
class Command:
    """What is started, and what it is told first."""

    module: str
    setup: Setup
    pass_fds: tuple[int, ...] = ()
    has_private_files: bool = False  # what it makes is for this user alone
    flags: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """Return the command line: unbuffered, with stack dumps on fatal signals."""
        return [sys.executable, "-u", "-X", "faulthandler", *self.flags, "-m", self.module]


class LineCutter:
    """Cuts bytes into lines of bounded length; what is too long is cut off, not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are complete now. Progress bars end lines by carriage return."""
        *lines, rest = (bytes(self._rest) + data.replace(b"\r", b"\n")).split(b"\n")
        self._rest = bytearray(rest[: self._max_bytes])
        return [line for line in map(self._decode, lines) if line]

    def end(self) -> list[str]:
        """Return what is left."""
        return self.feed(b"\n")

    def _decode(self, line: bytes) -> str:
        return line[: self._max_bytes].decode("utf-8", "replace").rstrip()


class Child(asyncio.SubprocessProtocol):
    """Holds a process from its start to its end."""

    def __init__(self, name: str, number: int, listener: Listener) -> None:
        self.name = name
        self.number = number
        self.pid = 0
        self.is_over = False
        self.last_lines: deque[str] = deque(maxlen=NUM_LAST_LINES)
        self._listener = listener
        self._transport: asyncio.SubprocessTransport | None = None
        self._cutters = {_STDOUT: LineCutter(1 << 20), _STDERR: LineCutter(MAX_LINE_CHARACTERS)}
        self._num_open_pipes = 2
        self._over = asyncio.Event()
        self._early_signals: list[signal.Signals] = []

    async def start(self, command: Command) -> None:
        """Start the process; one that cannot be started ends at once."""
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: self,
                *command.arguments,
                pass_fds=command.pass_fds,
                umask=0o077 if command.has_private_files else -1,
            )
        except OSError as error:
            self._finish(Exit(None, f"cannot be started: {error}"))
            return
        self._write(msgspec.json.encode(command.setup))
        for number in self._early_signals:
            self._send_signal(number)
        assert transport is self._transport

    def order(self, order: Orders) -> None:
        """Tell the process something."""
        self._write(msgspec.json.encode(order))

    async def end(self, steps: Steps) -> None:
        """Send signals, one after another, until the process has ended."""
        for number, wait_s in steps:
            if self.is_over:
                return
            self.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), wait_s)

    async def wait(self) -> None:
        """Wait for the end."""
        await self._over.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; it is kept for a process that is being started."""
        if self._transport is None:
            self._early_signals.append(number)
        elif not self.is_over:
            self._send_signal(number)

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process runs and its pipes are open."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        self.pid = transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """The process wrote something."""
        self._take(fd, self._cutters[fd].feed(data))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        """The process, or its end, closed a pipe."""
        if fd in self._cutters:
            self._take(fd, self._cutters[fd].end())
            self._num_open_pipes -= 1
            self._finish_if_done()

    def process_exited(self) -> None:
        """The process has ended; its last words may still be in the pipes."""
        asyncio.get_running_loop().call_later(_LAST_READ_S, self._finish_now)
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        is_dead = self._transport is not None and self._transport.get_returncode() is not None
        if is_dead and self._num_open_pipes == 0:
            self._finish_now()

    def _finish_now(self) -> None:
        assert self._transport is not None
        code = self._transport.get_returncode()
        assert code is not None
        for fd, cutter in self._cutters.items():
            self._take(fd, cutter.end())
        self._transport.close()
        self._finish(Exit(code, describe_exit(code)))

    def _finish(self, end: Exit) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._over.set()
        lines = tuple(self.last_lines)
        self._listener.on_exit(self, Exit(end.code, end.description, lines))

    def _take(self, fd: int, lines: list[str]) -> None:
        if self.is_over:
            return
        for line in lines:
            if fd == _STDERR:
                self._log(line)
                continue
            try:
                report = _decoder.decode(line)
            except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
                # Something that printed before its streams were taken over.
                self._log(line[:MAX_LINE_CHARACTERS])
                continue
            self._listener.on_report(self, report)

    def _log(self, line: str) -> None:
        self.last_lines.append(line)
        self._listener.on_line(self, line)

    def _write(self, line: bytes) -> None:
        pipe = None if self._transport is None else self._transport.get_pipe_transport(0)
        if isinstance(pipe, asyncio.WriteTransport) and not pipe.is_closing():
            pipe.write(line + b"\n")

    def _send_signal(self, number: signal.Signals) -> None:
        # Not through the transport: its Popen would look for the end, and take it from asyncio.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def describe_exit(code: int) -> str:
    """Return an exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
