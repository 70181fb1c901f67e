import pytest
import torch

from sovits_serve.models.t2s.attention import StepView, attend_step
from sovits_serve.protocol.messages import SamplingParams
from tests.models.t2s.generation import (
    NUM_FORCED,
    alone,
    generate,
    load_golden,
    mixed_rows,
    prefill,
    step_rows,
)

pytestmark = pytest.mark.gpu
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def test_float32_logits_are_the_cpus() -> None:
    """In float32, CUDA's logits are the CPU's within the tolerance of the goldens."""
    for cpu, cuda in zip(
        alone(load_golden("t2s_v1025")), alone(load_golden("t2s_v1025", "cuda")), strict=True
    ):
        torch.testing.assert_close(cuda.cpu(), cpu, atol=2e-4, rtol=0)


def test_greedy_and_drawn_tokens_are_the_cpus() -> None:
    """In float32, the golden rows get the same tokens on CUDA, greedy and drawn."""
    for params in (SamplingParams(top_k=1), SamplingParams(top_p=0.9, seed=3)):
        cpu, cuda = (load_golden("t2s_v65", device) for device in ("cpu", "cuda"))

        expected = generate(cpu, cpu.rows, params, 60)

        assert generate(cuda, cuda.rows, params, 60) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_precision_is_near_the_cpu(dtype: torch.dtype) -> None:
    """In any precision, logits correlate above 0.999 with the CPU's in float32."""
    cuda = alone(load_golden("t2s_v1025", "cuda", dtype))[0].cpu()

    both = torch.stack((cuda.flatten(), alone(load_golden("t2s_v1025"))[0].flatten()))
    assert torch.corrcoef(both)[0, 1] > 0.999


@pytest.mark.parametrize("dtype", DTYPES)
def test_fixed_batch_gives_the_same_bits_whoever_else_runs(dtype: torch.dtype) -> None:
    """With a fixed batch, a row's logits are bit-equal alone and among busy neighbours."""
    golden = load_golden("t2s_v1025", "cuda", dtype)
    results = []
    for neighbours in ([], [1, 2, 3]):
        cache = golden.new_cache(64, 128)
        logits = [
            prefill(golden.model, cache, [mixed_rows(golden)[row]], [cache.allocate()])
            for row in [0, *neighbours]
        ][:1]
        for step in range(NUM_FORCED):
            chosen = [(row, row, step) for row in [0, *neighbours]]
            logits.append(step_rows(golden, cache, chosen, is_fixed=True)[:1])
        results.append(torch.cat(logits))

    assert torch.equal(*results)


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_repeats_its_bits(dtype: torch.dtype) -> None:
    """At published dimensions, attention over masked slots gives the same bits every time."""
    generator = torch.Generator("cuda").manual_seed(0)
    layer = torch.randn(64, 2, 16, 577, 32, device="cuda", generator=generator).to(dtype)
    query = torch.randn(64, 16, 1, 32, device="cuda", generator=generator).to(dtype)
    hidden = torch.arange(577, device="cuda") >= torch.arange(80, 560, 7.5, device="cuda")[:, None]
    mask = torch.zeros(64, 1, 1, 577, device="cuda", dtype=dtype)
    mask.masked_fill_(hidden[:, None, None], float("-inf"))
    unused = torch.zeros(0, dtype=torch.int64, device="cuda")
    view = StepView(tuple(range(64)), unused, 577, slice(0, 64), mask=mask)

    first = attend_step(layer, view, query)

    assert all(torch.equal(attend_step(layer, view, query), first) for _ in range(20))
