"""What describes a packed batch to the kernels: int32 tables, written with one copy.

Rows lie one after another without gaps. A launch has a bucket, the most tokens it can take; its
tables have the bucket's size, so that a small batch copies little.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sovits_serve.models.cuda.graphs import record
from sovits_serve.models.cuda.packed_kernels import ATTENTION_TILE

Integers = npt.NDArray[np.int32]
# Every table begins at a multiple of 16 bytes, as Triton assumes of pointers at best.
_ALIGNMENT = 4


class Tables(NamedTuple):
    """Views of one int32 memory, on the host or the device."""

    num_tokens: Tensor  # the counts are one number each
    num_rows: Tensor
    num_tiles: Tensor
    num_features: Tensor
    # One number per token.
    ids: Tensor
    positions: Tensor  # what the position table is read at
    features: Tensor  # which row of the features, -1 for zeros
    addresses: Tensor  # where its key and value go in the cache, see ``pages``
    # One number per row.
    starts: Tensor  # its first token
    lasts: Tensor  # its last token
    lengths: Tensor
    text_lengths: Tensor
    # One number per tile of queries.
    tile_rows: Tensor
    tile_firsts: Tensor  # the place of its first query in the row


@dataclass(frozen=True)
class PackedRow:
    """One row: int32 arrays of one number per token, as in ``Tables``."""

    ids: Integers
    positions: Integers
    features: Integers | None
    text_length: int
    addresses: Integers | None = None


class TableMemory:
    """The device's memory of the tables, and its uploads."""

    def __init__(self, max_tokens: int, max_rows: int, device: torch.device) -> None:
        self._max_rows = max_rows
        self._is_cuda = device.type == "cuda"
        self._places = np.arange(max_tokens, dtype=np.int32)
        size = sum(_sizes(max_tokens, max_rows))
        self._memory = torch.zeros(size, dtype=torch.int32, device=device)

    def tables(self, bucket: int) -> Tables:
        """Return the device's tables of a bucket."""
        return _split(self._memory, bucket, self._max_rows)

    @torch.inference_mode()
    def clear(self) -> None:
        """Describe an empty batch: kernels then compute and write nothing."""
        self._memory.zero_()

    def upload(self, bucket: int, rows: Sequence[PackedRow]) -> None:
        """Describe ``rows``, in this order, without waiting for the device."""
        size = sum(_sizes(bucket, self._max_rows))
        # Pinned anew each time: torch's allocator gives memory out again once it has been copied.
        memory = torch.empty(size, dtype=torch.int32, pin_memory=self._is_cuda)
        self._fill(_split(memory, bucket, self._max_rows), rows)
        self._memory[:size].copy_(memory, non_blocking=True)

    def _fill(self, tables: Tables, rows: Sequence[PackedRow]) -> None:
        host = {name: view.numpy() for name, view in tables._asdict().items()}
        start = first_tile = num_features = 0
        for index, row in enumerate(rows):
            length = len(row.ids)
            end = start + length
            host["ids"][start:end] = row.ids
            host["positions"][start:end] = row.positions
            if row.addresses is not None:
                host["addresses"][start:end] = row.addresses
            if row.features is None:
                host["features"][start:end] = -1
            else:
                host["features"][start:end] = row.features
                num_features = max(num_features, int(row.features.max()) + 1)
            host["starts"][index] = start
            host["lasts"][index] = end - 1
            host["lengths"][index] = length
            host["text_lengths"][index] = row.text_length
            firsts = self._places[:length:ATTENTION_TILE]
            end_tile = first_tile + len(firsts)
            host["tile_rows"][first_tile:end_tile] = index
            host["tile_firsts"][first_tile:end_tile] = firsts
            start, first_tile = end, end_tile
        host["num_tokens"][0] = start
        host["num_rows"][0] = len(rows)
        host["num_tiles"][0] = first_tile
        host["num_features"][0] = num_features


def _sizes(bucket: int, max_rows: int) -> list[int]:
    """Return the length of every table, in the order of ``Tables``."""
    num_tiles = bucket // ATTENTION_TILE + max_rows  # a row's last tile may be a part of one
    sizes = (1,) * 4 + (bucket,) * 4 + (max_rows,) * 4 + (num_tiles,) * 2
    return [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]


def _split(memory: Tensor, bucket: int, max_rows: int) -> Tables:
    sizes = _sizes(bucket, max_rows)
    return Tables(*torch.split(memory[: sum(sizes)], sizes))


class BucketGraphs:
    """Runs the same launches over batches of any size up to a bucket's, captured or directly."""

    def __init__(
        self,
        buckets: Sequence[int],
        memory: TableMemory,
        launch: Callable[[int], None],
    ) -> None:
        self.buckets = tuple(sorted(buckets))
        self.memory = memory
        self._launch = launch
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    @torch.inference_mode()
    def capture(self) -> None:
        """Compile every kernel and record one graph per bucket."""
        self.memory.clear()
        pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for bucket in reversed(self.buckets):
                self._graphs[bucket], _ = record(partial(self._launch, bucket), pool)
        torch.cuda.current_stream().wait_stream(stream)

    def bucket_of(self, num_tokens: int) -> int:
        """Return the smallest bucket that takes so many tokens."""
        return next(bucket for bucket in self.buckets if bucket >= num_tokens)

    def run(self, rows: Sequence[PackedRow]) -> None:
        """Compute a batch; nothing waits for the device."""
        bucket = self.bucket_of(sum(len(row.ids) for row in rows))
        self.memory.upload(bucket, rows)
        graph = self._graphs.get(bucket)
        if graph is None:
            self._launch(bucket)
        else:
            graph.replay()
