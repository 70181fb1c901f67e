"""Goldens of what happens around the models: batches of sentences, joining to int16, overlap-add."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from sovits_serve.audio.crossfade import SEARCH_SAMPLES, find_shift, sola
from sovits_serve.audio.postprocess import join_fragments
from sovits_serve.parity import batching, limits, pcm
from sovits_serve.parity.golden import (
    Arrays,
    GoldenDirectory,
    as_list,
    integer,
    integers,
    number,
    record,
    records,
)
from sovits_serve.parity.report import Check, Step, Task

FloatArray = npt.NDArray[np.float32]

# Correlations closer than this are a tie: float32 sums in another order may choose the other.
_TIED_CORRELATION = 1e-4
_MAX_ALTERNATIVES = 1000


def find(directory: GoldenDirectory) -> Iterator[Task]:
    """Yield a task per meta file with ``bucket``, ``post`` or ``sola`` cases."""
    for stem in directory.stems(".meta.json"):
        meta = record(directory.json(f"{stem}.meta.json"))
        if {"bucket", "post", "sola"} & meta.keys():
            arrays = directory.arrays.get(stem)
            yield Task(stem, directory.files(stem), partial(_steps, stem, meta, arrays))


def _steps(stem: str, meta: dict[str, object], arrays: Arrays | None) -> Iterator[Step]:
    for index, case in enumerate(records(meta.get("bucket"))):
        name = f"{stem}/bucket{index}"
        yield Step(name, partial(_check_batches, name, case))
    if arrays is None:
        return
    for case in records(meta.get("post")):
        name = f"{stem}/p{integer(case['case'])}"
        yield Step(name, partial(_check_join, name, case, arrays))
    for case in records(meta.get("sola")):
        name = f"{stem}/s{integer(case['case'])}"
        yield Step(name, partial(_check_sola, name, case, arrays))


def _check_batches(name: str, case: dict[str, object]) -> Iterator[Check]:
    found = batching.batches(
        integers(case["norm_text_lens"]),
        batch_size=integer(case["batch_size"]),
        threshold=number(case["threshold"]),
        split_bucket=bool(case["split_bucket"]),
    )
    yield limits.same(name, found, case["batch_index_list"])


def _check_join(name: str, case: dict[str, object], arrays: Arrays) -> Iterator[Check]:
    key = f"p{integer(case['case'])}"
    inputs = iter([_array(arrays, match.group(0)) for match in arrays.match(rf"{key}_in\d+")])
    by_batch = [list(islice(inputs, size)) for size in integers(case["batch_sizes"])]
    fragments = [fragment for batch in by_batch for fragment in batch]
    if case["split_bucket"]:
        indices = [integers(row) for row in as_list(case["batch_index_list"])]
        fragments = batching.in_text_order(by_batch, indices)
    # Upstream measures the silence at the decoder's rate, whatever rate it says the audio has.
    ours = join_fragments(
        fragments,
        interval_s=number(case["fragment_interval"]),
        rate_hz=integer(case["model_sampling_rate"]),
    )
    recorded = np.asarray(arrays.array(f"{key}_out"), dtype=np.int16)
    yield from pcm.check(name, ours, recorded, limits.PCM_STAGE)


def _check_sola(name: str, case: dict[str, object], arrays: Arrays) -> Iterator[Check]:
    key = f"s{integer(case['case'])}"
    fragments = [_array(arrays, match.group(0)) for match in arrays.match(rf"{key}_in\d+")]
    overlap, search = integer(case["overlap_len"]), integer(case["search_len"])
    recorded = arrays.tensor(f"{key}_out")
    ours = sola(fragments, overlap, search)
    check = limits.difference(name, torch.from_numpy(ours), recorded, limits.AUDIO)
    if not check.passed:
        alternatives = islice(_tied_joins(fragments, overlap, search), _MAX_ALTERNATIVES)
        tied = (
            limits.difference(f"{name}_tied", torch.from_numpy(other), recorded, limits.AUDIO)
            for other in alternatives
        )
        check = next((other for other in tied if other.passed), check)
    yield check


def _tied_joins(fragments: Sequence[FloatArray], overlap: int, search: int) -> Iterator[FloatArray]:
    """Yield the joins that come out when ties of the correlation are broken otherwise."""
    if len(fragments) == 1:
        yield fragments[0]
        return
    first, second, *rest = fragments
    for shift in tied_shifts(first, second, overlap, search):
        # Just the overlap plus the shift: with nothing to search, sola takes what it is given.
        joined = sola([first, second[shift:]], overlap, 0)
        head = joined[: len(first) - overlap]
        for tail in _tied_joins([joined[len(head) :], *rest], overlap, search):
            yield np.concatenate([head, tail])


def tied_shifts(
    previous: FloatArray,
    current: FloatArray,
    overlap: int,
    search: int = SEARCH_SAMPLES,
    *,
    tie: float = _TIED_CORRELATION,
) -> list[int]:
    """Return all shifts that fit as well as the best one, within rounding."""
    tail = previous[len(previous) - overlap :].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(
        current[: overlap + search].astype(np.float64), overlap
    )
    correlation = (windows @ tail) / np.sqrt((windows**2).sum(1) + 1e-8)
    best = correlation[find_shift(previous, current, overlap, search)]
    is_tied = correlation >= best - tie * np.linalg.norm(tail)
    return [int(shift) for shift in np.flatnonzero(is_tied)]


def _array(arrays: Arrays, key: str) -> FloatArray:
    return np.asarray(arrays.array(key), dtype=np.float32)
