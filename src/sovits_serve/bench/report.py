"""What a run came to: percentiles, one line of JSON, a table for people, a picture."""

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from sovits_serve.bench.load import Outcome

_PERCENTILES = (50, 90, 95, 99, 100)
_MAX_PROBLEMS = 5
Figures = dict[str, object]


def percentiles(values: Sequence[float], scale: float = 1.0) -> dict[str, float]:
    """Return p50 to p99 and the largest (``max``), each a value that was there."""
    ordered = sorted(values)
    if not ordered:
        return {}
    named = {}
    for percent in _PERCENTILES:
        place = min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)
        named["max" if percent == 100 else f"p{percent}"] = round(ordered[place] * scale, 3)
    return named


def summarize(outcomes: Sequence[Outcome], *, is_streaming: bool) -> Figures:
    """Return the figures of one run; those of audio are over the requests without a problem."""
    good = [outcome for outcome in outcomes if not outcome.problem]
    problems = Counter(outcome.problem for outcome in outcomes if outcome.problem)
    wall_s = max((o.end_s for o in outcomes), default=0.0) - min(
        (o.begin_s for o in outcomes), default=0.0
    )
    audio_s = sum(outcome.audio_s for outcome in good)
    figures: Figures = {
        "num_requests": len(outcomes),
        "num_good": len(good),
        "problems": dict(problems.most_common(_MAX_PROBLEMS)),
        "wall_s": round(wall_s, 3),
        "requests_per_s": round(len(good) / wall_s, 3) if wall_s else 0.0,
        "audio_s": round(audio_s, 2),
        "audio_s_per_s": round(audio_s / wall_s, 3) if wall_s else 0.0,
        "latency_ms": percentiles([o.end_s - o.begin_s for o in good], 1000),
        "ttfa_ms": percentiles([o.first_s - o.begin_s for o in good if o.first_s], 1000),
        "real_time_factor": percentiles([(o.end_s - o.begin_s) / o.audio_s for o in good]),
        "mean_audio_s": round(statistics.fmean(o.audio_s for o in good), 3) if good else 0.0,
    }
    if is_streaming:
        playbacks = [outcome.playback() for outcome in good]
        heard = [playback for playback in playbacks if playback.num_underruns]
        figures |= {
            "gap_ms": percentiles([gap for p in playbacks for gap in p.gaps_s], 1000),
            "streams_with_underruns": len(heard),
            "underruns": sum(playback.num_underruns for playback in heard),
            "waited_ms": percentiles([p.waited_s for p in playbacks], 1000),
        }
    return figures


def table(title: str, rows: Sequence[Mapping[str, object]]) -> Table:
    """Return runs side by side, one line each."""
    columns = Table(title=title, title_justify="left")
    names = ("load", "good", "audio-s/s", "requests/s")
    for name in (*names, "TTFA p50", "p99", "latency p50", "p99", "RTF p50", "underruns"):
        columns.add_column(name, justify="right", no_wrap=True)
    has_gpu = any("gpu_busy_percent" in row for row in rows)
    for name in ("GPU busy", "GPU memory") if has_gpu else ():
        columns.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        columns.add_row(
            str(row["load"]),
            f"{row['num_good']}/{row['num_requests']}",
            f"{row['audio_s_per_s']:.1f}",
            f"{row['requests_per_s']:.1f}",
            *(_cell(row, *path) for path in _CELLS),
            str(row.get("streams_with_underruns", "")),
            *(_gpu_cells(row) if has_gpu else ()),
        )
    return columns


def _gpu_cells(row: Mapping[str, object]) -> tuple[str, str]:
    memory = row.get("gpu_memory_gib")
    if not isinstance(memory, dict):
        return "-", "-"
    return f"{row['gpu_busy_percent']:.0f} %", f"{memory['peak']:.1f} GiB"


_CELLS = (
    ("ttfa_ms", "p50", " ms"),
    ("ttfa_ms", "p99", " ms"),
    ("latency_ms", "p50", " ms"),
    ("latency_ms", "p99", " ms"),
    ("real_time_factor", "p50", ""),
)


def _cell(row: Mapping[str, object], group: str, name: str, unit: str) -> str:
    values = row[group]
    assert isinstance(values, dict)
    if name not in values:
        return "-"
    return f"{values[name]:.0f}{unit}" if unit else f"{values[name]:.3f}"


def json_line(command: str, setting: Mapping[str, object], rows: Sequence[Figures]) -> str:
    """Return everything as one line of JSON."""
    return json.dumps({"command": command, **setting, "runs": list(rows)}, ensure_ascii=False)


def plot(path: Path, title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Draw throughput and delays over the load.

    Raises:
        ModuleNotFoundError: matplotlib is missing.
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # only who wants a picture needs it

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    loads = [str(row["load"]) for row in rows]
    left.plot(loads, [row["audio_s_per_s"] for row in rows], marker="o")
    left.set(xlabel="load", ylabel="seconds of audio per second", ylim=(0, None))
    for group, label in (("ttfa_ms", "first audio"), ("latency_ms", "whole")):
        for name, style in (("p50", "-"), ("p99", "--")):
            values = [row[group].get(name, float("nan")) for row in rows]  # type: ignore[attr-defined]
            right.plot(loads, values, style, marker="o", label=f"{label}, {name}")
    right.set(xlabel="load", ylabel="ms", yscale="log")
    right.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
