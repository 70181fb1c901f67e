import asyncio
import os
import signal
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.protocol.reports import ChildReady, Report, Setup
from sovits_serve.supervisor import child as child_module
from sovits_serve.supervisor.child import AT_ONCE, Child, Command, LineCutter, describe_exit
from sovits_serve.supervisor.log_relay import MAX_LINE_CHARACTERS
from sovits_serve.supervisor.place import Exit

SETUP = Setup("cpu#1", "ipc:///nowhere", "", msgspec.Raw(b"{}"))


class Recorder:
    """Writes down what a child does."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.lines: list[str] = []
        self.ends: list[Exit] = []

    def on_report(self, _: Child, report: Report) -> None:
        """Called by the child."""
        self.reports.append(report)

    def on_line(self, _: Child, line: str) -> None:
        """Called by the child."""
        self.lines.append(line)

    def on_exit(self, _: Child, end: Exit) -> None:
        """Called by the child."""
        self.ends.append(end)


def run_program(program: str, monkeypatch: pytest.MonkeyPatch, end_it: bool = False) -> Recorder:
    """Run a program as a child and return what it did."""
    recorder = Recorder()
    arguments = property(lambda _: [sys.executable, "-u", "-c", program])
    monkeypatch.setattr(Command, "arguments", arguments)

    async def run() -> None:
        child = Child("cpu#1", 1, recorder)
        await child.start(Command("unused", SETUP))
        if end_it:
            await child.end(AT_ONCE)
        await asyncio.wait_for(child.wait(), 30)

    asyncio.run(run())
    return recorder


@given(st.lists(st.binary(max_size=30)), st.integers(1, 20))
def test_lines_are_bounded_however_bytes_come(parts: list[bytes], max_bytes: int) -> None:
    """No line is longer than allowed, none is empty, and nothing piles up between them."""
    cutter = LineCutter(max_bytes)
    lines = [line for part in parts for line in cutter.feed(part)] + cutter.end()

    assert all(line for line in lines)
    assert all(len(line) <= max_bytes for line in lines)


def test_lines_come_out_as_they_went_in() -> None:
    """Lines are cut at newlines and carriage returns, wherever reads end."""
    cutter = LineCutter(100)

    assert cutter.feed(b"one\ntw") == ["one"]
    assert cutter.feed(b"o\r50 %\r\n") == ["two", "50 %"]
    assert cutter.feed("ü".encode()) == []
    assert cutter.end() == ["ü"]


def test_deeply_nested_line_is_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON that is nested too deep to be read is logged, cut off, and what follows is heard."""
    program = (
        "import os; os.write(1, b'{\"type\":\"Heartbeat\",\"x\":' + b'[' * 60000 + b'\\n');"
        'os.write(1, b\'{"type":"ChildReady"}\\n\')'
    )
    done = run_program(program, monkeypatch)

    assert [type(report) for report in done.reports] == [ChildReady]
    assert [len(line) for line in done.lines] == [MAX_LINE_CHARACTERS]


def test_last_lines_come_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process writes just before its death is in the record of that death."""
    program = "import sys; [print(k, file=sys.stderr) for k in range(500)]; sys.exit(3)"
    done = run_program(program, monkeypatch)

    [end] = done.ends
    assert (end.code, end.description) == (3, "exit code 3")
    assert end.last_lines == tuple(str(k) for k in range(450, 500))
    assert len(done.lines) == 500


def test_grandchild_that_keeps_the_pipes_does_not_hide_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A death is noticed although somebody else still holds the other end of the log."""
    program = (
        "import os, subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(p.pid, file=sys.stderr); os.kill(os.getpid(), 9)"
    )
    done = run_program(program, monkeypatch)
    os.kill(int(done.lines[0]), signal.SIGKILL)

    assert done.ends[0].description == "killed by SIGKILL"


def test_printed_text_is_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library prints before the streams are taken over goes to the log."""
    done = run_program("print('a banner'); print('{\"type\":\"ChildReady\"}')", monkeypatch)

    assert done.lines == ["a banner"]
    assert [type(report).__name__ for report in done.reports] == ["ChildReady"]


def test_setup_is_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child reads what it is told from its standard input."""
    done = run_program("import sys; print(sys.stdin.readline(), file=sys.stderr)", monkeypatch)

    assert msgspec.json.decode(done.lines[0], type=Setup).name == "cpu#1"


def test_program_that_is_not_there_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot be started is a death with a reason, not an error."""
    monkeypatch.setattr(Command, "arguments", property(lambda _: ["/no/such/python"]))
    recorder = Recorder()

    async def run() -> None:
        await Child("cpu#1", 1, recorder).start(Command("unused", SETUP))

    asyncio.run(run())

    assert recorder.ends[0].code is None
    assert "cannot be started" in recorder.ends[0].description


def test_signal_before_the_process_exists_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told to end while it is being started ends as soon as it is there."""
    recorder = Recorder()
    program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    monkeypatch.setattr(Command, "arguments", property(lambda _: program))

    async def run() -> None:
        child = Child("cpu#1", 1, recorder)
        child.send_signal(signal.SIGKILL)
        await child.start(Command("unused", SETUP))
        await asyncio.wait_for(child.wait(), 30)

    asyncio.run(run())

    assert recorder.ends[0].code == -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (-11, "killed by SIGSEGV"), (-63, "killed by signal 63")],
)
def test_exit_codes_in_words(code: int, words: str) -> None:
    """Signals are called by their names."""
    assert describe_exit(code) == words


def test_command_dumps_stacks_and_does_not_buffer() -> None:
    """Children are started with what makes their last words arrive."""
    arguments = child_module.Command("some.module", SETUP, flags=("-P",)).arguments

    assert arguments == [sys.executable, "-u", "-X", "faulthandler", "-P", "-m", "some.module"]
