"""A child's pipes to its parent: orders, reports, and that no child outlives its parent."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sovits_serve.protocol.pipes import EXIT_PARENT_GONE
from sovits_serve.protocol.reports import (
    ChildReady,
    DrainChild,
    Heartbeat,
    Loading,
    Orders,
    Report,
    Reports,
    Setup,
    Warming,
)
from tests.liveness import is_alive

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0  # for what happens at once on a quiet machine
SETUP = Setup("child", "ipc:///nowhere", "secret", msgspec.Raw(b'{"a": 1}'))

# What a child does once it has its setup.
SLEEPS = "time.sleep(600)"
SPINS = "while True: pass"
HOLDS_THE_LOCK = "ctypes.PyDLL(None).sleep(600)"
CHILD = """
import ctypes, os, sys, time
from sovits_serve.protocol.pipes import ParentPipe
from sovits_serve.protocol.reports import ChildReady, Heartbeat, Loading, Warming
pipe = ParentPipe()
"""
# A parent that starts a child, tells its pid and waits to be killed.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
child.stdin.write(sys.argv[2].encode() + b"\\n"); child.stdin.flush()
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def process(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Python with pipes; killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def tell(child: "subprocess.Popen[bytes]", *lines: Report) -> None:
    """Write lines to a child."""
    assert child.stdin is not None
    child.stdin.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    child.stdin.flush()


def hear(child: "subprocess.Popen[bytes]") -> Reports:
    """Read a line of a child."""
    assert child.stdout is not None
    report: Reports = msgspec.json.decode(child.stdout.readline(), type=Reports)
    return report


def wait_until_dead(pid: int) -> None:
    """Wait for a process that is not our child to end."""
    deadline_s = time.monotonic() + DEADLINE_S
    while is_alive(pid):
        assert time.monotonic() < deadline_s, "it outlives its parent"
        time.sleep(0.01)


@pytest.mark.parametrize("work", [SLEEPS, SPINS, HOLDS_THE_LOCK])
def test_child_dies_with_its_parent(work: str) -> None:
    """When a parent is killed its child is gone, too, whatever the child is doing."""
    code = f"{CHILD}pipe.watch(print)\npipe.report(ChildReady())\n{work}"
    with process(PARENT, code, msgspec.json.encode(SETUP).decode()) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            assert is_alive(pid)
            parent.kill()
            parent.wait()
            wait_until_dead(pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("work", [SLEEPS, SPINS])
def test_end_of_orders_ends_the_child(work: str) -> None:
    """Where the kernel does not help, the end of standard input tells that the parent is gone."""
    with process(f"{CHILD}pipe.watch(print)\npipe.report(ChildReady())\n{work}") as child:
        tell(child, SETUP)
        hear(child)
        assert child.stdin is not None
        child.stdin.close()

        assert child.wait(DEADLINE_S) == EXIT_PARENT_GONE


def test_setup_orders_and_reports_arrive() -> None:
    """A child has its setup, hears orders and is heard, in order."""
    code = f"""{CHILD}
import threading
heard = threading.Event()
pipe.watch(lambda order: (pipe.report(Warming(type(order).__name__, 1.0)), heard.set()))
pipe.report(Loading(pipe.setup.name + pipe.setup.token + bytes(pipe.setup.config).decode(), 0.5))
heard.wait()
sys.stdin
"""
    with process(code) as child:
        tell(child, SETUP)
        first = hear(child)
        tell(child, DrainChild())

        assert first == Loading('childsecret{"a": 1}', 0.5)
        assert hear(child) == Warming("DrainChild", 1.0)
        assert child.wait(DEADLINE_S) == 0


def test_what_a_library_prints_is_no_report() -> None:
    """Prints of Python and of C go to the log, not between the reports."""
    code = f"{CHILD}print('chatter', flush=True)\nos.write(1, b'noise')\npipe.report(ChildReady())"
    with process(code) as child:
        tell(child, SETUP)

        assert hear(child) == ChildReady()
        _, log = child.communicate(timeout=DEADLINE_S)
        assert b"chatter" in log
        assert b"noise" in log


def test_parent_that_does_not_read_blocks_nobody() -> None:
    """Heartbeats to a parent that is stopped are dropped; what matters arrives later."""
    code = f"""{CHILD}
for step in range(20000): pipe.report(Heartbeat(num_steps=step))
for _ in range(3): pipe.report(Loading("x" * 100000, 1.0))
print("done", file=sys.stderr, flush=True)
while pipe._unsent: pipe.report(Heartbeat()); time.sleep(0.01)
"""
    with process(code) as child:
        tell(child, SETUP)
        assert child.stderr is not None
        assert child.stderr.readline() == b"done\n"
        assert child.stdout is not None
        lines = [msgspec.json.decode(line, type=Reports) for line in child.stdout]

    beats = [line for line in lines if isinstance(line, Heartbeat)]
    assert [beat.num_steps for beat in beats] == list(range(len(beats)))
    assert len(beats) < 20_000
    assert lines[len(beats) :] == [Loading("x" * 100000, 1.0)] * 3


@pytest.mark.parametrize("first_line", [b"", b"not json\n", b'{"type": "DrainChild"}\n'])
def test_child_without_setup_says_so(first_line: bytes) -> None:
    """A child that somebody starts by hand ends with a sentence, not with a hang."""
    with process(CHILD) as child:
        _, log = child.communicate(first_line, timeout=DEADLINE_S)

    assert child.returncode == 1
    assert b"No setup on standard input" in log


@pytest.mark.parametrize(
    "line", [SETUP, DrainChild(), Loading("x", 0.1), Warming("x", 0.1), ChildReady(), Heartbeat()]
)
def test_lines_round_trip(line: Report) -> None:
    """What is read is what was written."""
    decoded = msgspec.json.decode(msgspec.json.encode(line), type=Setup | Orders | Reports)

    assert decoded == line
