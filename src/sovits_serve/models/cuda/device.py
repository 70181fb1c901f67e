"""What a CUDA device can do, as far as kernels must know. Loads no Triton."""

import sys
from dataclasses import dataclass

import torch

# Older tensor cores know no bfloat16, and Triton no longer uses them.
_LEAST_CAPABILITY = (8, 0)
_HOPPER = 9
# Their products read shared memory while the next copies fill it; others read registers.
_READING_SHARED_MEMORY = {9, 10, 11}


@dataclass(frozen=True)
class DeviceLimits:
    """Limits of one device; ``shared_memory_bytes`` is what one program may use."""

    capability: tuple[int, int]  # (8, 6) is sm_86
    shared_memory_bytes: int

    @property
    def has_early_launch(self) -> bool:
        """Whether a kernel can be launched before the one it waits for has ended."""
        return self.capability[0] >= _HOPPER

    def stages_that_fit(self, num_stages: int, turn_bytes: int) -> int:
        """Return Triton's ``num_stages`` of a product, lowered until its shared memory is there.

        Args:
            num_stages: at least 2, and what is returned too.
            turn_bytes: of both inputs in one turn of the product's loop.
        """
        num_turns = self.shared_memory_bytes // turn_bytes
        if self.capability[0] not in _READING_SHARED_MEMORY:
            num_turns += 1  # one is in registers
        return max(2, min(num_stages, num_turns))


_INTERPRETER = DeviceLimits((0, 0), sys.maxsize)


def limits_of(device: torch.device) -> DeviceLimits:
    """Return a CUDA device's limits; on the CPU those of Triton's interpreter, which has none."""
    if device.type != "cuda":
        return _INTERPRETER
    properties = torch.cuda.get_device_properties(device)
    shared_memory_bytes: int = getattr(  # undeclared, and only on CUDA
        properties, "shared_memory_per_block_optin", properties.shared_memory_per_block
    )
    return DeviceLimits((properties.major, properties.minor), shared_memory_bytes)


def is_made_for(device: torch.device) -> bool:
    """Tell whether the kernels are made for a CUDA device; on older ones they are not tried."""
    return torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY
