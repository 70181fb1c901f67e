import gc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.config import EngineConfig, EngineSetup, ModelConfig
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.host import EngineHost
from sovits_serve.engine.loader import limit_memory, load_models, resolve
from sovits_serve.models.bundle import Models
from sovits_serve.protocol.messages import Finished, Message, SamplingParams, SynthesisRequest
from sovits_serve.protocol.reports import Setup
from tests.fakes import Outcome, add, make_engine, make_request, outcomes, run_alone

pytestmark = pytest.mark.gpu


def load(directory: Path, dtype: str) -> Models:
    """Load a model directory onto the GPU."""
    return load_models(locate_model(directory), torch.device("cuda"), getattr(torch, dtype))


def request(number: int, sampling: SamplingParams | None = None) -> SynthesisRequest:
    """Make one of many requests of two voices and different lengths."""
    return make_request(
        number,
        num_segments=1 + number % 2,
        max_tokens=16 + number % 9,
        voice=number % 2,
        is_streaming=number % 3 == 0,
        sampling=sampling,
    )


def outcomes_of(engine: EngineCore, requests: list[SynthesisRequest]) -> dict[str, Outcome]:
    """Run requests together in an engine that goes on."""
    accepted = [add(engine, request) for request in requests]
    messages: list[Message] = []
    while engine.has_work():
        messages += engine.step()
    engine.check_integrity()
    return outcomes(messages, accepted)


@pytest.mark.parametrize("kernels", ["on", "off"])
@pytest.mark.parametrize(
    ("dtype", "least"), [("float32", 0.999999), ("bfloat16", 0.999), ("float16", 0.9999)]
)
def test_64_requests_together_get_the_tokens_of_each_alone(
    tiny_directory: Path, dtype: str, least: float, kernels: str
) -> None:
    """In every precision, tokens with a seed are equal at batch 1 and 64, and so is the audio."""
    models = load(tiny_directory, dtype)
    settings: dict[str, object] = {
        "device": "cuda",
        "dtype": dtype,
        "batch_invariant": "on",
        "kernels": kernels,
        "max_running": 64,
        "max_audio_rows": 8,
    }
    requests = [request(number) for number in range(64)]
    engine = make_engine(models, **settings)

    together = outcomes_of(engine, requests)

    for single in requests:
        alone = outcomes_of(engine, [single])[single.request_id]
        both = together[single.request_id]
        assert both.tokens == alone.tokens
        assert np.corrcoef(both.samples, alone.samples)[0, 1] > least


def test_streamed_audio_is_the_whole(tiny_directory: Path) -> None:
    """In float32, what arrives in windows is what arrives at once."""
    models = load(tiny_directory, "float32")
    engine = make_engine(models, device="cuda", kernels="on", max_window_frames=40)
    for number in range(3):
        whole = msgspec.structs.replace(request(number), is_streaming=False)
        streamed = msgspec.structs.replace(whole, is_streaming=True)

        first = outcomes_of(engine, [whole])[whole.request_id]
        second = outcomes_of(engine, [streamed])[whole.request_id]

        assert first.tokens == second.tokens
        assert np.abs(first.samples.astype(int) - second.samples).max() <= 4


def test_aborted_requests_leave_nothing_and_change_nobody(tiny_directory: Path) -> None:
    """Requests aborted at any step free their slots; those beside them are as if alone."""
    models = load(tiny_directory, "float16")
    engine = make_engine(models, device="cuda", dtype="float16", kernels="on", max_running=4)
    kept = [request(number) for number in range(6)]
    alone = [outcomes_of(engine, [single])[single.request_id] for single in kept]
    for when in range(1, 12):
        accepted = [add(engine, single) for single in kept]
        for number in range(6):
            add(engine, msgspec.structs.replace(request(number), request_id=f"gone {number}"))
        messages: list[Message] = []
        for step in range(1000):
            if step == when:
                for number in range(6):
                    engine.abort(f"gone {number}")
            if not engine.has_work():
                break
            messages += engine.step()
        engine.check_integrity()
        mine = [m for m in messages if not getattr(m, "request_id", "").startswith("gone")]
        together = outcomes(mine, accepted)
        for single, expected in zip(kept, alone, strict=True):
            assert together[single.request_id].tokens == expected.tokens


def test_without_pages_rows_run_again_and_nobody_can_tell(tiny_directory: Path) -> None:
    """Where three segments must share pages for two, all end with the tokens they have alone."""
    models = load(tiny_directory, "float16")
    sizes = {"max_running": 64, "max_sequence_length": 500}
    settings = {"device": "cuda", "dtype": "float16", "kernels": "on", **sizes}
    roomy = make_engine(models, **settings)
    tight = make_engine(models, **settings, kv_cache_tokens=1500)
    long = [
        request(number, SamplingParams(seed=number, top_k=15, max_tokens=150 + number))
        for number in range(24)
    ]

    expected, made = outcomes_of(roomy, long), outcomes_of(tight, long)

    for single in long:
        assert made[single.request_id].tokens == expected[single.request_id].tokens


@pytest.mark.parametrize("kernels", ["on", "off"])
def test_float32_gives_the_cpus_greedy_tokens_and_audio(
    tiny: Models, tiny_directory: Path, kernels: str
) -> None:
    """In float32 a greedy request gets the CPU's tokens and, within rounding, its samples."""
    greedy = SamplingParams(top_k=1, max_tokens=20)
    models = load(tiny_directory, "float32")

    for number in range(4):
        cpu = run_alone(tiny, request(number, greedy))
        cuda = run_alone(models, request(number, greedy), device="cuda", kernels=kernels)

        assert cuda.tokens == cpu.tokens
        assert np.abs(cuda.samples.astype(int) - cpu.samples).max() <= 4


@pytest.fixture
def whole_device() -> Iterator[None]:
    """Begin with nothing on the device, and give the process back all of its memory afterwards."""
    gc.collect()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("whole_device")
def test_an_engine_stays_within_its_budget() -> None:
    """What is past gpu_memory is refused by the allocator, although the device has it."""
    budget_bytes = limit_memory(resolve(EngineConfig(device="cuda", gpu_memory="1GiB")))

    assert budget_bytes == 1 << 30
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(2 << 30, dtype=torch.uint8, device="cuda")


@pytest.mark.usefixtures("whole_device")
def test_slots_and_figures_follow_from_the_budget(tiny_directory: Path) -> None:
    """With max_running 0 a small budget gives some slots, and the engine speaks within it."""
    torch.cuda.empty_cache()
    config = EngineConfig(device="cuda", gpu_memory="1GiB", max_running=0, max_waiting=8)
    setup = EngineSetup(config, ModelConfig(model=str(tiny_directory)))
    host = EngineHost(Setup("cuda", "", "", msgspec.Raw(msgspec.json.encode(setup))), lambda: None)
    host.load(lambda _: None)
    host.warm_up(lambda _: None)
    for number in range(4):
        host.add(request(number))
    messages: list[Message] = []
    while host.has_work():
        messages += host.step()
    status = host.status()

    assert sum(isinstance(message, Finished) for message in messages) == 4
    assert 1 <= host.ready().max_running <= 256
    assert 0 < status.device_bytes <= status.device_limit_bytes == 1 << 30
