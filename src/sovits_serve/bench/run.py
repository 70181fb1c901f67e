"""What ``sovits-serve bench`` does with a server: runs at one load or at several, and a report."""

import asyncio
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sovits_serve import __version__
from sovits_serve.bench.gpu import local_sampler
from sovits_serve.bench.load import Load, Outcome, Target
from sovits_serve.bench.report import Figures, json_line, plot, summarize, table
from sovits_serve.bench.texts import Language, Length, texts
from sovits_serve.cli_errors import output_errors
from sovits_serve.errors import SynthesisError

_FILE_WIDTH = 150  # columns of what goes to a file or a pipe


@dataclass(frozen=True)
class BenchJob:
    """What was asked for; see the command's options.

    Attributes:
        loads: numbers of clients, or with ``is_open`` requests per second.
        num_requests: of each run; 0: as many as make every client ask several times.
        seconds: not 0: each run of clients goes on for so long, whatever ``num_requests``.
    """

    target: Target
    loads: Sequence[float]
    is_open: bool = False
    num_requests: int = 0
    seconds: float = 0.0
    num_warm_up: int = 4
    language: Language = "en"
    length: Length = "medium"
    seed: int = 0
    timeout_s: float = 120.0
    json_path: Path | None = None
    plot_path: Path | None = None
    command: str = field(default_factory=lambda: "sovits-serve " + " ".join(sys.argv[1:]))


def run_bench(job: BenchJob) -> None:
    """Run the job; the table and, unless it goes to a file, the JSON go to standard output.

    Raises:
        StopCommand: wrong usage, or an output cannot be written.
        ModuleNotFoundError: what draws the plot is missing.
        SynthesisError: not one request came to good speech.
    """
    job.target.address  # noqa: B018  # what is wrong is told before any load
    if job.plot_path is not None:
        import_module("matplotlib.figure")
    rows = measure(job)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_WIDTH)
    title = f"{job.target.url}, {job.target.api}, {job.language} {job.length}"
    console.print(table(title, rows), markup=False)
    for row in rows:
        for problem, count in row["problems"].items():  # type: ignore[attr-defined]
            console.print(f"{row['load']}: {count} x {problem}", markup=False, highlight=False)
    setting: Figures = {
        "version": __version__,
        "url": job.target.url,
        "api": job.target.api,
        "is_streaming": job.target.is_streaming,
        "language": job.language,
        "length": job.length,
        "seed": job.seed,
    }
    line = json_line(job.command, setting, rows)
    if job.json_path is None:
        sys.stdout.write(line + "\n")
    else:
        with output_errors(job.json_path):
            job.json_path.write_text(line + "\n", encoding="utf-8")
    if job.plot_path is not None:
        with output_errors(job.plot_path):
            plot(job.plot_path, title, rows)
    if not any(row["num_good"] for row in rows):
        raise SynthesisError("no request was answered with good speech")


def measure(job: BenchJob) -> list[Figures]:
    """Return the figures of each load of the job, and write nothing."""
    return asyncio.run(_run(job))


async def _run(job: BenchJob) -> list[Figures]:
    source = texts(job.language, job.length, job.seed)
    rows = []
    load = Load(job.target, source, seed=job.seed, timeout_s=job.timeout_s)
    try:
        if job.num_warm_up:
            await load.closed(job.num_warm_up, job.num_warm_up)
        for amount in job.loads:
            gc.collect()
            with local_sampler(job.target.address[0]) as sampler:
                outcomes = await _at(job, load, amount)
            name = f"{amount:g}/s" if job.is_open else f"{amount:g}"
            figures = summarize(outcomes, is_streaming=job.target.is_streaming)
            rows.append({"load": name, **figures, **sampler.use.figures()})
    finally:
        load.close()
    return rows


async def _at(job: BenchJob, load: Load, amount: float) -> list[Outcome]:
    if job.seconds and not job.is_open:
        return await load.closed_for(round(amount), job.seconds)
    count = job.num_requests or max(16, round(4 * amount))
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
    with bar:
        task = bar.add_task(
            f"{amount:g}{' per second' if job.is_open else ' clients'}", total=count
        )
        if job.is_open:
            return await load.open(amount, count, lambda: bar.advance(task))
        return await load.closed(round(amount), count, lambda: bar.advance(task))
