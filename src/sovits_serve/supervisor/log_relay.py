"""Passes log lines on to standard error without ever waiting for whoever reads it.

A thread writes; when it cannot keep up, lines are dropped and counted. It writes to the descriptor,
not to ``sys.stderr``, whose lock would stop the interpreter's end.
"""

import contextlib
import json
import logging
import os
import queue
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sovits_serve.config import LogConfig
from sovits_serve.log import JsonFormatter, TextFormatter, escape

MAX_LINE_CHARACTERS = 2048
_MAX_LINES = 2000
_CLOSE_S = 0.5
_DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


class LogRelay:
    """Writes lines, each with the name of the process it is from."""

    def __init__(
        self, descriptor: int = 2, *, is_json: bool = False, max_lines: int = _MAX_LINES
    ) -> None:
        self.num_dropped = 0
        self._descriptor = descriptor
        self._is_json = is_json
        self._lines: queue.Queue[bytes | None] = queue.Queue(max_lines)
        self._thread = threading.Thread(target=self._write_all, daemon=True, name="log relay")

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def pass_on(self, name: str, line: str) -> None:
        """Write a line of a child soon; one that does not say whose it is gets the child's name."""
        line = escape(line[:MAX_LINE_CHARACTERS])
        if self._is_json and not line.startswith("{"):
            line = json.dumps({"process": name, "message": line})
        elif not self._is_json and not _DATED.match(line):
            line = f"{name} | {line}"
        self.write(line)

    def write(self, line: str) -> None:
        """Write a line soon; it is dropped if too many wait already."""
        try:
            self._lines.put_nowait(f"{line}\n".encode("utf-8", "replace"))
        except queue.Full:
            self.num_dropped += 1

    def close(self) -> None:
        """Write what waits, as far as that is possible at once."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_CLOSE_S)
        self._thread.join(_CLOSE_S)

    def _write_all(self) -> None:
        num_told = 0
        while (line := self._lines.get()) is not None:
            if self.num_dropped != num_told:
                num_new, num_told = self.num_dropped - num_told, self.num_dropped
                line += b"supervisor | %d lines were dropped, nobody read them\n" % num_new
            self._write(line)

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:
                threading.Event().wait(0.05)
            except OSError:
                return  # nobody will ever read it


class RelayHandler(logging.Handler):
    """Sends this process's own records the same way."""

    def __init__(self, relay: LogRelay) -> None:
        super().__init__()
        self._relay = relay

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self._relay.write(self.format(record))


@contextmanager
def relayed_log(logger: logging.Logger, config: LogConfig) -> Iterator[LogRelay]:
    """Have this process's own log go the way of its children's, so that it never waits."""
    relay = LogRelay(is_json=config.log_json)
    handler = RelayHandler(relay)
    handler.setFormatter((JsonFormatter if config.log_json else TextFormatter)("supervisor"))
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(config.log_level.upper())
    logger.propagate = False
    relay.start()
    try:
        yield relay
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
        relay.close()
