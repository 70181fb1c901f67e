"""How device memory becomes a budget and a number of slots."""

import pytest

from sovits_serve.engine.memory import choose_max_running, choose_paged_cache, memory_budget
from sovits_serve.errors import ConfigError

GIB = 1 << 30


@pytest.mark.parametrize(
    ("setting", "budget"), [("0.5", 30 * GIB), ("1.0", 60 * GIB), ("6GiB", 6 * GIB)]
)
def test_a_budget_is_a_share_of_what_is_free_or_a_size(setting: str, budget: int) -> None:
    """A share counts what others have taken already; a size does not."""
    assert memory_budget(setting, 60 * GIB, 80 * GIB) == budget


@pytest.mark.parametrize("setting", ["", "2.5", "much", "0", "81GiB"])
def test_a_budget_that_cannot_be_is_refused_by_name(setting: str) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match="gpu_memory"):
        memory_budget(setting, 60 * GIB, 80 * GIB)


def test_slots_follow_from_what_weights_leave() -> None:
    """Three quarters of the budget hold the weights of all models and their slots."""
    slots = choose_max_running(
        budget_bytes=16 * GIB,
        loaded_bytes=3 * GIB,
        model_bytes=GIB,
        slot_bytes=GIB // 4,
        max_models=2,
    )

    assert slots == 16  # (12 - 3 - 1) GiB for 2 models with slots of 0.25 GiB


def test_more_slots_than_pay_are_not_taken() -> None:
    """A large device does not make a lone request slow."""
    slots = choose_max_running(
        budget_bytes=140 * GIB,
        loaded_bytes=GIB,
        model_bytes=GIB,
        slot_bytes=GIB // 64,
        max_models=1,
    )

    assert slots == 256


def test_a_budget_without_room_for_a_slot_is_refused() -> None:
    """The message says how much is needed."""
    with pytest.raises(ConfigError, match="they need 4[0-9]* bytes"):
        choose_max_running(
            budget_bytes=2 * GIB,
            loaded_bytes=2 * GIB,
            model_bytes=GIB,
            slot_bytes=GIB // 8,
            max_models=2,
        )


@pytest.mark.parametrize(
    ("gib", "max_running", "expected"),
    [
        (140, 0, (256, 256 * 512)),
        (140, 1000, (1000, 1000 * 512)),
        (140, 2, (2, 2 * 3072)),  # few have room to be as long as can be
        (140, 20, (20, 16_384)),
        (8, 0, (200, 200 * 512)),
        (8, 256, (256, 200 * 512)),
    ],
)
def test_tokens_of_a_paged_cache_follow_from_what_weights_leave(
    gib: int, max_running: int, expected: tuple[int, int]
) -> None:
    """As many as the segments usually have; less on a small device, which still runs many."""
    max_running, num_tokens = choose_paged_cache(
        budget_bytes=gib * GIB,
        loaded_bytes=int(1.3 * GIB),
        model_bytes=GIB,
        token_bytes=48 * 1024,
        max_models=1,
        max_sequence_length=3072,
        max_running=max_running,
    )

    assert max_running == expected[0]
    assert expected[1] <= num_tokens < expected[1] + 512


def test_a_budget_without_room_for_the_longest_segment_is_refused() -> None:
    """A cache that holds no segment of ``max_sequence_length`` could never finish one."""
    with pytest.raises(ConfigError, match="gpu_memory: .* max_sequence_length"):
        choose_paged_cache(
            budget_bytes=GIB,
            loaded_bytes=GIB // 2,
            model_bytes=0,
            token_bytes=2**20,
            max_models=1,
            max_sequence_length=3072,
            max_running=0,
        )
