"""Goldens of the sampler: single steps with given logits, history and noise."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from sovits_serve.engine.request import MIN_TOKENS
from sovits_serve.engine.sampling import (
    SamplingRows,
    SamplingState,
    draw,
    penalize,
    probabilities,
)
from sovits_serve.parity import limits
from sovits_serve.parity.golden import Arrays, GoldenDirectory, integer, number, records
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.report import Check, Report, Step, Task
from sovits_serve.protocol.messages import SamplingParams


def find(directory: GoldenDirectory, precision: Precision, report: Report) -> Iterator[Task]:
    """Yield a task per ``.npz`` with ``c0_logits``, ``c0_q``, ``c0_probs`` and so on."""
    for stem, arrays in directory.arrays.items():
        if not arrays.match(r"c\d+_logits") or not arrays.match(r"c\d+_q"):
            continue
        metas = records(directory.json(f"{stem}.meta.json"))
        if not metas:
            report.note(f"parity: {stem} skipped: {stem}.meta.json is missing")
            continue
        files = directory.files(stem)
        yield Task(stem, files, partial(_steps, stem, arrays, metas, precision.device))


def read_params(meta: dict[str, object]) -> SamplingParams:
    """Read sampling parameters under upstream's names."""
    top_k = meta.get("top_k")
    penalty = meta["repetition_penalty"] if "repetition_penalty" in meta else meta["rep"]
    return SamplingParams(
        seed=0,
        top_k=None if top_k is None else integer(top_k),
        top_p=number(meta.get("top_p", 1.0)),
        temperature=number(meta.get("temperature", 1.0)),
        repetition_penalty=number(penalty),
    )


def _steps(
    stem: str, arrays: Arrays, metas: list[dict[str, object]], device: torch.device
) -> Iterator[Step]:
    for meta in metas:
        key = f"c{integer(meta['case'])}"
        yield Step(f"{stem}/{key}", partial(_check, f"{stem}/{key}", arrays, key, meta, device))


def _check(
    name: str, arrays: Arrays, key: str, meta: dict[str, object], device: torch.device
) -> Iterator[Check]:
    logits = arrays.tensor(f"{key}_logits").to(device)
    rows = _rows(read_params(meta), arrays.tensor(f"{key}_prev"), logits)
    # Late enough that EOS is allowed: the recorded calls are of the sampler alone.
    positions = torch.full((len(logits),), MIN_TOKENS, device=device)
    scores = penalize(logits, rows, positions)
    best = arrays.tensor(f"{key}_logits_after_penalty_argmax")
    yield limits.equal(f"{name}_penalised_best", scores.argmax(-1), best)
    yield limits.difference(
        f"{name}_probs",
        probabilities(scores, rows),
        arrays.tensor(f"{key}_probs"),
        limits.PROBABILITIES,
    )
    noise = arrays.tensor(f"{key}_q").to(device)
    tokens = draw(logits, rows, positions, noise).tokens
    yield limits.equal(f"{name}_idx", tokens, arrays.tensor(f"{key}_idx"))


def _rows(params: SamplingParams, previous: Tensor, logits: Tensor) -> SamplingRows:
    state = SamplingState(len(logits), logits.shape[1], logits.device)
    for row, tokens in enumerate(previous):
        state.set_row(row, params, segment=0, seen=tokens)
    return state.rows(torch.arange(len(logits)))
