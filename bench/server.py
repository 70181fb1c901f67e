"""The server without models: overhead, throughput, limits, memory, faults.

Real processes throughout: ``sovits-serve serve`` with two HTTP workers, the engine of the tests
(its audio is a hash of what was asked, so that answers can be checked), and the clients of
``server_load.py`` on the same cores. Beside times, which depend on what else the machine does,
every row that is a load has the processor time per request of each process, which hardly does.

    python bench/server.py
    python bench/server.py --short --rows overhead throughput
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version

import server_faults
import server_limits
import server_speed

_LIBRARIES = ("uvicorn", "starlette", "fastapi", "httptools", "uvloop", "msgspec")
_Rows = Callable[[bool], dict[str, dict]]
_BENCHMARKS: dict[str, _Rows] = {
    "overhead": lambda is_short: server_speed.overhead(3 if is_short else 15),
    "throughput": lambda is_short: server_speed.throughput(3 if is_short else 10),
    "livez": lambda is_short: server_speed.livez(3 if is_short else 15),
    "queue": lambda is_short: server_limits.full_queue(2000 if is_short else 10_000),
    "cancellation": lambda is_short: server_limits.cancellation(20 if is_short else 100),
    "memory": lambda is_short: server_limits.memory(4000 if is_short else 20_000),
    "engine-killed": lambda is_short: server_faults.engine_killed(1 if is_short else 5),
    "supervisor-killed": lambda is_short: server_faults.supervisor_killed(1 if is_short else 5),
    "stop": lambda is_short: server_faults.stop(1 if is_short else 3),
    "start": lambda is_short: server_speed.start(1 if is_short else 5),
}
_HIDDEN = {"cpu_ms"}  # in the JSON only


def main() -> None:
    """Measure what is asked for and print a table, then one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=_BENCHMARKS, default=list(_BENCHMARKS))
    parser.add_argument("--short", action="store_true", help="a minute or two instead of ten")
    args = parser.parse_args()
    results = {}
    for name in args.rows:
        load_before = os.getloadavg()[0]
        rows = _BENCHMARKS[name](args.short)
        results[name] = {"load_before": round(load_before, 2), "rows": rows}
        print(f"\n{name} (load of the machine before: {load_before:.1f})")
        for row, figures in rows.items():
            print(f"  {row}")
            shown = {key: value for key, value in figures.items() if key not in _HIDDEN}
            print("      " + "  ".join(f"{key} {_show(value)}" for key, value in shown.items()))
        sys.stdout.flush()
    import workloads  # loads torch, which the children must not

    libraries = {name: version(name) for name in _LIBRARIES}
    system = {"cores": os.cpu_count(), "kernel": platform.release(), "libraries": libraries}
    workloads.print_json(
        benchmark="server", results=results, **system, **workloads.environment("cpu")
    )


def _show(value: object) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_show(one)}" for key, one in value.items()) + ")"
    return f"{value:.4g}" if isinstance(value, float) and value < 1000 else str(value)


if __name__ == "__main__":
    main()
