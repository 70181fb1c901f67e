"""How upstream groups sentences into batches and puts the results back in order.

Our engine batches otherwise (see docs/parity.md); a request recorded with several sentences can
only be compared when the sentences are grouped as they were.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def batches(
    lengths: Sequence[int], *, batch_size: int, threshold: float, split_bucket: bool
) -> list[list[int]]:
    """Return the indices of each batch, for texts of these lengths.

    Without buckets the order stays. With them the texts are sorted by length, and a batch shrinks
    from its long end until its upper median is at least ``threshold`` of its mean.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, TTS.to_batch. Differs: indices only.
    """
    if not split_bucket:
        order = list(range(len(lengths)))
        return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    remaining = sorted(range(len(lengths)), key=lambda index: lengths[index])
    result: list[list[int]] = []
    while remaining:
        size = min(batch_size, len(remaining))
        while size > 1 and not _is_even([lengths[i] for i in remaining[:size]], threshold):
            size -= 1
        result.append(remaining[:size])
        remaining = remaining[size:]
    return result


def _is_even(lengths: list[int], threshold: float) -> bool:
    values = np.array(lengths, dtype=np.float32)
    return bool(values[len(values) // 2] / (values.mean() + 1e-8) >= threshold)


def in_text_order(results: Sequence[Sequence[T]], indices: Sequence[Sequence[int]]) -> list[T]:
    """Return the results of batches in the order of their texts."""
    pairs = [
        (index, result)
        for batch, row in zip(results, indices, strict=True)
        for result, index in zip(batch, row, strict=True)
    ]
    return [result for _, result in sorted(pairs, key=lambda pair: pair[0])]
