"""How much memory the engines use, as the system and the driver say. Bytes.

Asking may take long, or for ever when a driver hangs: the supervisor does it in a thread that it
does not wait for (``MemoryWatch``).
"""

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sovits_serve.config import SupervisorConfig, parse_size
from sovits_serve.supervisor.devices import open_nvml, visible_gpus

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryUse:
    """What one process uses."""

    rss_bytes: int = 0
    device_bytes: int | None = None  # None: the driver does not say


@dataclass(frozen=True)
class MemorySample:
    """What all processes that were asked for use, and what is left."""

    uses: dict[int, MemoryUse]  # by pid
    available_bytes: int
    device_free_bytes: dict[str, int]  # by device: cuda:0, ...


@dataclass(frozen=True)
class MemoryLimits:
    """What an engine may use; 0 is no limit."""

    soft_bytes: int = 0
    hard_bytes: int = 0
    soft_device_bytes: int = 0
    hard_device_bytes: int = 0

    @classmethod
    def of(cls, config: SupervisorConfig) -> "MemoryLimits":
        """Return those that were set."""
        return cls(
            *(
                parse_size(text) if text else 0
                for text in (
                    config.soft_memory,
                    config.hard_memory,
                    config.soft_device_memory,
                    config.hard_device_memory,
                )
            )
        )

    def past_soft(self, rss_bytes: int, device_bytes: int) -> str:
        """Return which soft limit is passed, for people; "" if none."""
        return _past(rss_bytes, self.soft_bytes, "soft_memory") or _past(
            device_bytes, self.soft_device_bytes, "soft_device_memory"
        )

    def past_hard(self, rss_bytes: int, device_bytes: int) -> str:
        """Return which hard limit is passed, for people; "" if none."""
        return _past(rss_bytes, self.hard_bytes, "hard_memory") or _past(
            device_bytes, self.hard_device_bytes, "hard_device_memory"
        )


class MemoryProbe:
    """Asks the system and, where there is one, the driver."""

    def __init__(self) -> None:
        self._nvml: Any | None = None
        self._is_open = False

    def measure(self, pids: Sequence[int]) -> MemorySample:
        """Return what processes use now; those that are gone are left out."""
        if not self._is_open:
            self._nvml, self._is_open = open_nvml(), True
        used_bytes, free_bytes = self._ask_driver()
        uses = {}
        for pid in pids:
            try:
                rss_bytes = psutil.Process(pid).memory_info().rss
            except psutil.Error:
                continue
            uses[pid] = MemoryUse(rss_bytes, used_bytes.get(pid))
        return MemorySample(uses, available_bytes(), free_bytes)

    def _ask_driver(self) -> tuple[dict[int, int], dict[str, int]]:
        nvml = self._nvml
        used_bytes: dict[int, int] = {}
        free_bytes: dict[str, int] = {}
        if nvml is None:
            return used_bytes, free_bytes
        try:
            handles = visible_gpus(nvml, os.environ.get("CUDA_VISIBLE_DEVICES"))
            for index, handle in enumerate(handles):
                free_bytes[f"cuda:{index}"] = int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
                for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                    if process.usedGpuMemory is not None:  # not told on some systems
                        before = used_bytes.get(process.pid, 0)
                        used_bytes[process.pid] = before + int(process.usedGpuMemory)
        except nvml.NVMLError:
            return {}, {}
        return used_bytes, free_bytes


def available_bytes(cgroup: Path = _CGROUP) -> int:
    """Return how much memory is left to this machine, or to its container if that is less."""
    available = int(psutil.virtual_memory().available)
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return available
    return max(0, min(available, limit - used))


class MemoryWatch:
    """Measures in a thread of its own, one sample at a time."""

    def __init__(self, probe: MemoryProbe, on_sample: Callable[[MemorySample], None]) -> None:
        self._probe = probe
        self._on_sample = on_sample
        self._is_asking = False

    def ask(self, pids: Sequence[int]) -> None:
        """Have ``on_sample`` called soon, on this loop; nothing happens while one is under way."""
        if self._is_asking:
            return
        self._is_asking = True
        loop = asyncio.get_running_loop()

        def run() -> None:
            sample = self._probe.measure(pids)
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._take, sample)

        threading.Thread(target=run, daemon=True, name="memory").start()

    def _take(self, sample: MemorySample) -> None:
        self._is_asking = False
        self._on_sample(sample)


def _past(used_bytes: int, limit_bytes: int, setting: str) -> str:
    if not limit_bytes or used_bytes <= limit_bytes:
        return ""
    return f"uses {used_bytes >> 20} MiB, more than {setting} ({limit_bytes >> 20} MiB)"
