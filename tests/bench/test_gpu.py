import threading
from dataclasses import dataclass, field

import pytest

from sovits_serve.bench.gpu import GpuSampler, GpuUse, local_sampler
from sovits_serve.bench.report import table


@dataclass
class Value:
    """One answer of the driver."""

    gpu: int = 0
    used: int = 0


class FakeNvmlError(Exception):
    """What the library raises."""


@dataclass
class FakeNvml:
    """Two GPUs; the first is busy, and memory grows by 1 GiB with every look."""

    NVMLError = FakeNvmlError
    num_looks: int = 0
    has_looked: threading.Event = field(default_factory=threading.Event)
    is_silent: bool = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 -- the library's name
        """Return how many there are."""
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        """Return a GPU by its number."""
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Value:  # noqa: N802
        """Return how busy one was lately, in percent."""
        if self.is_silent:
            raise FakeNvmlError
        return Value(gpu=90 if handle == 0 else 10)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Value:  # noqa: N802
        """Return what one has in use, in bytes."""
        if handle == 1:
            return Value(used=2**30)
        self.num_looks += 1
        if self.num_looks > 2:
            self.has_looked.set()
        return Value(used=self.num_looks * 2**30)


def test_gpus_are_watched_from_the_beginning_to_the_end() -> None:
    """Busy is the mean of the GPUs, memory their sum; both ends are looked at."""
    nvml = FakeNvml()
    with GpuSampler(nvml) as sampler:
        assert nvml.has_looked.wait(10)

    figures = sampler.use.figures()
    assert figures["gpu_busy_percent"] == 50.0
    memory = figures["gpu_memory_gib"]
    assert isinstance(memory, dict)
    assert memory["start"] == 2.0
    assert memory["end"] == memory["peak"] == nvml.num_looks + 1


def test_a_peak_is_kept_after_it_is_over() -> None:
    """Memory that was given back before the end still counts as the peak."""
    use = GpuUse([10.0, 20.0, 30.0], [2**30, 5 * 2**30, 3 * 2**30])

    assert use.figures() == {
        "gpu_busy_percent": 20.0,
        "gpu_memory_gib": {"start": 1.0, "peak": 5.0, "end": 3.0},
    }


@pytest.mark.parametrize("nvml", [None, FakeNvml(is_silent=True)])
def test_without_an_answer_of_the_driver_nothing_is_reported(nvml: FakeNvml | None) -> None:
    """No library, or one that says nothing: no figures."""
    with GpuSampler(nvml) as sampler:
        pass

    assert sampler.use.figures() == {}


def test_a_server_elsewhere_has_other_gpus() -> None:
    """This machine's GPUs say nothing of a server that runs on another."""
    with local_sampler("speech.example") as sampler:
        pass

    assert sampler.use.figures() == {}


def test_the_table_has_columns_for_gpus_where_there_are_some() -> None:
    """A row without the figures is dashed; no row with them, no columns."""
    row: dict[str, object] = {"load": "1", "num_good": 1, "num_requests": 1}
    row |= {"audio_s_per_s": 1.0, "requests_per_s": 1.0}
    row |= {"ttfa_ms": {}, "latency_ms": {}, "real_time_factor": {}}
    seen = {"gpu_busy_percent": 92.4, "gpu_memory_gib": {"start": 1.0, "peak": 3.25, "end": 2.0}}

    with_gpu = table("", [row, {**row, **seen}])
    cells = [list(column.cells) for column in with_gpu.columns[-2:]]
    assert cells == [["-", "92 %"], ["-", "3.2 GiB"]]
    assert len(table("", [row]).columns) == len(with_gpu.columns) - 2
