"""What the engine process holds, without a process: start, precision, loads that are overtaken."""

import logging
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor

from sovits_serve import builtin
from sovits_serve.builtin import VOICES
from sovits_serve.config import EngineSetup, ModelConfig
from sovits_serve.engine.host import EngineHost
from sovits_serve.errors import CheckpointError
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.protocol.messages import LoadModel, ModelFailed, ModelLoaded, UnloadModel
from sovits_serve.protocol.reports import Report, Setup, Warming
from tests.fakes import CPU_CONFIG
from tests.stand_in import write_stand_in

DEADLINE_S = 60.0


class Woken:
    """Waits for what the loader's thread does."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> None:
        """Wake."""
        self._event.set()

    def wait(self) -> None:
        """Wait until woken, once."""
        assert self._event.wait(DEADLINE_S)
        self._event.clear()


def make_host(directory: Path, wake: Woken | None = None, dtype: str = "float32") -> EngineHost:
    """Make a host for a model directory."""
    config = EngineSetup(replace(CPU_CONFIG, dtype=dtype), ModelConfig(model=str(directory)))
    raw = msgspec.Raw(msgspec.json.encode(config))
    return EngineHost(Setup("cpu", "", "", raw), wake or Woken())


def start(host: EngineHost) -> list[Report]:
    """Load and warm up; return what was reported."""
    reports: list[Report] = []
    host.load(reports.append)
    host.warm_up(reports.append)
    return reports


def break_decoder(monkeypatch: pytest.MonkeyPatch, *dtypes: torch.dtype) -> None:
    """Have the decoder compute NaN in these precisions."""
    generate = SovitsModel.generate

    def broken(self: SovitsModel, z: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        factor = float("nan") if self.dtype in dtypes else 1.0
        return generate(self, z, lengths, style) * factor

    monkeypatch.setattr(SovitsModel, "generate", broken)


def test_half_precision_that_fails_becomes_float32(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that is not finite in half precision is loaded again, loudly, and serves."""
    break_decoder(monkeypatch, torch.bfloat16)
    host = make_host(tiny_directory, dtype="bfloat16")
    with caplog.at_level(logging.ERROR):
        reports = start(host)

    assert Warming("loading again in float32", 0.0) in reports
    assert "IT RUNS IN float32" in caplog.text
    assert [info.name for info in host.ready().models] == ["default"]


def test_a_model_that_is_never_finite_stops_the_start(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a precision that works, the checkpoint is at fault, and for good."""
    break_decoder(monkeypatch, torch.bfloat16, torch.float32)

    with pytest.raises(CheckpointError, match="not finite"):
        start(make_host(tiny_directory, dtype="bfloat16"))


def test_a_missing_model_is_a_setup_error(tmp_path: Path) -> None:
    """A directory without models names what is missing."""
    with pytest.raises(CheckpointError):
        start(make_host(tmp_path))


def load_message(directory: Path, name: str = "other") -> LoadModel:
    """Make the order to load a directory's model under another name."""
    return LoadModel(name, str(directory / "gpt.ckpt"), str(directory / "sovits.pth"))


def test_asking_twice_is_answered(tiny_directory: Path) -> None:
    """A model that is there already is told at once; one that is loading, once it is."""
    wake = Woken()
    host = make_host(tiny_directory, wake)
    start(host)
    host.load_model(load_message(tiny_directory))
    host.load_model(load_message(tiny_directory))
    wake.wait()
    first = host.step()
    host.load_model(load_message(tiny_directory))
    second = host.step()

    assert [type(message) for message in first] == [ModelLoaded]
    assert first == second
    assert not host.has_work()


@pytest.mark.parametrize("how", ["unload", "reset"])
def test_a_load_that_nobody_waits_for_is_dropped(tiny_directory: Path, how: str) -> None:
    """Unloaded, or asked for by a dispatcher that is gone: the model does not appear."""
    wake = Woken()
    host = make_host(tiny_directory, wake)
    start(host)
    host.load_model(load_message(tiny_directory))
    if how == "unload":
        host.unload_model(UnloadModel("other"))
    else:
        host.reset()
    wake.wait()

    assert host.step() == []
    assert [info.name for info in host.ready().models] == ["default"]


def test_a_load_that_breaks_is_answered(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug, or a device without memory, fails the load and not the engine."""
    wake = Woken()
    host = make_host(tiny_directory, wake)
    start(host)
    codes = []
    for error in (torch.OutOfMemoryError("planted"), ZeroDivisionError("planted")):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("sovits_serve.engine.model_pool.load_models", fail)
        host.load_model(load_message(tiny_directory))
        wake.wait()
        codes += [message.code for message in host.step() if isinstance(message, ModelFailed)]

    assert codes == ["out_of_memory", "engine_error"]


def test_without_a_model_the_built_in_voice_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its voices are tried, it reads Chinese, and other weights, which need encoders, are refused."""
    monkeypatch.setattr(builtin, "FOLDER", str(write_stand_in(tmp_path / "model")))
    config = EngineSetup(CPU_CONFIG, ModelConfig())
    woken = Woken()
    host = EngineHost(Setup("cpu", "", "", msgspec.Raw(msgspec.json.encode(config))), woken)
    reports = start(host)
    host.load_model(LoadModel("other", "/a.ckpt", "/b.pth"))
    woken.wait()
    (failed,) = host.step()

    tried = {report.what for report in reports if isinstance(report, Warming)}
    ready = host.ready()
    assert tried == {"first synthesis", *(f"voice {name}" for name in VOICES)}
    assert (ready.t2s, ready.sovits) == ("", "")
    assert ready.models[0].can_read_chinese
    assert isinstance(failed, ModelFailed)
    assert "--pretrained" in failed.message


def test_without_the_built_in_voice_the_start_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation that lacks it does not speak with something else."""
    monkeypatch.setattr(builtin, "FOLDER", str(tmp_path))
    config = EngineSetup(CPU_CONFIG, ModelConfig())
    host = EngineHost(Setup("cpu", "", "", msgspec.Raw(msgspec.json.encode(config))), Woken())

    with pytest.raises(CheckpointError, match="install the package again"):
        host.load(lambda _: None)
