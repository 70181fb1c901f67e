import numpy as np
import pytest
import torch

from sovits_serve.errors import CheckpointError
from sovits_serve.models.t2s import T2SModel
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from sovits_serve.protocol.messages import SamplingParams
from tests.golden import DATA
from tests.models.t2s.generation import (
    MARGIN,
    Golden,
    alone,
    force,
    generate,
    load_golden,
)

GOLDENS = ["t2s_v65", "t2s_v1025"]
GREEDY = SamplingParams(top_k=1)


@pytest.fixture(params=GOLDENS)
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return each golden model in turn."""
    return load_golden(request.param)


def test_teacher_forced_logits_are_upstreams(golden: Golden) -> None:
    """Fed upstream's tokens, the logits of every step are upstream's within 2e-4."""
    tokens = [int(token) for token in golden.arrays["tf_tokens"]]

    logits = force(golden.model, golden.new_cache(), golden.row(0), tokens[:-1])

    np.testing.assert_allclose(logits.numpy(), golden.arrays["tf_logits"], atol=2e-4, rtol=0)


@pytest.mark.parametrize("item", range(2))
def test_greedy_tokens_are_upstreams(golden: Golden, item: int) -> None:
    """Greedy generation gives upstream's tokens as long as no two logits nearly tie."""
    recorded = golden.generated(f"greedy{item}_y")[:200]
    margins = golden.arrays[f"greedy{item}_margin"][: len(recorded)]
    ties = np.flatnonzero(margins <= MARGIN)
    clear = int(ties[0]) if len(ties) else len(recorded)

    tokens = generate(golden, [golden.row(item)], GREEDY, len(recorded))[0]

    assert tokens[:clear] == recorded[:clear]


def test_greedy_choices_past_a_near_tie_are_upstreams(golden: Golden) -> None:
    """Fed upstream's own tokens, every clear greedy choice is upstream's, also after a tie."""
    recorded = golden.generated("greedy1_y")[:200]
    clear = golden.arrays["greedy1_margin"][: len(recorded)] > MARGIN
    logits = force(golden.model, golden.new_cache(), golden.row(1), recorded[:-1])
    seen = golden.prompt.tolist()
    choices = []
    for step, token in enumerate(recorded):
        row = logits[step].clone()
        row[-1] = row[-1] if step >= 11 else -torch.inf
        known = torch.tensor(sorted(set(seen)))
        row[known] = torch.where(row[known] < 0, row[known] * 1.35, row[known] / 1.35)
        choices.append(int(row.argmax()))
        seen.append(token)

    assert clear.sum() > 150
    assert (np.array(choices) == np.array(recorded))[clear].all()


def test_eos_ends_where_upstreams_ends(golden: Golden) -> None:
    """A row whose recorded run ended by EOS ends at the same step here."""
    case = next(case for case in golden.meta["greedy"] if case["idx"] < 300)

    tokens = generate(golden, [golden.row(case["item"])], GREEDY, 400)[0]

    assert len(tokens) == case["idx"]


def test_early_stop_keeps_upstreams_codes(golden: Golden) -> None:
    """A limit of n tokens gives the n codes of upstream's batched path, for all its rows."""
    limits = [case["early_stop_num"] for case in golden.meta["early"]]
    expected = [
        [golden.generated(f"early{limit}_batch_y{row}") for row in range(len(golden.rows))]
        for limit in limits
    ]

    assert [generate(golden, golden.rows, GREEDY, limit) for limit in limits] == expected


def test_without_prompt_tokens_are_upstreams(golden: Golden) -> None:
    """Rows without a prompt generate what upstream generates without one."""
    empty = golden.prompt[:0]
    rows = [golden.row(index, empty) for index in range(len(golden.rows))]
    expected = [golden.generated(f"noprompt_y{index}", 0) for index in range(len(rows))]

    assert generate(golden, rows, GREEDY, len(expected[0])) == expected


def test_a_batch_generates_upstreams_batch_and_singles(golden: Golden) -> None:
    """All texts in one batch, leaving at their own EOS, give upstream's batch and its singles."""
    case = golden.meta["batch"][-1]
    params = SamplingParams(top_k=1, repetition_penalty=case["rep"])
    rows = range(len(golden.rows))
    batch = [golden.generated(f"batch_rp{case['rep']}_y{row}")[:250] for row in rows]
    singles = [golden.generated(f"naiveb_rp{case['rep']}_y{row}")[:250] for row in rows]

    tokens = generate(golden, golden.rows, params, 250)

    assert tokens == batch
    assert all(single[: len(row)] == row for single, row in zip(singles, tokens, strict=True))


def test_sampled_tokens_are_upstreams(golden: Golden) -> None:
    """With upstream's recorded noise, sampling gives upstream's tokens in every recorded case."""
    cases = range(len(golden.meta["sampled"]))
    expected = [golden.generated(f"sampled{case}_y") for case in cases]

    assert [sampled(golden, case, len(expected[case])) for case in cases] == expected


def sampled(golden: Golden, case: int, max_tokens: int) -> list[int]:
    """Generate with the parameters and the noise of a recorded case."""
    meta = golden.meta["sampled"][case]
    short = torch.from_numpy(golden.arrays[f"sampled{case}_q11"])  # the EOS column was cut off
    noise = [*torch.nn.functional.pad(short, (0, 1), value=1.0)]
    noise += [*torch.from_numpy(golden.arrays[f"sampled{case}_q"])]
    params = SamplingParams(
        top_k=meta["top_k"],
        top_p=meta["top_p"],
        temperature=meta["temperature"],
        repetition_penalty=meta["rep"],
    )
    return generate(golden, [golden.row(meta["item"])], params, max_tokens, noise)[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_float32_logits_near_the_full_ones(
    dtype: torch.dtype,
) -> None:
    """In half precision the logits are float32 and correlate above 0.999 with float32's."""
    half = load_golden("t2s_v65", dtype=dtype)

    logits = alone(half)[0]

    assert logits.dtype == torch.float32
    both = torch.stack((logits.flatten(), alone(load_golden("t2s_v65"))[0].flatten()))
    assert torch.corrcoef(both)[0, 1] > 0.999


def test_a_missing_tensor_is_a_checkpoint_error() -> None:
    """A checkpoint without a layer's weight is refused by name."""
    golden = load_golden("t2s_v65")
    weights = Recipe.read(DATA / "t2s_v65.weights.json").build()
    del weights["model.h.layers.0.linear1.weight"]

    with pytest.raises(CheckpointError, match=r"model\.h\.layers\.0\.linear1\.weight"):
        T2SModel.from_weights(
            golden.dims, DictWeights(weights, "gpt.ckpt"), device="cpu", dtype=torch.float32
        )
