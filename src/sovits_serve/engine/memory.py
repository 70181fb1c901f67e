"""How an engine divides its device's memory. Arithmetic only; bytes.

A share of what was free becomes the budget; weights, KV slots of every model that may be loaded
beside, and room for what a step computes come out of it.
"""

from sovits_serve.config import parse_share
from sovits_serve.errors import ConfigError

CPU_MAX_RUNNING = 16
# More of them make speech no faster: the device is full.
_GPU_MAX_RUNNING = 256
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
    weights_bytes = loaded_bytes + (max_models - 1) * model_bytes
    left = int(budget_bytes * (1 - _WORKING_SHARE)) - weights_bytes
    num_slots = left // (slot_bytes * max_models)
    if num_slots < 1:
        needed = int((weights_bytes + slot_bytes * max_models) / (1 - _WORKING_SHARE))
        raise ConfigError(
            f"gpu_memory: {budget_bytes} bytes do not hold {max_models} models (max_models) and "
            f"one segment of each; they need {needed} bytes. Raise it, or lower max_models or "
            "max_sequence_length"
        )
    return min(num_slots, _GPU_MAX_RUNNING)
