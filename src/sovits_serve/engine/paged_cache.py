"""The KV cache of a CUDA device: pages that all running sequences share, allocated once.

A slot is a place for a sequence; it holds pages for the tokens that it has, and gets more as it
grows. Kernels read no further than a slot's length, so that a page need not be wiped before it is
another's. ``kv_cache`` is the simple path's.
"""

import heapq
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sovits_serve.errors import ConfigError
from sovits_serve.models.cuda.pages import PAGE_TOKENS, num_pages
from sovits_serve.models.spec import T2SDims


class PagedCache:
    """Keys and values of every layer, and who holds which page.

    Attributes:
        num_pages: of all sequences together.
        page_table: int32 (S, pages of the longest sequence), on the device: each slot's pages in
            order. Behind the pages that a slot holds it says nothing.
    """

    def __init__(
        self,
        dims: T2SDims,
        *,
        num_slots: int,
        num_tokens: int,
        max_length: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Allocate everything.

        Args:
            dims: of the T2S model.
            num_slots: how many sequences can run at once.
            num_tokens: of all sequences together, rounded up to whole pages.
            max_length: most tokens of one sequence, at most ``num_tokens``.
            device: where keys and values are.
            dtype: their type.

        Raises:
            ConfigError: there is not as much memory.
        """
        assert 0 < max_length <= num_tokens
        assert num_slots > 0
        self.num_pages = num_pages(num_tokens)
        self.max_length = max_length
        width = dims.hidden // dims.num_heads
        shape = dims.num_layers, 2, dims.num_heads, self.num_pages * PAGE_TOKENS, width
        try:
            memory = torch.zeros(shape, dtype=dtype, device=device)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"kv_cache_tokens: {num_tokens} tokens need "
                f"{torch.Size(shape).numel() * dtype.itemsize} bytes, more than can be had"
            ) from error
        self._layers = tuple(memory.unbind(0))
        table = num_slots, num_pages(max_length)
        self._host_table = np.zeros(table, np.int32)
        self.page_table = torch.zeros(table, dtype=torch.int32, device=device)
        self._is_changed = False
        self._free_slots = list(range(num_slots))
        self._free_pages = list(range(self.num_pages))
        self._pages: dict[int, list[int]] = {}  # by slot

    @property
    def num_free_pages(self) -> int:
        """Return how many pages nobody holds."""
        return len(self._free_pages)

    def layer(self, index: int) -> Tensor:
        """Return one layer's memory (2, H, T, D_head)."""
        return self._layers[index]

    def allocate(self) -> int:
        """Take the lowest free slot, without pages."""
        assert self._free_slots, "allocate() without a free slot"
        slot = heapq.heappop(self._free_slots)
        self._pages[slot] = []
        return slot

    def num_held(self, slot: int) -> int:
        """Return how many pages a slot has."""
        return len(self._pages[slot])

    def num_missing(self, slot: int, length: int) -> int:
        """Return how many pages a slot lacks for so many tokens."""
        return max(0, num_pages(length) - len(self._pages[slot]))

    def grow(self, slot: int, length: int) -> None:
        """Give a slot pages for so many tokens; ``num_missing`` of them must be free."""
        assert 0 < length <= self.max_length, f"{length} tokens are more than a slot may have"
        pages, missing = self._pages[slot], self.num_missing(slot, length)
        assert missing <= len(self._free_pages), "grow() without free pages"
        for _ in range(missing):
            page = heapq.heappop(self._free_pages)
            self._host_table[slot, len(pages)] = page
            pages.append(page)
            self._is_changed = True

    def free(self, slot: int) -> None:
        """Give back a slot and its pages. What is queued on the device may still use them."""
        for page in self._pages.pop(slot):
            heapq.heappush(self._free_pages, page)
        heapq.heappush(self._free_slots, slot)

    def addresses(self, slot: int, length: int) -> npt.NDArray[np.int32]:
        """Return where a slot's first ``length`` tokens are, int32 (length)."""
        pages = np.asarray(self._pages[slot][: num_pages(length)], np.int32)
        places = np.arange(PAGE_TOKENS, dtype=np.int32)
        found: npt.NDArray[np.int32] = (pages[:, None] * PAGE_TOKENS + places).reshape(-1)
        return found[:length]

    @torch.inference_mode()
    def upload(self) -> None:
        """Bring ``page_table`` up to date on the current stream, without waiting."""
        if not self._is_changed:
            return
        is_cuda = self.page_table.device.type == "cuda"
        # Pinned anew each time: torch's allocator gives memory out again once it has been copied.
        staged = torch.empty(self._host_table.shape, dtype=torch.int32, pin_memory=is_cuda)
        staged.numpy()[:] = self._host_table
        self.page_table.copy_(staged, non_blocking=True)
        self._is_changed = False

    def check_integrity(self, slots: Iterable[int]) -> None:
        """Assert that exactly these slots hold pages, and each page has one holder or none."""
        assert set(self._pages) == set(slots)
        held = [page for pages in self._pages.values() for page in pages]
        assert sorted([*held, *self._free_pages]) == list(range(self.num_pages))
        for slot, pages in self._pages.items():
            assert self._host_table[slot, : len(pages)].tolist() == pages
