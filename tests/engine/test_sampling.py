import json

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from sovits_serve.engine import sampling
from sovits_serve.engine.random_stream import as_signed, exponential
from sovits_serve.engine.sampling import (
    SamplingState,
    draw,
    penalize,
    probabilities,
    sample,
)
from sovits_serve.protocol.messages import SamplingParams
from tests.golden import DATA

CASES = json.loads((DATA / "sampler.meta.json").read_text(encoding="utf-8"))
VOCAB = 33
PARAMS = st.builds(
    SamplingParams,
    seed=st.integers(0, 2**63 - 1),
    top_k=st.sampled_from([None, 1, 2, 5, 15, 33, 2000]),
    top_p=st.sampled_from([0.001, 0.3, 0.7, 0.95, 1.0]),
    temperature=st.sampled_from([0.0, 0.01, 0.6, 1.0, 1.5]),
    repetition_penalty=st.sampled_from([0.8, 1.0, 1.35, 2.0]),
)
STEPS = st.sampled_from([0, 10, 11, 40])


def state_of(params: list[SamplingParams], seen: list[Tensor], vocab: int) -> SamplingState:
    """Return a state whose slot i holds row i, as segment i."""
    state = SamplingState(len(params), vocab)
    for slot, (row, tokens) in enumerate(zip(params, seen, strict=True)):
        state.set_row(slot, row, segment=slot, seen=tokens)
    return state


def reference_probabilities(
    logits: Tensor, seen: Tensor, params: SamplingParams, step: int
) -> Tensor:
    """Compute one row's probabilities in upstream's order, the EOS column cut off early on."""
    scores = logits[:-1].clone() if step < 11 else logits.clone()
    for token in set(seen.tolist()) - ({len(logits) - 1} if step < 11 else set()):
        penalty = params.repetition_penalty
        scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    if params.top_p < 1:
        ordered, order = scores.sort(descending=True, stable=True)
        removed = ordered.softmax(-1).cumsum(-1) > params.top_p
        removed[0] = False
        scores[order[removed]] = -torch.inf
    scores = scores / max(params.temperature, 1e-5)
    if params.top_k is not None:
        kth = scores.topk(min(params.top_k, len(scores))).values[-1]
        scores[scores < kth] = -torch.inf
    return scores.softmax(-1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_recorded_cases_are_upstreams(case: dict[str, int]) -> None:
    """Probabilities, choice and stop test of every recorded case are upstream's."""
    arrays = np.load(DATA / "sampler.npz")
    name = f"c{case['case']}"
    logits, noise = (torch.from_numpy(arrays[f"{name}_{key}"]).float() for key in ("logits", "q"))
    fields = ("top_k", "top_p", "temperature", "repetition_penalty")
    params = SamplingParams(**{field: case[field] for field in fields})
    seen = list(torch.from_numpy(arrays[f"{name}_prev"]).long())
    rows = state_of([params] * len(seen), seen, case["V"]).rows(torch.arange(len(seen)))
    late = torch.full((len(seen),), 20)  # the recorded rows have no EOS rule

    scores = penalize(logits, rows, late)
    result = draw(logits, rows, late, noise)

    np.testing.assert_allclose(probabilities(scores, rows), arrays[f"{name}_probs"], atol=1e-6)
    assert result.tokens.tolist() == arrays[f"{name}_idx"].tolist()
    recorded = arrays[f"{name}_logits_after_penalty_argmax"]
    assert scores.argmax(-1).tolist() == recorded.tolist()


@settings(deadline=None)
@given(params=st.lists(PARAMS, min_size=1, max_size=4), data=st.data())
def test_rows_of_any_mixture_equal_the_plain_rule(
    params: list[SamplingParams], data: st.DataObject
) -> None:
    """Rows with different parameters and steps each get upstream's probabilities."""
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    count = len(params)
    steps = torch.tensor(data.draw(st.lists(STEPS, min_size=count, max_size=count)))
    logits = torch.randn(count, VOCAB, generator=generator) * 4
    seen = list(torch.randint(0, VOCAB - 1, (count, 8), generator=generator))
    rows = state_of(params, seen, VOCAB).rows(torch.arange(count))

    result = probabilities(penalize(logits, rows, steps), rows)

    for row in range(count):
        step = int(steps[row])
        expected = reference_probabilities(logits[row], seen[row], params[row], step)
        torch.testing.assert_close(result[row, : len(expected)], expected, atol=1e-6, rtol=0)
        assert result[row, len(expected) :].sum() == 0


@settings(deadline=None)
@given(params=st.lists(PARAMS, min_size=2, max_size=5), data=st.data())
def test_a_rows_token_does_not_depend_on_its_neighbours(
    params: list[SamplingParams], data: st.DataObject
) -> None:
    """Drawn from its own stream, a row's token is the same alone and in any order and batch."""
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    logits = torch.randn(len(params), VOCAB, generator=generator) * 4
    seen = list(torch.randint(0, VOCAB - 1, (len(params), 8), generator=generator))
    positions = torch.arange(len(params)) * 5
    order = torch.tensor(data.draw(st.permutations(range(len(params)))))

    batch = sample(logits[order], state_of(params, seen, VOCAB), order, positions[order])

    for row, slot in enumerate(order.tolist()):
        one = torch.tensor([slot])
        own = sample(logits[one], state_of(params, seen, VOCAB), one, positions[one])
        assert batch.tokens[row] == own.tokens[0]
        assert batch.is_eos[row] == own.is_eos[0]


def test_drawn_tokens_follow_the_probabilities() -> None:
    """Over many positions, tokens come as often as their probabilities say."""
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0, -30.0]).expand(20_000, -1)
    params = SamplingParams(top_k=None, repetition_penalty=1.0, seed=4)
    state = state_of([params], [torch.tensor([], dtype=torch.int64)], 5)
    rows = state.rows(torch.zeros(20_000, dtype=torch.int64))

    tokens = draw(logits, rows, torch.arange(20_000)).tokens

    shares = tokens.bincount(minlength=5) / 20_000
    torch.testing.assert_close(shares, logits[0].softmax(-1), atol=0.015, rtol=0)


@pytest.mark.parametrize(("step", "ends"), [(0, False), (10, False), (11, True)])
def test_eos_is_possible_from_step_11(step: int, ends: bool) -> None:
    """However likely, EOS neither comes nor stops before step 11."""
    logits = torch.tensor([[0.0, 1.0, 50.0]])
    state = state_of([SamplingParams()], [torch.tensor([0])], 3)

    result = sample(logits, state, torch.tensor([0]), torch.tensor([step]))

    assert bool(result.is_eos) == ends


def test_a_row_ends_when_eos_is_most_likely_though_not_drawn() -> None:
    """EOS as the argmax after the penalty ends a row whatever the draw chose."""
    logits = torch.tensor([[1.0, 1.0, 1.1]])
    state = state_of([SamplingParams(repetition_penalty=1.0)], [torch.tensor([0])], 3)
    noise = torch.tensor([[1e-3, 10.0, 10.0]])

    result = sample(logits, state, torch.tensor([0]), torch.tensor([20]), noise)

    assert result.tokens.tolist() == [0]
    assert result.is_eos.tolist() == [True]


def test_a_drawn_token_is_penalised_next_time() -> None:
    """What ``sample`` chose counts as seen for that slot only."""
    logits = torch.tensor([[5.0, 4.0, 0.0]] * 2)
    params = SamplingParams(top_k=1, repetition_penalty=2.0)
    none = torch.tensor([], dtype=torch.int64)
    state = state_of([params, params], [none, none], 3)
    sample(logits[:1], state, torch.tensor([1]), torch.tensor([0]))

    result = sample(logits, state, torch.tensor([0, 1]), torch.tensor([0, 1]))

    assert result.tokens.tolist() == [0, 1]


def test_a_new_row_forgets_what_the_slot_saw() -> None:
    """Giving a slot to another row leaves only that row's prompt as seen."""
    state = state_of([SamplingParams()], [torch.tensor([0, 1])], 3)

    state.set_row(0, SamplingParams(), segment=0, seen=torch.tensor([1]))

    assert state.rows(torch.tensor([0])).seen.tolist() == [[False, True, False]]


def test_logits_that_are_not_finite_are_reported_by_row() -> None:
    """NaN or infinity marks its row, and a valid id is still returned."""
    logits = torch.zeros(3, 5)
    logits[1, 2], logits[2, 0] = torch.nan, torch.inf
    state = state_of([SamplingParams()] * 3, [torch.tensor([0])] * 3, 5)

    result = sample(logits, state, torch.arange(3), torch.zeros(3, dtype=torch.int64))

    assert result.is_finite.tolist() == [True, False, False]
    assert ((result.tokens >= 0) & (result.tokens < 5)).all()


def test_noise_that_is_drawn_ahead_is_that_of_its_position() -> None:
    """Step by step, after a jump, and for the slot's next row, it is the stream's own."""
    state = SamplingState(2, VOCAB)
    none = torch.tensor([], dtype=torch.int64)
    state.set_row(0, SamplingParams(seed=5), segment=1, seen=none)
    state.set_row(1, SamplingParams(seed=2**63), segment=0, seen=none)
    walk = [(0, 3), (1, 3), *((s, s) for s in range(2, 40)), (100, 7), (40, 8)]

    def stream(seed: int, segment: int, position: int) -> Tensor:
        key, counter = torch.tensor([as_signed(seed)]), torch.tensor([[segment], [position]])
        return exponential(key, counter[0], counter[1], VOCAB)[0]

    for first, second in walk:
        drawn = state.noise(torch.tensor([1, 0]), torch.tensor([second, first]))
        assert torch.equal(drawn[0], stream(2**63, 0, second))
        assert torch.equal(drawn[1], stream(5, 1, first))
    state.set_row(0, SamplingParams(seed=6), segment=1, seen=none)
    drawn = state.noise(torch.tensor([0]), torch.tensor([40]))
    assert torch.equal(drawn[0], stream(6, 1, 40))


def test_noise_that_could_not_be_drawn_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After running out of memory the row's next try has its own numbers, not what lay there."""
    state = SamplingState(1, VOCAB)
    state.set_row(0, SamplingParams(seed=5), segment=0, seen=torch.tensor([], dtype=torch.int64))
    asked = torch.tensor([0]), torch.tensor([3])
    with monkeypatch.context() as patched:
        patched.setattr(sampling, "exponential", _out_of_memory)
        with pytest.raises(torch.OutOfMemoryError):
            state.noise(*asked)

    drawn = state.noise(*asked)
    expected = exponential(torch.tensor([5]), torch.tensor([0]), torch.tensor([3]), VOCAB)
    assert torch.equal(drawn, expected)


def _out_of_memory(*_: object) -> Tensor:
    raise torch.OutOfMemoryError("no memory")


def test_parameters_of_the_same_slots_are_remembered_until_they_change() -> None:
    """A row that takes over a slot between two steps brings its own parameters."""
    none = torch.tensor([], dtype=torch.int64)
    state = state_of([SamplingParams(top_k=3)] * 2, [none, none], VOCAB)
    slots = torch.tensor([0, 1])

    assert state.rows(slots).top_k.tolist() == state.rows(slots).top_k.tolist() == [3, 3]
    state.mark_seen(torch.tensor([1]), torch.tensor([4]))
    assert state.rows(slots).seen.nonzero().tolist() == [[1, 4]]
    state.set_row(1, SamplingParams(top_k=7), segment=0, seen=none)
    assert state.rows(slots).top_k.tolist() == [3, 7]
    assert state.rows(slots[1:]).top_k.tolist() == [7]
