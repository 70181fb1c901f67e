"""Integers from the host to the device and back, without waiting."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Uploads:
    """Pinned buffers for copies to the device, used in turn.

    A buffer is filled again only when the copy out of it is done.
    """

    def __init__(self, num_values: int, device: torch.device, depth: int = 4) -> None:
        self._is_cuda = device.type == "cuda"
        self._buffers = [
            torch.zeros(num_values, dtype=torch.int32, pin_memory=self._is_cuda)
            for _ in range(depth)
        ]
        self._events: list[torch.cuda.Event | None] = [None] * depth
        self._turn = 0

    def upload(self, values: Sequence[int], to: Tensor) -> None:
        """Copy int32 ``values`` to the beginning of the contiguous int32 ``to``, on this stream."""
        turn = self._turn = (self._turn + 1) % len(self._buffers)
        event = self._events[turn]
        if event is not None:
            event.synchronize()
        staged = self._buffers[turn][: len(values)]
        staged.copy_(torch.tensor(values, dtype=torch.int32))
        to.view(-1)[: len(values)].copy_(staged, non_blocking=True)
        if self._is_cuda:
            event = event or torch.cuda.Event()
            event.record()
            self._events[turn] = event


class Download:
    """A copy from the device that is on its way."""

    def __init__(self, values: Tensor) -> None:
        """Begin to copy ``values`` on the current stream."""
        self._event: torch.cuda.Event | None = None
        if values.device.type != "cuda":
            self._host = values.clone()
            return
        self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        self._host.copy_(values, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def is_done(self) -> bool:
        """Return whether ``wait`` would return at once."""
        return self._event is None or self._event.query()

    def wait(self) -> Tensor:
        """Return the values, on the host, once they are there."""
        if self._event is not None:
            self._event.synchronize()
        return self._host


def as_int32(value: int) -> int:
    """Return the int32 with the same lower 32 bits."""
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
