"""An engine without anything in it, which speaks the pipe protocol and misbehaves on demand.

Run as ``python -m tests.supervisor.stub_child``. Switches are environment variables:

STUB_LOG        file that gets a line "EVENT PID MONOTONIC NAME" per start, ready and end
LOAD_S          how long loading takes (0)
LOAD_KIND       sleep, pyloop, gilhold
LOAD_FILE       loading goes on for as long as this file exists
LOAD_REPORTS=1  reports progress ten times a second (kind sleep only)
DIE_AT          load, ready: SIGKILL of itself
EXIT_AT         load: ends with EXIT_CODE
DYING           bad_config, bad_checkpoint: its last words, which are permanent
HANG_AT         start, load, ready, work: what it stops at; work: with work, in C, lock held
LOG_FLOOD=1     writes 20 MB to its log once ready
LEAK_MB         memory that it takes once ready
ONLY_START      only the process of this number misbehaves; others are well
"""

import collections
import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

from sovits_serve.protocol.pipes import ParentPipe
from sovits_serve.protocol.reports import (
    ChildReady,
    Dying,
    Heartbeat,
    Loading,
    Orders,
    Warming,
)


def log(event: str, name: str) -> None:
    """Append a line, in one write."""
    with Path(os.environ["STUB_LOG"]).open("a", encoding="utf-8") as file:
        file.write(f"{event} {os.getpid()} {time.monotonic():.6f} {name}\n")


def hold_lock(seconds: float) -> None:
    """Run in C for so long: no signal handler and no other thread gets a turn."""
    end = time.monotonic() + seconds
    collections.deque(itertools.takewhile(end.__gt__, iter(time.monotonic, None)), maxlen=0)


class Stub:
    """One life."""

    def __init__(self) -> None:
        self.pipe = ParentPipe()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as engines: not while C code runs
        self.name = self.pipe.setup.name
        only = os.environ.get("ONLY_START")
        self.is_bad = only is None or self.name.endswith(f"#{only}")
        self.is_draining = threading.Event()

    def switch(self, key: str) -> str:
        """Return a switch, if this process is to misbehave."""
        return os.environ.get(key, "") if self.is_bad else ""

    def run(self) -> None:
        """Live."""
        log("start", self.name)
        sys.stderr.write(f"{self.name} says hello\n")
        if self.switch("HANG_AT") == "start":
            time.sleep(1000)
        self.pipe.watch(self.on_order)
        self.pipe.report(Loading("weights", 0.0))
        self.misbehave("load")
        self.load()
        self.pipe.report(Warming("voice", 0.5))
        log("ready", self.name)
        self.pipe.report(ChildReady("stub"))
        leak = bytearray(b"x") * (int(self.switch("LEAK_MB") or "0") << 20)
        if self.switch("LOG_FLOOD"):
            for _ in range(20_000):
                sys.stderr.write("x" * 1000 + "\n")
            log("flooded", self.name)
        self.misbehave("ready")
        if self.switch("HANG_AT") == "work":
            self.pipe.report(Heartbeat(1, has_work=True))
            hold_lock(1000)
        while not self.is_draining.wait(0.1):
            self.pipe.report(Heartbeat())
        log("end", self.name)
        del leak

    def on_order(self, _: Orders) -> None:
        """Called for each order."""
        self.is_draining.set()

    def misbehave(self, where: str) -> None:
        """Do what was asked for."""
        if self.switch("DIE_AT") == where:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.switch("DYING") and where == "load":
            codes = {"bad_config": 78, "bad_checkpoint": 79}
            code = self.switch("DYING")
            self.pipe.report(Dying(code, "weights.ckpt is truncated", is_permanent=True))
            raise SystemExit(codes[code])
        if self.switch("EXIT_AT") == where:
            raise SystemExit(int(self.switch("EXIT_CODE") or "1"))
        if self.switch("HANG_AT") == where:
            hold_lock(1000) if where == "load" else time.sleep(1000)

    def load(self) -> None:
        """Take the time that was asked for."""
        seconds = float(os.environ.get("LOAD_S") or "0")
        kind = os.environ.get("LOAD_KIND", "sleep")
        end = time.monotonic() + seconds
        file = Path(os.environ.get("LOAD_FILE", "/nowhere"))
        if kind == "gilhold":
            hold_lock(seconds)
            while file.exists():
                hold_lock(0.2)
        while time.monotonic() < end or file.exists():
            if kind == "sleep":
                time.sleep(0.05)
                if os.environ.get("LOAD_REPORTS"):
                    done = 1 - (end - time.monotonic()) / seconds
                    self.pipe.report(Loading("weights", done))


if __name__ == "__main__":
    Stub().run()
