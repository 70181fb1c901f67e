"""The KV cache: a fixed number of slots, one per running sequence, allocated once.

A slot holds text, prompt and generated tokens without a gap; its length lives on the host. Knows
no model arithmetic: ``models.t2s.attention`` reads and writes the memory through views.

Memory is always finite: it starts as zeros and a freed slot is zeroed again, so that what a mask
hides cannot turn a result into NaN and nothing of one request is left for the next. On the CPU
pages are committed when first written.
"""

import heapq
import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sovits_serve.errors import ConfigError
from sovits_serve.models.spec import T2SDims
from sovits_serve.models.t2s.attention import StepView

# Slot capacity in tokens is a multiple of this: whole pages per head, aligned rows on CUDA.
CAPACITY_STEP = 32
# Reading row by row pays on the CPU as soon as a common length would read this much more.
ROW_BY_ROW_WASTE = 1.25


class KVCache:
    """Slots of keys and values for every layer.

    Attributes:
        num_slots: how many sequences can run at once.
        max_length: most tokens of one slot (text + prompt + generated).
        lengths: tokens now in each slot.
    """

    def __init__(
        self,
        dims: T2SDims,
        *,
        num_slots: int,
        max_length: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if num_slots < 1 or max_length < 1:
            raise ValueError(f"num_slots {num_slots} and max_length {max_length} must be positive")
        self.num_slots = num_slots
        self.max_length = max_length
        self.device = torch.device(device)
        self.dtype = dtype
        self.lengths = [0] * num_slots
        self._touched = [0] * num_slots
        self._used = [False] * num_slots
        self._free_slots = list(range(num_slots))
        capacity = _capacity(max_length)
        width = dims.hidden // dims.num_heads
        shape = (dims.num_layers, num_slots, 2, dims.num_heads, capacity, width)
        try:
            self._memory = _zeros(shape, self.device, dtype)
        except (OSError, torch.OutOfMemoryError) as error:
            raise ConfigError(
                f"max_running: {num_slots} slots of {max_length} tokens (max_sequence_length) need "
                f"{torch.Size(shape).numel() * dtype.itemsize} bytes, more than can be had; "
                "lower one of the two"
            ) from error
        self._layers = tuple(self._memory.unbind(0))
        heads = torch.arange(num_slots * 2 * dims.num_heads, device=self.device)
        self._row_starts = heads.view(num_slots, -1) * capacity  # (S, 2 * H)

    @property
    def num_free(self) -> int:
        """How many slots can be allocated now."""
        return len(self._free_slots)

    @property
    def size_bytes(self) -> int:
        """Memory of all slots when every page is in use."""
        return self._memory.nbytes

    def layer(self, index: int) -> Tensor:
        """Return one layer's memory (slots, 2, H, capacity, D_head)."""
        return self._layers[index]

    def allocate(self) -> int:
        """Take the lowest free slot; low slots first keep the running ones together."""
        assert self._free_slots, "allocate() without a free slot: ask num_free first"
        slot = heapq.heappop(self._free_slots)
        self._used[slot] = True
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back and wipe what it held."""
        assert self._used[slot], f"slot {slot} is not allocated"
        self._memory[:, slot, :, :, : self._touched[slot]].zero_()
        self._memory[:, slot, :, :, self.max_length].zero_()
        self.lengths[slot] = self._touched[slot] = 0
        self._used[slot] = False
        heapq.heappush(self._free_slots, slot)

    def begin_prefill(self, slots: Sequence[int], lengths: Sequence[int]) -> None:
        """Check that the slots are empty and long enough, before anything is written."""
        assert len(set(slots)) == len(slots) == len(lengths)
        for slot, length in zip(slots, lengths, strict=True):
            assert self._used[slot], f"slot {slot} is not allocated"
            assert self.lengths[slot] == 0, f"slot {slot} is not empty"
            assert 0 < length <= self.max_length, f"{length} tokens do not fit a slot"
            self._touched[slot] = max(self._touched[slot], length)

    def begin_decode(self, slots: Sequence[int], active: Sequence[bool] | None = None) -> StepView:
        """Return where the next token of each slot goes and what it attends to.

        Args:
            slots: the rows' slots, each with at least one token and room for one more.
            active: None, or one flag per slot of the whole cache; see ``T2SModel.decode``.
        """
        if active is not None:
            return self._fixed_view(slots, active)
        assert len(set(slots)) == len(slots) > 0
        for slot in slots:
            self._check_room(slot)
        positions = [self.lengths[slot] for slot in slots]
        return self._trimmed_view(tuple(slots), positions)

    def advance(self, slots: Sequence[int], by: Sequence[int]) -> None:
        """Take ``by[i]`` written tokens into the length of ``slots[i]``."""
        for slot, count in zip(slots, by, strict=True):
            self.lengths[slot] += count

    @contextmanager
    def unchanged_on_error(self) -> Iterator[None]:
        """Take back what a computation that fails has added to the lengths.

        What it wrote lies past them then, where the same tokens can be written again.
        """
        before = self.lengths.copy()
        try:
            yield
        except Exception:
            self.lengths[:] = before
            raise

    def check_integrity(self) -> None:
        """Assert every invariant of the bookkeeping and the memory (slow: reads all of it)."""
        free = sorted(self._free_slots)
        assert free == [slot for slot in range(self.num_slots) if not self._used[slot]]
        for slot, (length, touched) in enumerate(zip(self.lengths, self._touched, strict=True)):
            assert 0 <= length <= touched <= self.max_length, f"slot {slot}: bad length"
            assert self._used[slot] or touched == 0, f"slot {slot} is free but not empty"
            unused = self._memory[:, slot, :, :, touched : self.max_length]
            assert not unused.any(), f"slot {slot} holds something past its end"

    def _check_room(self, slot: int) -> None:
        assert self._used[slot], f"slot {slot} is not allocated"
        assert 0 < self.lengths[slot] < self.max_length, f"slot {slot} is empty or full"
        self._touched[slot] = max(self._touched[slot], self.lengths[slot] + 1)

    def _fixed_view(self, slots: Sequence[int], active: Sequence[bool]) -> StepView:
        assert list(slots) == list(range(self.num_slots)), "active needs all slots in order"
        assert len(active) == self.num_slots
        for slot in slots:
            if active[slot]:
                self._check_room(slot)
        positions = [
            length if on else self.max_length
            for length, on in zip(self.lengths, active, strict=True)
        ]
        ends = [length + 1 for length in self.lengths]
        capacity = self._memory.shape[4]
        return StepView(
            slots=tuple(slots),
            write_index=self._write_index(slice(0, self.num_slots), positions),
            read_length=capacity,
            rows=slice(0, self.num_slots),
            mask=self._mask(ends, capacity),
        )

    def _trimmed_view(self, slots: tuple[int, ...], positions: list[int]) -> StepView:
        first, batch = slots[0], len(slots)
        is_range = slots == tuple(range(first, first + batch))
        rows = slice(first, first + batch) if is_range else self._tensor(slots)
        write_index = self._write_index(rows, positions)
        ends = [position + 1 for position in positions]
        longest = max(ends)
        is_wasteful = not is_range or longest * batch > ROW_BY_ROW_WASTE * sum(ends)
        if self.device.type == "cpu" and is_wasteful:
            return StepView(slots, write_index, longest, rows, row_lengths=tuple(ends))
        mask = self._mask(ends, longest) if min(ends) < longest else None
        return StepView(slots, write_index, longest, rows, mask=mask)

    def _write_index(self, rows: slice | Tensor, positions: list[int]) -> Tensor:
        return (self._row_starts[rows] + self._tensor(positions)[:, None]).flatten()

    def _mask(self, ends: list[int], length: int) -> Tensor:
        hidden = torch.arange(length, device=self.device) >= self._tensor(ends)[:, None]  # (B, T)
        mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(hidden, float("-inf"))[:, None, None]

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, device=self.device)


def slot_bytes(dims: T2SDims, max_length: int, item_bytes: int) -> int:
    """Return the memory of one slot."""
    return dims.num_layers * 2 * dims.hidden * _capacity(max_length) * item_bytes


def _capacity(max_length: int) -> int:
    """Return a slot's columns: one past ``max_length`` takes what inactive rows write."""
    return -(-(max_length + 1) // CAPACITY_STEP) * CAPACITY_STEP


def _zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return zeros; on the CPU from an anonymous mapping, which costs nothing until written.

    ``torch.zeros`` writes every page; ``torch.empty`` promises no values; numpy asks for huge
    pages, and one of 2 MB spans many heads, so that a short sequence would commit a whole slot.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size_bytes = torch.Size(shape).numel() * dtype.itemsize
    if sys.platform == "win32":
        pages = mmap.mmap(-1, size_bytes)
    else:
        pages = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(shape)
