"""Finding the goldens of a directory and running all that were asked for."""

import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.parity import (
    checkpoints,
    end_to_end,
    phonemes,
    postprocess,
    reference,
    sampler,
    sovits,
    t2s,
    text_division,
    text_features,
)
from sovits_serve.parity.golden import GoldenDirectory
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.report import Report, Task, run_task

_SUFFIXES = (".npz", ".ckpt", ".json")
# Not models of their own, but inputs of other goldens.
_INPUTS = (".weights.json", ".meta.json", "index.json")


class UsageError(Exception):
    """Nothing can be checked: a wrong directory, or a filter that matches nothing."""


def run(path: Path, precision: Precision, report: Report, *, only: Sequence[str] = ()) -> int:
    """Check all goldens of a directory, or those that a glob of ``only`` names.

    Returns:
        The exit status: 0 when everything passed, else 1.

    Raises:
        UsageError: there is nothing to check.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: no such directory")
    use_exact_kernels()
    directory = GoldenDirectory(path)
    tasks = list(find(directory, precision, report))
    if not tasks:
        raise UsageError(f"{path}: holds no golden files that belong here")
    chosen = [task for task in tasks if not only or matches(task, only)]
    if not chosen:
        names = ", ".join(dict.fromkeys(task.name for task in tasks))
        raise UsageError(f"--only {' '.join(only)} matches none of: {names}")
    if not only:
        _note_unused(directory, tasks, report)
    return _run(tasks, chosen, report)


def find(directory: GoldenDirectory, precision: Precision, report: Report) -> Iterator[Task]:
    """Yield the tasks of every kind of golden, cheap ones first."""
    yield from checkpoints.find(directory, report)
    yield from text_division.find(directory, report)
    yield from phonemes.find(directory, report)
    yield from sampler.find(directory, precision, report)
    yield from postprocess.find(directory)
    yield from text_features.find(directory, precision, report)
    yield from reference.find(directory, precision, report)
    yield from t2s.find(directory, precision, report)
    yield from sovits.find(directory, precision)
    yield from end_to_end.find(directory, precision, report)


def matches(task: Task, globs: Sequence[str]) -> bool:
    """Tell whether a glob names the task or one of its files."""
    names = [task.name, *(path.name for path in task.files)]
    return any(fnmatchcase(name, glob) for name in names for glob in globs)


def _run(tasks: list[Task], chosen: list[Task], report: Report) -> int:
    began = time.monotonic()
    tasks.clear()  # a task holds its models: each must be able to go when it is done
    chosen.reverse()
    with torch.inference_mode():
        while chosen:
            run_task(chosen.pop(), report)
    return report.close(time.monotonic() - began)


def _note_unused(directory: GoldenDirectory, tasks: list[Task], report: Report) -> None:
    """Name the files that no check reads: other issues' goldens, and what is not known."""
    used = {path.name for task in tasks for path in task.files}
    for entry in sorted(directory.path.iterdir()):
        is_golden = entry.suffix in _SUFFIXES and not entry.name.endswith(_INPUTS)
        if entry.is_file() and is_golden and entry.name not in used:
            report.note(f"parity: {entry.name} skipped: nothing here checks it yet")
