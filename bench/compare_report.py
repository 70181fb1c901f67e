"""What a comparison came to: one JSON file, a table in Markdown, a picture."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from sovits_serve.supervisor.devices import open_nvml, visible_gpus

Row = Mapping[str, object]
_COLUMNS = (
    "server", "mode", "clients", "good", "audio-s/s", "times", "TTFA p50", "p99", "latency p50",
    "p99", "RTF p50", "s a text", "underruns", "GPU busy", "GPU GiB", "RSS GiB",
)  # fmt: skip


def machine(device: str) -> dict[str, object]:
    """Return what figures depend on: hardware, driver, versions, and how busy the machine is."""
    facts: dict[str, object] = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    nvml = open_nvml() if device == "cuda" else None
    if nvml is not None:
        gpus = visible_gpus(nvml, os.environ.get("CUDA_VISIBLE_DEVICES"))
        facts["gpus"] = [str(nvml.nvmlDeviceGetName(gpu)) for gpu in gpus]
        facts["driver"] = str(nvml.nvmlSystemGetDriverVersion())
    return facts


def write_report(
    prefix: Path, settings: Mapping[str, object], rows: Sequence[Row], baseline: str
) -> str:
    """Write PREFIX.json, PREFIX.md and PREFIX.png and return the table."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({**settings, "rows": list(rows)}, ensure_ascii=False, indent=1)
    prefix.with_suffix(".json").write_text(content + "\n", encoding="utf-8")
    facts = "; ".join(f"{name} {value}" for name, value in settings.items())
    table = f"{markdown(rows, baseline)}\n{facts}\n"
    prefix.with_suffix(".md").write_text(table, encoding="utf-8")
    plot(prefix.with_suffix(".png"), rows)
    return table


def markdown(rows: Sequence[Row], baseline: str) -> str:
    """Return a table; "times" is audio-s/s by the best of the baseline in the same mode."""
    lines = [" | ".join(_COLUMNS), " | ".join(["---"] * 2 + ["---:"] * (len(_COLUMNS) - 2))]
    lines += [" | ".join(_cells(row, _best(rows, baseline, row["mode"]))) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _best(rows: Sequence[Row], baseline: str, mode: object) -> float:
    speeds = [_speed(row) for row in rows if row["server"] == baseline and row["mode"] == mode]
    return max(speeds, default=0.0)


def _cells(row: Row, best: float) -> list[str]:
    speed, gpu_memory = _speed(row), row.get("gpu_memory_gib")
    return [
        str(row["server"]),
        str(row["mode"]),
        str(row["clients"]),
        f"{row['num_good']}/{row['num_requests']}",
        f"{speed:.2f}" if speed < 100 else f"{speed:.0f}",
        f"{speed / best:.1f}" if best else "",
        _percentile(row, "ttfa_ms", "p50"),
        _percentile(row, "ttfa_ms", "p99"),
        _percentile(row, "latency_ms", "p50"),
        _percentile(row, "latency_ms", "p99"),
        _percentile(row, "real_time_factor", "p50"),
        str(row["mean_audio_s"]),
        str(row.get("streams_with_underruns", "")),
        f"{row['gpu_busy_percent']} %" if "gpu_busy_percent" in row else "",
        str(gpu_memory["peak"]) if isinstance(gpu_memory, dict) else "",
        str(row["rss_gib"]),
    ]


def _speed(row: Row) -> float:
    speed = row["audio_s_per_s"]
    assert isinstance(speed, float)
    return speed


def _value(row: Row, group: str, name: str) -> float:
    values = row[group]
    assert isinstance(values, dict)
    return float(values.get(name, "nan"))


def _percentile(row: Row, group: str, name: str) -> str:
    value = _value(row, group, name)
    if math.isnan(value):
        return ""
    if group == "real_time_factor":
        return f"{value:.3f}"
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Draw throughput of whole answers and first audio of streams over the number of clients."""
    from matplotlib.figure import Figure  # heavy

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, server in enumerate(dict.fromkeys(str(row["server"]) for row in rows)):
        style = {"marker": "o", "color": f"C{index}", "label": server}
        whole = [row for row in rows if row["server"] == server and row["mode"] == "whole"]
        heard = [r for r in rows if r["server"] == server and r["mode"] in {"stream", "paced"}]
        streams = sorted(heard, key=lambda row: float(str(row["clients"])))
        if whole:
            left.plot([r["clients"] for r in whole], [_speed(r) for r in whole], **style)
        first_ms = [_value(row, "ttfa_ms", "p50") for row in streams]
        if streams:
            right.plot([r["clients"] for r in streams], first_ms, **style)
    left.set(title="whole answers", xlabel="clients", ylabel="seconds of audio per second")
    right.set(title="streams", xlabel="listeners", ylabel="first audio, p50, ms")
    for side in (left, right):
        side.set(xscale="log", yscale="log")
        side.grid(alpha=0.3, which="both")
        side.legend()
    figure.savefig(path, dpi=120)


def _commit() -> str:
    """Return which commit is measured, with a + if files are changed; "" outside of a checkout."""
    command = ["git", "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
