"""How an engine divides its device's memory. Arithmetic only; bytes.

A share of what was free becomes the budget; weights, the KV caches of every model that may be
loaded beside, and room for what a step computes come out of it.
"""

from dataclasses import dataclass

from sovits_serve.config import parse_share
from sovits_serve.errors import ConfigError

CPU_MAX_RUNNING = 16
# More of them make speech no faster: the device is full.
_GPU_MAX_RUNNING = 256
# A sentence with its prompt has 200 to 500.
_TOKENS_PER_SEGMENT = 512
# So many cost little: a few segments have room to be long.
_FEW_TOKENS = 16_384
# Of the budget, for activations, audio windows and what the allocator wastes.
_WORKING_SHARE = 0.25


def memory_budget(setting: str, free_bytes: int, total_bytes: int) -> int:
    """Return the bytes that ``gpu_memory`` allows: a share of what is free, or a size.

    Raises:
        ConfigError: it is neither, or more than the device has.
    """
    try:
        wanted = parse_share(setting)
    except ConfigError as error:
        raise ConfigError(f"gpu_memory: {error.message}") from error
    if isinstance(wanted, float):
        return int(wanted * free_bytes)
    if wanted > total_bytes:
        raise ConfigError(
            f"gpu_memory: {setting} is more than the device has ({total_bytes} bytes)"
        )
    return wanted


def choose_max_running(
    *, budget_bytes: int, loaded_bytes: int, model_bytes: int, slot_bytes: int, max_models: int
) -> int:
    """Return how many segments can be decoded together.

    Args:
        budget_bytes: all that the engine may use.
        loaded_bytes: what the first model takes, encoders included.
        model_bytes: what each further model takes.
        slot_bytes: of one segment's KV cache.
        max_models: models that may be loaded at once; each has slots of its own.

    Raises:
        ConfigError: not one fits.
    """
    room = _CacheRoom(budget_bytes, loaded_bytes + (max_models - 1) * model_bytes, max_models)
    return min(room.fit(slot_bytes, 1), _GPU_MAX_RUNNING)


def choose_paged_cache(
    *,
    budget_bytes: int,
    loaded_bytes: int,
    model_bytes: int,
    token_bytes: int,
    max_models: int,
    max_sequence_length: int,
    max_running: int,
) -> tuple[int, int]:
    """Return how many segments can be decoded together, and how many tokens they share.

    Args:
        budget_bytes, loaded_bytes, model_bytes, max_models: see ``choose_max_running``.
        token_bytes: of one token in the KV cache.
        max_sequence_length: tokens that one segment can have.
        max_running: segments wanted; 0: as many as pay.

    Raises:
        ConfigError: not one segment fits.
    """
    room = _CacheRoom(budget_bytes, loaded_bytes + (max_models - 1) * model_bytes, max_models)
    num_tokens = room.fit(token_bytes, max_sequence_length)
    max_running = max_running or min(_GPU_MAX_RUNNING, max(1, num_tokens // _TOKENS_PER_SEGMENT))
    return max_running, min(num_tokens, usual_cache_tokens(max_running, max_sequence_length))


def usual_cache_tokens(max_running: int, max_sequence_length: int) -> int:
    """Return the tokens of so many segments, most of which are no longer than sentences are."""
    usual = max(max_running * _TOKENS_PER_SEGMENT, _FEW_TOKENS, max_sequence_length)
    return min(usual, max_running * max_sequence_length)


@dataclass(frozen=True)
class _CacheRoom:
    """What a budget leaves for the KV caches of so many models."""

    budget_bytes: int
    weights_bytes: int
    max_models: int

    def fit(self, item_bytes: int, least: int) -> int:
        """Return how many items of that size there is room for in each cache.

        Raises:
            ConfigError: fewer than ``least``, which one segment needs.
        """
        left = int(self.budget_bytes * (1 - _WORKING_SHARE)) - self.weights_bytes
        found = left // (item_bytes * self.max_models)
        if found >= least:
            return found
        caches_bytes = item_bytes * least * self.max_models
        needed = int((self.weights_bytes + caches_bytes) / (1 - _WORKING_SHARE))
        raise ConfigError(
            f"gpu_memory: {self.budget_bytes} bytes do not hold {self.max_models} models "
            f"(max_models) and one segment of each; they need {needed} bytes. Raise it, or lower "
            "max_models or max_sequence_length"
        )
