import errno
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.errors import ConfigError
from sovits_serve.models.spec import T2SDims
from sovits_serve.models.t2s.attention import StepView, attend_step, write_prompt, write_step

DIMS = T2SDims(8, 2, 1, vocab_size=65, phoneme_vocab_size=10, max_sec=1)
NUM_SLOTS, MAX_LENGTH = 4, 9


def new_cache() -> KVCache:
    """Return an empty cache of one layer."""
    return KVCache(DIMS, num_slots=NUM_SLOTS, max_length=MAX_LENGTH)


def test_a_cache_that_does_not_fit_names_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the machine refuses the memory, the error says how much and what to lower."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("sovits_serve.engine.kv_cache.mmap.mmap", refuse)

    with pytest.raises(ConfigError, match="max_running: 4 slots of 9 .* need 8192 bytes"):
        new_cache()


def fill(cache: KVCache, slots: list[int], lengths: list[int]) -> Tensor:
    """Prefill slots with random keys and values; return them (B, 2, H, T, D_head)."""
    keys_values = torch.randn(len(slots), 2, 2, max(lengths), 4)
    cache.begin_prefill(slots, lengths)
    write_prompt(cache.layer(0), keys_values, slots, lengths)
    cache.advance(slots, lengths)
    return keys_values


def reference_attention(query: Tensor, history: Tensor) -> Tensor:
    """Attend from (H, 1, D_head) to keys and values (2, H, T, D_head), in plain matrix products."""
    keys, values = history
    scores: Tensor = query @ keys.transpose(1, 2) / query.shape[-1] ** 0.5
    attended: Tensor = scores.softmax(-1) @ values
    return attended


@settings(deadline=None)
@given(data=st.data())
def test_any_sequence_of_operations_keeps_every_row_intact(data: st.DataObject) -> None:
    """Whatever slots come, go and step, each attends to exactly its own history."""
    cache = new_cache()
    histories: dict[int, Tensor] = {}
    for _ in range(12):
        steppable = [slot for slot in histories if cache.lengths[slot] < MAX_LENGTH]
        actions = ["step", "fixed"] * bool(steppable) + ["free"] * bool(histories)
        action = data.draw(st.sampled_from([*actions, "start"]))
        if action == "start" and cache.num_free:
            count = data.draw(st.integers(1, cache.num_free))
            slots = [cache.allocate() for _ in range(count)]
            drawn = st.lists(st.integers(1, MAX_LENGTH), min_size=count, max_size=count)
            lengths = data.draw(drawn)
            filled = fill(cache, slots, lengths)
            for slot, row, length in zip(slots, filled, lengths, strict=True):
                histories[slot] = row[:, :, :length]
        elif action == "free":
            slot = data.draw(st.sampled_from(sorted(histories)))
            del histories[slot]
            cache.free(slot)
        elif action in {"step", "fixed"}:
            chosen = data.draw(st.lists(st.sampled_from(steppable), min_size=1, unique=True))
            step(cache, histories, chosen, is_fixed=action == "fixed")
        cache.check_integrity()
        assert cache.num_free == NUM_SLOTS - len(histories)
        assert {slot: cache.lengths[slot] for slot in histories} == {
            slot: history.shape[2] for slot, history in histories.items()
        }


def step(
    cache: KVCache, histories: dict[int, Tensor], chosen: list[int], *, is_fixed: bool
) -> None:
    """Append a random token to each chosen slot and check what it attends to."""
    slots = list(range(NUM_SLOTS)) if is_fixed else chosen
    active = [slot in chosen for slot in slots] if is_fixed else None
    view = cache.begin_decode(slots, active)
    token, query = torch.randn(len(slots), 2, 2, 1, 4), torch.randn(len(slots), 2, 1, 4)
    write_step(cache.layer(0), view, token.reshape(len(slots), -1))
    attended = attend_step(cache.layer(0), view, query)
    cache.advance(slots, [1] * len(slots) if active is None else [int(on) for on in active])
    for row, slot in enumerate(slots):
        if slot in chosen:
            histories[slot] = torch.cat([histories[slot], token[row]], dim=2)
            expected = reference_attention(query[row], histories[slot])
            torch.testing.assert_close(attended[row], expected, atol=1e-5, rtol=0)


def test_rows_that_lie_together_are_read_without_a_copy() -> None:
    """A range of slots of about one length is read through a view, with a mask if they differ."""
    cache = new_cache()
    fill(cache, [cache.allocate() for _ in range(3)], [5, 5, 4])

    same, mixed = cache.begin_decode([0, 1]), cache.begin_decode([0, 1, 2])

    assert (same.rows, same.mask, same.row_lengths) == (slice(0, 2), None, None)
    assert mixed.rows == slice(0, 3)
    assert mixed.mask is not None


@pytest.mark.parametrize(("slots", "lengths"), [([0, 2], [5, 5]), ([0, 1], [9, 1])])
def test_scattered_or_unlike_rows_are_read_one_by_one(slots: list[int], lengths: list[int]) -> None:
    """On the CPU neither a gap nor a long neighbour makes a row read what is not its own."""
    cache = KVCache(DIMS, num_slots=NUM_SLOTS, max_length=20)
    for _ in range(NUM_SLOTS):
        cache.allocate()
    fill(cache, slots, lengths)

    view: StepView = cache.begin_decode(slots)

    assert view.row_lengths == tuple(length + 1 for length in lengths)


def test_a_fixed_batch_has_the_same_shapes_at_every_length() -> None:
    """With ``active``, what is read depends neither on lengths nor on who runs."""
    cache = new_cache()
    everyone = range(NUM_SLOTS)
    before = cache.begin_decode(everyone, [False] * NUM_SLOTS)
    fill(cache, [cache.allocate()], [6])
    after = cache.begin_decode(everyone, [True, False, False, False])

    assert before.mask is not None
    assert after.mask is not None
    assert (before.rows, before.read_length) == (after.rows, after.read_length)
    assert before.mask.shape == after.mask.shape


def test_lowest_free_slot_is_taken_first() -> None:
    """Freed low slots are used again before higher ones, so that running rows stay together."""
    cache = new_cache()
    taken = [cache.allocate() for _ in range(3)]
    for slot in (2, 0):
        cache.free(slot)

    assert taken == [0, 1, 2]
    assert [cache.allocate(), cache.allocate()] == [0, 2]


def test_a_freed_slot_holds_nothing() -> None:
    """Nothing of a sequence can be read once its slot is free."""
    cache = new_cache()
    fill(cache, [cache.allocate()], [7])

    cache.free(0)

    assert not cache.layer(0).any()


def test_misuse_is_refused_before_anything_is_written() -> None:
    """A slot that is free, empty, full or given twice stops the step."""
    cache = new_cache()
    cache.allocate()
    fill(cache, [cache.allocate()], [MAX_LENGTH])

    for slots in ([0], [1], [2], [0, 0]):
        with pytest.raises(AssertionError):
            cache.begin_decode(slots)
    with pytest.raises(AssertionError):
        cache.begin_prefill([1], [3])
    with pytest.raises(AssertionError):
        cache.begin_prefill([0], [MAX_LENGTH + 1])
    with pytest.raises(AssertionError):
        cache.free(3)
    cache.check_integrity()


def test_integrity_check_finds_a_leak() -> None:
    """A length that no write accounts for is found."""
    cache = new_cache()
    cache.allocate()

    cache.lengths[0] = 3

    with pytest.raises(AssertionError):
        cache.check_integrity()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_memory_starts_as_zeros(dtype: torch.dtype) -> None:
    """Memory that no row has written is finite in every dtype."""
    cache = KVCache(DIMS, num_slots=2, max_length=5, dtype=dtype)

    assert cache.layer(0).dtype == dtype
    assert not cache.layer(0).any()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_committed_when_first_written() -> None:
    """A cache of a gigabyte costs what its rows have written, not what it could hold."""
    dims = T2SDims(512, 16, 8, vocab_size=65, phoneme_vocab_size=10, max_sec=1)
    before = resident_bytes()
    cache = KVCache(dims, num_slots=16, max_length=2047)
    slot = cache.allocate()
    cache.begin_prefill([slot], [64])
    for layer in range(dims.num_layers):
        write_prompt(cache.layer(layer), torch.ones(1, 2, 16, 64, 32), [slot], [64])
    cache.advance([slot], [64])

    assert cache.size_bytes == 2**30
    assert resident_bytes() - before < 32 * 2**20


def resident_bytes() -> int:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096
