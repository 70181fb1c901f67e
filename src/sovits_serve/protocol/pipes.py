"""A child's end of the pipes to its supervisor: orders in, reports out, and the parent's life.

Standard input carries orders; its end means that the parent is gone, and the process ends at once,
whatever it is doing. On Linux the kernel does the same (``PR_SET_PDEATHSIG``), for a child that
holds the interpreter lock in C and cannot notice.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, NoReturn

import msgspec

from sovits_serve.protocol.reports import Heartbeat, Orders, Report, Setup

EXIT_PARENT_GONE = 74
_PR_SET_PDEATHSIG = 1


class ParentPipe:
    """Made once, first thing in a child's entry, in its main thread."""

    def __init__(self) -> None:
        """Take over the standard streams and read the first line.

        Raises:
            SystemExit: there is no supervisor on the other end.
        """
        _die_with_parent()
        # Ctrl-C reaches the whole group; the supervisor decides what becomes of its children.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._orders: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._reports = os.dup(1)
        # What anybody prints goes to the log.
        os.dup2(2, 1)
        if os.name == "posix":
            os.set_blocking(self._reports, False)
        self._unsent = bytearray()
        self._lock = threading.Lock()
        try:
            self.setup = msgspec.json.decode(self._orders.readline(), type=Setup)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise SystemExit(f"started by hand? No setup on standard input: {error}") from error

    def report(self, report: Report) -> None:
        """Send a report without waiting; heartbeats are dropped while the parent does not read."""
        with self._lock:
            if self._unsent and isinstance(report, Heartbeat):
                self._write()
                return
            self._unsent += msgspec.json.encode(report) + b"\n"
            self._write()

    def watch(self, on_order: Callable[[Orders], None]) -> None:
        """Call ``on_order`` for each order, from a thread of its own, from now on."""
        threading.Thread(target=self._watch, args=(on_order,), daemon=True, name="parent").start()

    def _watch(self, on_order: Callable[[Orders], None]) -> None:
        for line in self._orders:
            on_order(msgspec.json.decode(line, type=Orders))
        os._exit(EXIT_PARENT_GONE)

    def _write(self) -> None:
        while self._unsent:
            try:
                num_written = os.write(self._reports, self._unsent)
            except BlockingIOError:
                return
            except OSError:
                os._exit(EXIT_PARENT_GONE)
            del self._unsent[:num_written]


def end_process(exit_code: int) -> NoReturn:
    """End the process without the interpreter's own shutdown.

    Which would wait for threads that load or encode, and runs destructors of libraries that now
    and then crash and so change the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(exit_code)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died in between
        os._exit(EXIT_PARENT_GONE)
