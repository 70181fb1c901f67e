"""Computing with 8-bit weights: near the float model, and exactly itself in any batch."""

import pytest
import torch

from sovits_serve.config import EngineConfig
from sovits_serve.engine.loader import resolve
from sovits_serve.errors import ConfigError
from sovits_serve.models.t2s.int8 import Int8Linear
from tests.models.t2s.generation import force, forced_tokens, load_golden


def test_a_layer_is_near_the_float_one() -> None:
    """Rounding to 8 bits moves a sum of 512 products by about a hundredth of its spread."""
    torch.manual_seed(1)
    weight, bias, x = torch.randn(96, 512) / 512**0.5, torch.randn(96), torch.randn(7, 512)
    layer = Int8Linear(weight, bias)

    exact = torch.nn.functional.linear(x, weight, bias)
    assert (layer(x) - exact).std() < 0.015 * exact.std()
    assert layer.size_bytes == 96 * 512 + 96 * 4
    assert torch.equal(layer(torch.zeros(1, 512)), bias[None])


def test_a_row_is_the_same_in_any_batch() -> None:
    """Sums of integers are exact, so that neighbours cannot change a bit, however large they are."""
    torch.manual_seed(2)
    layer = Int8Linear(torch.randn(1536, 512), torch.randn(1536))
    x = torch.randn(33, 512) * torch.logspace(-3, 3, 33)[:, None]

    together = layer(x)
    assert all(torch.equal(layer(x[row : row + 1])[0], together[row]) for row in range(33))


def test_not_a_number_stays_one() -> None:
    """What the engine looks for to fail a request is not rounded away."""
    layer = Int8Linear(torch.randn(8, 16), torch.randn(8))
    x = torch.randn(2, 16)
    x[1, 3] = float("nan")

    assert layer(x)[0].isfinite().all()
    assert layer(x)[1].isnan().all()


def test_a_model_computes_near_the_float_one() -> None:
    """Logits of the prefill and of every step stay close; the weights take a quarter."""
    golden = load_golden.__wrapped__("t2s_v1025")  # a model of its own: it is changed for good
    row, tokens = golden.row(0), forced_tokens(0)
    exact = force(golden.model, golden.new_cache(1), row, tokens)

    layers = golden.model.h.layers
    had_bytes = sum(parameter.nbytes for parameter in layers.parameters())
    taken_bytes = golden.model.use_int8()
    has_bytes = taken_bytes + sum(parameter.nbytes for parameter in layers.parameters())
    rounded = force(golden.model, golden.new_cache(1), row, tokens)

    assert taken_bytes > 0
    assert has_bytes < 0.3 * had_bytes
    assert golden.model.use_int8() == 0  # nothing is rounded twice
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).std() < 0.05 * exact.std()


def test_half_precision_is_refused() -> None:
    """8 bits go with float32 or bfloat16 on a CPU, and nothing else is taken for it in silence."""
    config = EngineConfig(device="cpu", decode_weights="int8", dtype="float16")

    with pytest.raises(
        ConfigError, match="decode_weights: int8 is for a CPU in float32 or bfloat16"
    ):
        resolve(config)
