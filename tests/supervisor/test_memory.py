import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from sovits_serve.config import SupervisorConfig
from sovits_serve.supervisor.memory import (
    MemoryLimits,
    MemoryProbe,
    MemorySample,
    MemoryWatch,
    available_bytes,
)

MIB = 1 << 20


def test_resident_memory_is_measured() -> None:
    """A process that takes 100 MiB is seen to have taken them; one that is gone is left out."""
    program = "b = bytearray(b'x') * (100 << 20); print('done', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        sample = MemoryProbe().measure([child.pid, 2**22 + 1])
        child.kill()

    assert list(sample.uses) == [child.pid]
    assert 100 * MIB < sample.uses[child.pid].rss_bytes < 150 * MIB
    assert sample.available_bytes > 0


def test_limits_are_named_when_passed() -> None:
    """The reason says what is used, what the limit is, and what it is called."""
    config = SupervisorConfig(soft_memory="100MiB", hard_device_memory="2GiB")
    limits = MemoryLimits.of(config)

    assert limits.past_soft(100 * MIB, 10**12) == ""
    assert limits.past_soft(101 * MIB, 0) == "uses 101 MiB, more than soft_memory (100 MiB)"
    assert limits.past_hard(10**12, 2048 * MIB) == ""
    assert "hard_device_memory (2048 MiB)" in limits.past_hard(0, 2049 * MIB)


def test_a_container_has_less_than_its_machine(tmp_path: Path) -> None:
    """The memory that is left is the group's, where that is less; "max" is no limit."""
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert available_bytes(tmp_path) == 600_000

    (tmp_path / "memory.max").write_text("max\n")

    assert available_bytes(tmp_path) > 1_000_000


class HungProbe(MemoryProbe):
    """A driver that does not answer until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.num_asked = 0
        self.answer = threading.Event()

    def measure(self, pids: Sequence[int]) -> MemorySample:
        """Wait."""
        self.num_asked += 1
        self.answer.wait(20)
        return super().measure(pids)


def test_driver_that_hangs_holds_nobody_up() -> None:
    """While one question is open no second is asked, and the loop turns on."""
    probe = HungProbe()

    async def run() -> None:
        samples: asyncio.Queue[MemorySample] = asyncio.Queue()
        watch = MemoryWatch(probe, samples.put_nowait)
        for _ in range(10):
            watch.ask([os.getpid()])
            await asyncio.sleep(0)
        assert samples.empty()
        probe.answer.set()
        await samples.get()
        watch.ask([os.getpid()])
        await samples.get()

    asyncio.run(asyncio.wait_for(run(), 20))

    assert probe.num_asked == 2
