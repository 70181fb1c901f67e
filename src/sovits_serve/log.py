"""How every process logs: lines on standard error, with a time, a level and the process's name.

A line is one write of at most 2 kB, so that processes which share a pipe do not tear each other's
lines apart, and holds no control characters, so that nobody's input can forge a line or steer a
terminal. Text of requests is logged nowhere unless ``log_text``
is on; that is the callers' matter. ``extra={"request_id": ...}`` puts the request first.
"""

import json
import logging
import sys
from datetime import UTC, datetime

MAX_LINE_BYTES = 2048
_MAX_TRACEBACK_LINES = 60
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(level: str, is_json: bool, name: str) -> None:
    """Set up this process's logging; once, first thing in its entry.

    Args:
        level: debug, info, warning or error. Other packages log from warning on.
        is_json: one JSON object per line.
        name: what the process is called: "dispatcher", "cuda:0".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(name) if is_json else TextFormatter(name))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    logging.getLogger("sovits_serve").setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)


def escape(text: str) -> str:
    r"""Return a text with everything that is not printable written out ("\n", "\x1b")."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO cuda:0 request_id=ab12 message``; tracebacks below, marked."""

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self._process_name = escape(process_name)

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line, and its traceback's."""
        request_id = _request_id(record)
        message = f"request_id={request_id} {_message(record)}" if request_id else _message(record)
        head = f"{_time(record)} {record.levelname} {self._process_name} "
        traceback = _traceback(self, record).splitlines()[-_MAX_TRACEBACK_LINES:]
        lines = (head + escape(message), *(f"    | {escape(line)}" for line in traceback))
        return "\n".join(_cut(line, MAX_LINE_BYTES) for line in lines)


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, process, pid, request_id, message, traceback."""

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self._process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        fields: dict[str, str | int] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "process": self._process_name,
            "pid": record.process or 0,
        }
        if request_id := _request_id(record):
            fields["request_id"] = request_id
        message, traceback = _message(record), _traceback(self, record)
        max_bytes = MAX_LINE_BYTES
        while True:  # JSON's own escapes can make texts up to six times as long
            max_bytes //= 2
            fields["message"] = _cut(message, max_bytes)
            if traceback:
                tail = traceback.encode("utf-8", "backslashreplace")[-max_bytes:]
                fields["traceback"] = tail.decode("utf-8", "ignore")
            line = _dump(fields)
            if len(line.encode()) <= MAX_LINE_BYTES:
                return line


def _dump(fields: dict[str, str | int]) -> str:
    line = json.dumps(fields, ensure_ascii=False)
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _request_id(record: logging.LogRecord) -> str:
    return _cut(escape(str(getattr(record, "request_id", ""))), 128)


def _message(record: logging.LogRecord) -> str:
    """Return the message; a mistake in a log call is not worth a request."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} {record.args}"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _cut(text: str, max_bytes: int) -> str:
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= max_bytes:
        return data.decode("utf-8")
    return data[: max_bytes - 4].decode("utf-8", "ignore") + "..."
