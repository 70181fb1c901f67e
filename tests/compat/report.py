"""Results as a table for docs/compatibility.md."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.compat.result import Result
from tests.compat.servers import NUM_WORKERS, SERVERS

BEGIN = "<!-- made by scripts/compat --markdown; begin -->"
END = "<!-- end -->"
_HEAD = (
    "server",
    "load",
    "machine's load average",
    "alive after",
    "slowest `/livez` during the load",
    "ready after",
    "loads of each engine",
    "engine restarts",
    "worker processes seen",
    "right of concurrent",
    "slot free after leaving, p95",
    "engine killed: body",
    "SIGTERM: server, engines",
    "verdict",
)


def markdown(results: Sequence[Result], revision: str) -> str:
    """Return the table, and under it what is wrong, word for word."""
    where = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} at {revision}: Python {platform.python_version()}, "
        f"{platform.system()}, {os.cpu_count()} cores, {NUM_WORKERS} HTTP workers, 2 engines."
    )
    lines = [
        where,
        "",
        _row(_HEAD),
        _row(["---"] * len(_HEAD)),
        *(_row(_cells(result)) for result in results),
    ]
    wrong = [result for result in results if result.problems]
    for result in wrong:
        lines += ["", f"{result.server}, {result.kind}:", ""]
        lines += [f"- {problem}" for problem in result.problems]
    return "\n".join(lines) + "\n"


def write_into(document: Path, table: str) -> None:
    """Replace the part of a document that is made by this script."""
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")


def _cells(result: Result) -> Iterable[str]:
    titles = {server.name: server.title for server in SERVERS}
    yield f"{titles[result.server]} {result.version}"
    yield f"{result.kind} {result.load_s:g} s"
    yield f"{result.machine_load:.1f}"
    yield _seconds(result.livez_s)
    yield _seconds(result.livez_worst_s)
    yield _seconds(result.ready_s)
    yield _counts(result.num_loads, 0)
    yield (
        str(sum(result.num_starts.values()) - len(result.num_starts)) if result.num_starts else "-"
    )
    yield "-" if result.num_workers_seen is None else str(result.num_workers_seen)
    yield "-" if result.num_right is None else f"{result.num_right} of {result.num_requests}"
    yield _seconds(result.leave_p95_s)
    yield result.broken_end or "-"
    yield f"{_seconds(result.stop_server_s)}, {_seconds(result.stop_engines_s)}"
    yield "wrong, see below" if result.problems else "right"


def _counts(counts: dict[str, int], less: int) -> str:
    return " + ".join(str(count - less) for count in counts.values()) or "-"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
