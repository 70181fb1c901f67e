"""Prove the app under every server: ``scripts/compat --help``."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from tests.compat.checks import Plan, check_server
from tests.compat.environments import (
    ROOT,
    Environment,
    cache_directory,
    make_environment,
    pin_locked,
    pin_newest,
)
from tests.compat.report import markdown, write_into
from tests.compat.result import KINDS, Result
from tests.compat.servers import OWN, SERVERS, Server


@dataclass(frozen=True)
class Run:
    """One server under one load."""

    server: Server
    environment: Environment
    plan: Plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, print a line for each, and return 1 if anything was wrong."""
    options = _parser().parse_args(arguments)
    chosen = [server for server in SERVERS if not options.only or server.name in options.only]
    made = [_prepare(server) for server in chosen]
    runs = [
        Run(server, environment, Plan(kind, _load_s(server, kind, options), options.leaves))
        for kind in options.kinds
        for server, environment in made
    ]
    # Busy engines take all cores; such runs are alone.
    results = _run_all([run for run in runs if run.plan.kind != "pyloop"], options.jobs)
    results += _run_all([run for run in runs if run.plan.kind == "pyloop"], 1)
    names = [server.name for server in SERVERS]
    results.sort(key=lambda result: (names.index(result.server), KINDS.index(result.kind)))
    _write(options, results)
    return 1 if any(result.problems for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    names = [server.name for server in SERVERS]
    parser = argparse.ArgumentParser(
        prog="scripts/compat",
        description="Prove that the app serves under other servers while engines load slowly. One "
        f"environment per server is made in {cache_directory()} ($SOVITS_SERVE_COMPAT_DIR).",
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--load-s", type=float, default=60.0, help="how long an engine loads")
    parser.add_argument(
        "--kinds",
        type=_kinds,
        default=list(KINDS),
        help="how it loads: sleep,pyloop,gilhold (sleeping, busy Python, C code with the lock)",
    )
    parser.add_argument(
        "--short",
        nargs="+",
        default=[],
        choices=names,
        metavar="NAME",
        help="servers whose busy loads (pyloop, gilhold) take --short-load-s only",
    )
    parser.add_argument("--short-load-s", type=float, default=15.0)
    parser.add_argument("--leaves", type=int, default=20, help="clients that leave mid-stream")
    parser.add_argument(
        "--jobs", type=int, default=1, help="servers whose engines load at the same time"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="put the table between the marks of FILE"
    )
    return parser


def _kinds(text: str) -> list[str]:
    kinds = text.split(",")
    if unknown := set(kinds) - set(KINDS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(KINDS)}")
    return kinds


def _prepare(server: Server) -> tuple[Server, Environment]:
    pinned = pin_locked(server) if server.name == OWN else pin_newest(server)
    return server, make_environment(pinned)


def _load_s(server: Server, kind: str, options: argparse.Namespace) -> float:
    is_short = kind != "sleep" and server.name in options.short
    load_s: float = options.short_load_s if is_short else options.load_s
    return load_s


def _run_all(runs: Sequence[Run], num_jobs: int) -> list[Result]:
    gate = Lock()
    with ThreadPoolExecutor(num_jobs) as threads:
        return list(threads.map(lambda run: _run(run, gate), runs))


def _run(run: Run, gate: AbstractContextManager[bool]) -> Result:
    result = check_server(run.server, run.environment, run.plan, gate)
    title = f"{result.server} ({result.version}), {result.kind} {result.load_s:g} s"
    sys.stderr.write(f"{title}: {'; '.join(result.problems) or 'right'}\n")
    return result


def _write(options: argparse.Namespace, results: Sequence[Result]) -> None:
    table = markdown(results, _revision())
    sys.stdout.write(table)
    if options.markdown:
        write_into(options.markdown, table)
    if options.json:
        content = json.dumps([result.as_json() for result in results], indent=1)
        options.json.write_text(content + "\n", encoding="utf-8")


def _revision() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "an unknown revision"


if __name__ == "__main__":
    sys.exit(main())
