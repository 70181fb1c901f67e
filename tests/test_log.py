"""Log lines: one per record, bounded, and nothing in them that steers a terminal."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from sovits_serve.log import MAX_LINE_BYTES, JsonFormatter, TextFormatter, configure


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Leave logging as it was."""
    root, ours = logging.getLogger(), logging.getLogger("sovits_serve")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(capture=False)


def record(message: str, *, request_id: str = "", error: Exception | None = None) -> str:
    """Return a text formatter's output."""
    return TextFormatter("cuda:0").format(make_record(message, request_id, error))


def make_record(message: str, request_id: str, error: Exception | None) -> logging.LogRecord:
    """Return a record as ``logging`` makes it."""
    info = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("sovits_serve.x", logging.INFO, "", 0, message, (), info)
    made.created = 0.5
    if request_id:
        made.request_id = request_id
    return made


def raised(message: str) -> Exception:
    """Return an error with a traceback."""
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_a_line_has_time_level_process_and_request() -> None:
    """The request comes first of what is said."""
    line = record("begun voice=a", request_id="ab12")

    assert line == "1970-01-01T00:00:00.500Z INFO cuda:0 request_id=ab12 begun voice=a"


def test_nobodys_input_forges_a_line_or_steers_a_terminal() -> None:
    """Line ends and control characters are written out, in the request's id, too."""
    line = record("a\r\nb \x1b[31m \u2028 \x85", request_id="x\ny")

    assert line.isprintable()
    assert line.endswith(r"request_id=x\ny a\r\nb \x1b[31m \u2028 \x85")


@pytest.mark.parametrize("formatter", [TextFormatter("w"), JsonFormatter("w")])
def test_a_line_is_bounded(formatter: logging.Formatter) -> None:
    """However long a message is, its line is written at once."""
    line = formatter.format(make_record("界" * 10_000, "", None))

    assert 1000 < len(line.encode()) <= MAX_LINE_BYTES
    assert "..." in line


def test_json_with_much_to_escape_is_bounded() -> None:
    """Escapes count; the end of a traceback, where the error is, is kept."""
    made = make_record("\x01" * 5000, "\x02" * 500, raised('"' * 5000 + "end"))
    line = JsonFormatter("w").format(made)

    assert len(line.encode()) <= MAX_LINE_BYTES
    assert json.loads(line)["traceback"].endswith("end")


def test_a_traceback_stands_below_its_line_and_is_marked() -> None:
    """A traceback keeps its lines; what the error says cannot pass for a record."""
    lines = record("failed", error=raised("1970-01-01 forged\n1970-01-01 forged")).split("\n")

    assert lines[0].endswith("INFO cuda:0 failed")
    assert len(lines) > 3
    assert all(line.startswith("    | ") for line in lines[1:])


def test_json_is_one_object_per_line() -> None:
    """Fields are apart, and the line holds nothing unprintable even so."""
    made = make_record("a\n\x7f\u2028", "ab", raised("bad"))
    line = JsonFormatter("cuda:0").format(made)
    fields = json.loads(line)

    assert line.isprintable()
    assert (fields["level"], fields["process"], fields["request_id"]) == ("info", "cuda:0", "ab")
    assert fields["message"] == "a\n\x7f\u2028"
    assert fields["traceback"].endswith("ValueError: bad")


def test_a_mistake_in_a_log_call_is_logged() -> None:
    """Arguments that do not fit the message do not raise."""
    made = logging.LogRecord("x", logging.INFO, "", 0, "%d things", ("many",), None)

    assert "%d things ('many',)" in TextFormatter("w").format(made)


@pytest.mark.usefixtures("restored_logging")
def test_others_log_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Our own level is what was set; other packages are not chatty at it."""
    configure("debug", is_json=False, name="dispatcher")

    logging.getLogger("sovits_serve.queue").debug("ours")
    logging.getLogger("other").info("theirs")
    logging.getLogger("other").warning("serious")

    shown = capsys.readouterr().err
    assert "DEBUG dispatcher ours" in shown
    assert "theirs" not in shown
    assert "serious" in shown


@pytest.mark.usefixtures("restored_logging")
def test_configuring_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The last configuration is the only one."""
    configure("info", is_json=True, name="a")
    configure("error", is_json=False, name="b")

    logging.getLogger("sovits_serve").warning("quiet")
    logging.getLogger("sovits_serve").error("loud")

    assert capsys.readouterr().err.count("\n") == 1
    assert sys.stderr is not None
