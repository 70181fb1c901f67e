"""How busy the GPUs of this machine are while a load runs, as the driver's own library sees it.

Sizes are bytes of the whole device, other processes' included.
"""

import os
import statistics
import threading
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

from sovits_serve.supervisor.devices import open_nvml, visible_gpus

_PERIOD_S = 0.1


@dataclass
class GpuUse:
    """What was seen of all visible GPUs together, in the order of time.

    Attributes:
        busy_percent: share of the time in which a kernel ran, the mean of the GPUs.
        used_bytes: memory in use, the sum of the GPUs.
    """

    busy_percent: list[float] = field(default_factory=list)
    used_bytes: list[int] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Return the figures of a report; none if no GPU was seen."""
        if not self.used_bytes:
            return {}
        gib = [size / 2**30 for size in self.used_bytes]
        memory = {"start": gib[0], "peak": max(gib), "end": gib[-1]}
        return {
            "gpu_busy_percent": round(statistics.fmean(self.busy_percent), 1),
            "gpu_memory_gib": {name: round(size, 2) for name, size in memory.items()},
        }


class GpuSampler:
    """Looks at the GPUs ten times a second between ``with`` and its end, and at both ends.

    Args:
        nvml: the driver's library; None: there is none, and nothing is seen.
        visible: CUDA_VISIBLE_DEVICES of who uses them.
    """

    def __init__(self, nvml: Any | None, visible: str | None = None) -> None:
        self.use = GpuUse()
        self._nvml = nvml
        self._handles = visible_gpus(nvml, visible)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-sampler", daemon=True)

    def __enter__(self) -> Self:
        if self._handles:
            self._look()
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._handles:
            self._thread.join()
            self._look()

    def _run(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            self._look()

    def _look(self) -> None:
        nvml: Any = self._nvml
        try:
            busy = [nvml.nvmlDeviceGetUtilizationRates(one).gpu for one in self._handles]
            used = [int(nvml.nvmlDeviceGetMemoryInfo(one).used) for one in self._handles]
        except nvml.NVMLError:  # what the driver does not say is left out
            return
        self.use.busy_percent.append(statistics.fmean(busy))
        self.use.used_bytes.append(sum(used))


def local_sampler(host: str) -> GpuSampler:
    """Return one of this machine's GPUs if the server is here, else one that sees nothing."""
    nvml = open_nvml() if _is_local(host) else None
    return GpuSampler(nvml, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
