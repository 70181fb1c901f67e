import json
import logging
import os
import threading

from sovits_serve.config import LogConfig
from sovits_serve.supervisor.log_relay import MAX_LINE_CHARACTERS, LogRelay, relayed_log


def read_lines(reader: int) -> list[str]:
    """Return all that was written to a pipe whose other end is closed."""
    with os.fdopen(reader, "rb") as file:
        return file.read().decode().splitlines()


def relay_of(*lines: str, is_json: bool = False) -> list[str]:
    """Return what becomes of a child's lines."""
    reader, writer = os.pipe()
    relay = LogRelay(writer, is_json=is_json)
    relay.start()
    for line in lines:
        relay.pass_on("cuda:0#1", line)
    relay.close()
    os.close(writer)
    return read_lines(reader)


def test_lines_get_the_name_of_their_process_once() -> None:
    """A line that our log formatted says whose it is; a traceback's line does not."""
    dated = "2026-01-31T12:00:00.000Z INFO cuda:0#1 ready"

    assert relay_of(dated, "Traceback:") == [dated, "cuda:0#1 | Traceback:"]


def test_json_stays_json() -> None:
    """With log_json every line is an object, whatever a child writes."""
    lines = relay_of('{"message": "ready"}', "Traceback:", is_json=True)

    assert [json.loads(line)["message"] for line in lines] == ["ready", "Traceback:"]


def test_lines_are_bounded_and_harmless() -> None:
    """A line is cut, and cannot steer a terminal."""
    long, colored = relay_of("x" * 10_000, "\x1b[2Jgone")

    assert len(long) < MAX_LINE_CHARACTERS + 50
    assert colored == "cuda:0#1 | \\x1b[2Jgone"


def test_nobody_waits_for_a_reader_that_stopped() -> None:
    """With a full pipe, writing does not wait, or it would for ever; what is lost is told."""
    reader, writer = os.pipe()
    relay = LogRelay(writer, max_lines=100)
    relay.start()
    for _ in range(3000):
        relay.pass_on("cpu", "x" * 1000)

    assert relay.num_dropped > 2000
    reading = threading.Thread(target=lambda: lines.extend(read_lines(reader)))
    lines: list[str] = []
    reading.start()
    relay.close()
    os.close(writer)
    reading.join(30)
    assert any("lines were dropped" in line for line in lines)


def test_own_log_goes_the_same_way_for_a_while() -> None:
    """The supervisor's records are relayed, and its logger is as before afterwards."""
    logger = logging.getLogger("tests.relayed")
    with relayed_log(logger, LogConfig()):
        assert not logger.propagate

    assert logger.propagate
    assert not logger.handlers
