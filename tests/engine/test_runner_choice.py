"""Kernels that cannot be used: what the setting makes of it. Neither GPU nor kernel is needed."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sovits_serve.config import EngineConfig
from sovits_serve.engine.loader import resolve
from sovits_serve.engine.model_runner import ModelRunner
from sovits_serve.engine.runner_choice import make_runner, resolve_kernels
from sovits_serve.errors import ConfigError
from sovits_serve.models.bundle import Models
from tests.fakes import CPU_CONFIG, add, make_engine, make_request

CUDA = torch.device("cuda")
AUTO, ON = replace(CPU_CONFIG, kernels="auto"), replace(CPU_CONFIG, kernels="on")
Break = Callable[[Exception], None]


@pytest.fixture
def break_kernels(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Return a function that lets the runner with kernels fail."""
    pytest.importorskip("triton")

    def break_with(error: Exception) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr("sovits_serve.engine.graph_runner.GraphRunner", fail)

    return break_with


def test_auto_falls_back_and_says_so_once(
    tiny: Models, break_kernels: Break, caplog: pytest.LogCaptureFixture
) -> None:
    """One error names what failed, how slow it will be and how to see more; then speech comes."""
    break_kernels(RuntimeError("PTXAS error:\n  no such\n  architecture"))

    engine = make_engine(tiny, kernels="auto")

    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    for part in ("RuntimeError: PTXAS error: no such architecture", "SLOWER", "kernels=on"):
        assert part in record.getMessage()
    accepted = add(engine, make_request(0, max_tokens=4))
    while engine.has_work():
        engine.step()
    assert accepted.sequences[0].tokens


def test_on_stops_with_the_error(tiny: Models, break_kernels: Break) -> None:
    """Who asks for kernels is told why there are none."""
    break_kernels(RuntimeError("no such architecture"))

    with pytest.raises(ConfigError, match="kernels: on, but .*RuntimeError: no such architecture"):
        make_runner(tiny, ON)


@pytest.mark.parametrize("config", [AUTO, ON], ids=["auto", "on"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("Tried to allocate 2 GiB"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
    ],
    ids=["torch", "triton", "capture"],
)
def test_no_memory_is_a_matter_of_memory_settings(
    tiny: Models, break_kernels: Break, error: Exception, config: EngineConfig
) -> None:
    """Plain PyTorch would not be the cure: the settings to change are named."""
    break_kernels(error)

    with pytest.raises(ConfigError, match=r"gpu_memory: .*max_running=6"):
        make_runner(tiny, config)


def test_slots_that_do_not_fit_are_reported_as_they_are(tiny: Models, break_kernels: Break) -> None:
    """An error that names a setting stays what it is."""
    break_kernels(ConfigError("max_running: 99 slots need more than can be had"))

    with pytest.raises(ConfigError, match="max_running: 99"):
        make_runner(tiny, AUTO)


def test_a_lost_device_is_no_reason_to_go_on_with_it(
    tiny: Models, break_kernels: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What any use of the device raises ends the process, whatever came first."""

    def synchronize(_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    break_kernels(RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"))

    with pytest.raises(torch.AcceleratorError):
        make_runner(replace(tiny, device=CUDA), AUTO)


def test_off_does_not_try(tiny: Models, break_kernels: Break) -> None:
    """Plain PyTorch can be asked for."""
    break_kernels(RuntimeError("must not be built"))

    runner, config = make_runner(tiny, CPU_CONFIG)

    assert isinstance(runner, ModelRunner)
    assert config == CPU_CONFIG


def test_a_fallback_keeps_within_the_memory_of_the_kernels(
    tiny: Models, break_kernels: Break
) -> None:
    """Slots of the longest segment are fewer than segments that share pages."""
    break_kernels(RuntimeError("no such architecture"))

    engine = make_engine(
        tiny, kernels="auto", max_running=6, max_sequence_length=700, kv_cache_tokens=1500
    )

    assert engine.scheduler.limits.max_running == 2
    accepted = [add(engine, make_request(number, max_tokens=4)) for number in range(3)]
    while engine.has_work():
        engine.step()
        engine.check_integrity()
    assert all(request.sequences[0].tokens for request in accepted)


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "off"), ((8, 0), "auto"), ((8, 9), "auto")]
)
def test_auto_tries_kernels_on_devices_they_are_made_for(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    """A device without bfloat16 products and asynchronous copies gets plain PyTorch at once."""
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert resolve_kernels("auto", CUDA) == expected
    assert resolve_kernels("on", CUDA) == "on"


def test_auto_without_triton_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels need a compiler."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    assert resolve_kernels("auto", CUDA) == "off"


def test_a_cpu_has_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU auto is off, and on is refused."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)

    assert resolve_kernels("auto", torch.device("cpu")) == "off"
    with pytest.raises(ConfigError, match="kernels: on is for CUDA"):
        resolve_kernels("on", torch.device("cpu"))


def test_a_cache_that_holds_no_segment_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where kernels are used the setting and its limit are named; without them it has no effect."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    config = replace(CPU_CONFIG, kernels="on", kv_cache_tokens=100)

    with pytest.raises(ConfigError, match=r"kv_cache_tokens: 100 .* max_sequence_length \(700\)"):
        resolve(config)
    assert resolve(replace(config, kernels="off")).kv_cache_tokens == 100
