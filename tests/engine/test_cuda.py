from pathlib import Path

import numpy as np
import pytest
import torch

from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.engine.loader import load_models
from sovits_serve.models.bundle import Models
from sovits_serve.protocol.messages import SamplingParams, SynthesisRequest
from tests.fakes import make_request, run_alone, run_together

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


@pytest.mark.parametrize(
    ("dtype", "least"), [("float32", 0.999999), ("bfloat16", 0.999), ("float16", 0.9999)]
)
def test_64_requests_together_get_the_tokens_of_each_alone(
    tiny_directory: Path, dtype: str, least: float
) -> None:
    """In every precision, tokens with a seed are equal at batch 1 and 64, and so is the audio."""
    models = load(tiny_directory, dtype)
    settings: dict[str, object] = {
        "device": "cuda",
        "dtype": dtype,
        "batch_invariant": "on",
        "max_running": 64,
        "max_audio_rows": 8,
    }
    requests = [request(number) for number in range(64)]

    together = run_together(models, requests, **settings)

    for single in requests:
        alone = run_alone(models, single, **settings)
        both = together[single.request_id]
        assert both.tokens == alone.tokens
        assert np.corrcoef(both.samples, alone.samples)[0, 1] > least


def test_float32_gives_the_cpus_greedy_tokens_and_audio(tiny: Models, tiny_directory: Path) -> None:
    """In float32 a greedy request gets the CPU's tokens and, within rounding, its samples."""
    greedy = SamplingParams(top_k=1, max_tokens=20)
    models = load(tiny_directory, "float32")

    for number in range(4):
        cpu = run_alone(tiny, request(number, greedy))
        cuda = run_alone(models, request(number, greedy), device="cuda")

        assert cuda.tokens == cpu.tokens
        assert np.abs(cuda.samples.astype(int) - cpu.samples).max() <= 4
