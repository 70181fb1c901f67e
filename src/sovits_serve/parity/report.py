"""Checks, the lines they print, and running them so that one crash costs one line.

A check compares one quantity with its limit. Knows no models and no file formats.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TextIO, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One comparison. ``tolerance`` bounds ``value`` from the side that the metric implies."""

    name: str
    metric: str
    value: float | int | str
    tolerance: float | int | None
    passed: bool

    def line(self) -> str:
        """Return the check as one line of JSON."""
        fields = {
            "name": self.name,
            "metric": self.metric,
            "value": _printable(self.value),
            "tolerance": self.tolerance,
            "pass": self.passed,
        }
        return json.dumps(fields, ensure_ascii=False)


def at_most(name: str, metric: str, value: float, tolerance: float) -> Check:
    """Pass when ``value <= tolerance`` (not a number fails)."""
    return Check(name, metric, value, tolerance, value <= tolerance)


def at_least(name: str, metric: str, value: float, tolerance: float) -> Check:
    """Pass when ``value >= tolerance`` (not a number fails)."""
    return Check(name, metric, value, tolerance, value >= tolerance)


@dataclass(frozen=True)
class Step:
    """A part of a task that can fail alone; ``run`` yields its checks."""

    name: str
    run: Callable[[], Iterable[Check]]


@dataclass(frozen=True)
class Task:
    """What one golden (a stem with its files) has checked. ``steps`` builds nothing heavy."""

    name: str
    files: tuple[Path, ...]
    steps: Callable[[], Iterable[Step]]


class Lazy(Generic[T]):
    """A value that several steps share: made when first asked for, made again after an error."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value: T | None = None

    def __call__(self) -> T:
        """Return the value."""
        if self._value is None:
            self._value = self._make()
        return self._value


@dataclass
class Report:
    """Prints checks as they come and counts them; notes go to a second stream."""

    lines: TextIO = field(default_factory=lambda: sys.stdout)
    notes: TextIO = field(default_factory=lambda: sys.stderr)
    num_checks: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, check: Check) -> None:
        """Print one check and count it."""
        self.num_checks += 1
        if not check.passed:
            self.failed.append(f"{check.name} ({check.metric})")
        print(check.line(), file=self.lines, flush=True)

    def note(self, text: str) -> None:
        """Print a remark that is not a check."""
        print(text, file=self.notes, flush=True)

    def close(self, elapsed_s: float) -> int:
        """Print the summary and return the exit status: 0 when everything passed, else 1."""
        passed = self.num_checks - len(self.failed)
        self.note(f"parity: {passed} of {self.num_checks} checks passed in {elapsed_s:.0f} s")
        for name in self.failed:
            self.note(f"parity: failed: {name}")
        return 1 if self.failed else 0


def run_task(task: Task, report: Report) -> None:
    """Run a task's steps; whatever a step raises becomes one failed check with its text."""
    for step in _steps(task):
        for check in _checks(step):
            report.add(check)


def _steps(task: Task) -> Iterator[Step]:
    try:
        yield from task.steps()
    # The report must go on whatever breaks, or one defect would hide all the others.
    except Exception as error:  # noqa: BLE001
        crash = _crash(task.name, error)
        yield Step(task.name, lambda: [crash])


def _checks(step: Step) -> Iterator[Check]:
    try:
        yield from step.run()
    except Exception as error:  # noqa: BLE001
        yield _crash(step.name, error)


def _crash(name: str, error: Exception) -> Check:
    return Check(name, "error", f"{type(error).__name__}: {error}", None, False)


def _printable(value: float | int | str) -> float | int | str:
    """JSON has no infinities; six significant digits say what a difference has to say."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value
