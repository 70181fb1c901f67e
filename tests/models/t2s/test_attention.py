import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from tests.models.t2s.generation import (
    NUM_FORCED,
    ROUNDING,
    Golden,
    Row,
    alone,
    load_golden,
    mixed_rows,
    prefill,
    step_rows,
)


@pytest.fixture(params=["t2s_v65", "t2s_v1025"])
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return each golden model in turn."""
    return load_golden(request.param)


def test_prefill_of_a_mixed_batch_equals_each_row_alone(golden: Golden) -> None:
    """Rows padded to a common length, with different prompts, get their own logits."""
    cache = golden.new_cache(4, 128)
    slots = [3, 1, 0, 2]
    for _ in slots:
        cache.allocate()

    logits = prefill(golden.model, cache, mixed_rows(golden), slots)

    for row, expected in zip(logits, alone(golden), strict=True):
        torch.testing.assert_close(row, expected[0], atol=ROUNDING, rtol=0)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_joins_leaves_and_subsets_do_not_change_a_row(data: st.DataObject) -> None:
    """Under any schedule of starts, steps of any subset and ends, a row's logits are its own."""
    golden = load_golden("t2s_v65")
    expected, rows = alone(golden), mixed_rows(golden)
    cache = golden.new_cache(4, 128)
    slots: dict[int, int] = {}
    steps = dict.fromkeys(range(4), 0)
    for _ in range(14):
        waiting = [row for row in range(4) if row not in slots]
        running = [row for row in slots if steps[row] < NUM_FORCED]
        action = data.draw(st.sampled_from(["start", "step", "step", "fixed", "stop"]))
        if action == "start" and waiting:
            chosen = data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True))
            slots |= {row: cache.allocate() for row in chosen}
            steps |= dict.fromkeys(chosen, 0)
            picked = [rows[row] for row in chosen]
            logits = prefill(golden.model, cache, picked, [slots[row] for row in chosen])
        elif action in {"step", "fixed"} and running:
            chosen = data.draw(st.lists(st.sampled_from(running), min_size=1, unique=True))
            is_fixed = action == "fixed"
            logits = step_rows(
                golden, cache, [(row, slots[row], steps[row]) for row in chosen], is_fixed=is_fixed
            )
            for row in chosen:
                steps[row] += 1
        elif action == "stop" and slots:
            row = data.draw(st.sampled_from(sorted(slots)))
            cache.free(slots.pop(row))
            continue
        else:
            continue
        cache.check_integrity()
        for row, logit in zip(chosen, logits, strict=True):
            torch.testing.assert_close(logit, expected[row][steps[row]], atol=ROUNDING, rtol=0)


def test_fixed_batch_gives_the_same_bits_whoever_else_runs(golden: Golden) -> None:
    """With a fixed batch, a row's logits are bit-equal alone and among busy neighbours."""
    results = []
    for neighbours in ([], [1, 2, 3]):
        cache = golden.new_cache(4, 128)
        logits = [
            prefill(golden.model, cache, [mixed_rows(golden)[row]], [cache.allocate()])
            for row in [0, *neighbours]
        ]
        for step in range(NUM_FORCED):
            chosen = [(row, row, step) for row in [0, *neighbours]]
            logits.append(step_rows(golden, cache, chosen, is_fixed=True)[:1])
        results.append(torch.cat([logits[0], *logits[-NUM_FORCED:]]))

    assert torch.equal(*results)


def test_what_an_inactive_row_computes_leaves_no_trace(golden: Golden) -> None:
    """A row that sits out fixed-batch steps goes on exactly as if they had not happened."""
    cache = golden.new_cache(2, 128)
    rows = mixed_rows(golden)[:2]
    for row in rows:
        prefill(golden.model, cache, [row], [cache.allocate()])
    for step in range(3):
        step_rows(golden, cache, [(0, 0, step)], is_fixed=True)

    assert cache.lengths[1] == len(rows[1].phone_ids) + len(rows[1].prompt)
    torch.testing.assert_close(
        step_rows(golden, cache, [(1, 1, 0)], is_fixed=True)[0],
        alone(golden)[1][1],
        atol=ROUNDING,
        rtol=0,
    )


def test_a_row_of_nan_spoils_neither_neighbours_nor_its_successor(golden: Golden) -> None:
    """NaN in one row stays in that row, and is gone when its slot is used again."""
    rows = mixed_rows(golden)[:2]
    poison = Row(
        rows[0].phone_ids, torch.full_like(rows[0].text_features, torch.nan), rows[0].prompt
    )
    cache = golden.new_cache(2, 128)
    slots = [cache.allocate(), cache.allocate()]
    beside = prefill(golden.model, cache, [poison, rows[1]], slots)
    cache.free(0)
    after = prefill(golden.model, cache, [rows[0]], [cache.allocate()])
    steps = step_rows(golden, cache, [(0, 0, 0), (1, 1, 0)], is_fixed=False)

    expected = alone(golden)
    assert beside[0].isnan().all()
    torch.testing.assert_close(beside[1], expected[1][0], atol=ROUNDING, rtol=0)
    torch.testing.assert_close(after[0], expected[0][0], atol=ROUNDING, rtol=0)
    torch.testing.assert_close(steps[0], expected[0][1], atol=ROUNDING, rtol=0)
    torch.testing.assert_close(steps[1], expected[1][1], atol=ROUNDING, rtol=0)
