"""What is proven of a server: from its start beside loading engines to its end."""

import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from threading import Lock
from typing import Any

from tests.compat.client import Answer, call, stream
from tests.compat.environments import Environment
from tests.compat.fleet import NUM_ENGINES, Fleet, start_fleet
from tests.compat.processes import wait_until
from tests.compat.result import (
    LEAVE_LIMIT_S,
    LIVEZ_LIMIT_S,
    STOP_ENGINES_LIMIT_S,
    STOP_SERVER_LIMIT_S,
    Kind,
    Result,
)
from tests.compat.servers import NUM_WORKERS, Server
from tests.compat.speech import LONG_TEXT, Line, digest, make_lines, say, write_recordings

_UNFINISHED = "sovits_serve_requests_(?:running|waiting)"
_SETTLE_S = 15.0
_QUIET_S = 0.1  # CPU time in half a second
_SLACK_S = 60.0  # for machines that are busy; what is judged has its own limit


@dataclass(frozen=True)
class Plan:
    """How much is tried."""

    kind: Kind
    load_s: float
    num_leaves: int = 20
    livez_limit_s: float = LIVEZ_LIMIT_S
    slack_s: float = 0.0  # beyond the other limits, where machines are shared


class StoppedError(Exception):
    """Nothing more can be measured."""


def check_server(
    server: Server,
    environment: Environment,
    plan: Plan,
    gate: AbstractContextManager[bool] | None = None,
) -> Result:
    """Run one server through everything; what goes wrong is in the result.

    Whoever runs several at once gives all the same gate: only loading goes on beside each other, so
    that nobody's figures are another's.
    """
    gate = gate or Lock()
    result = Result(
        server.name, environment.version, plan.kind, plan.load_s, command=server.command
    )
    with ExitStack() as stack:
        with gate:
            result.machine_load = os.getloadavg()[0]
            fleet = stack.enter_context(start_fleet(server, environment, plan.kind, plan.load_s))
            is_up = _guard(result, lambda: _check_start(fleet, plan, result))
        if is_up and _guard(result, lambda: _check_loading(fleet, plan, result)):
            with gate:
                _guard(result, lambda: _check_ready(server, fleet, plan, result))
        if result.problems:
            logs = {fleet.server.log, fleet.engines.log}
            result.log = "\n".join(log.read_text(errors="replace")[-3000:] for log in sorted(logs))
    return result


def _guard(result: Result, check: Callable[[], None]) -> bool:
    """Return whether a check came to its end; if not, why is a problem of the result."""
    try:
        check()
    except (StoppedError, OSError, KeyError, ValueError) as error:
        result.problems.append(f"stopped: {type(error).__name__}: {error}")
        return False
    return True


def _check_ready(server: Server, fleet: Fleet, plan: Plan, result: Result) -> None:
    recordings = write_recordings(fleet.directory)
    _check_counts(server, fleet, result)
    lines = make_lines(recordings)
    _check_speech(fleet, lines, result)
    long = Line(LONG_TEXT, "en", recordings[0], seed=1)
    _check_leaving(fleet, long, plan, result)
    _check_worker_count(server, fleet, result)
    _check_broken_end(fleet, long, result)
    _check_answers_after(fleet, lines[0], result)
    _check_stop(fleet, plan, result)


def _check_start(fleet: Fleet, plan: Plan, result: Result) -> None:
    """Wait for the first answer of /livez, and for the others to have started too."""

    def is_alive() -> bool:
        _check_running(fleet)
        try:
            return call(fleet.port, "/livez", timeout_s=1.0).status == 200
        except OSError:
            return False

    wait_until(is_alive, _SLACK_S)
    result.livez_s = time.monotonic() - fleet.server.started
    result.expect(
        result.livez_s <= plan.livez_limit_s,
        f"/livez answered after {result.livez_s:.1f} s, more than {plan.livez_limit_s} s",
    )
    deadline = time.monotonic() + _SETTLE_S
    used_s = -1.0
    while time.monotonic() < deadline and fleet.server.cpu_s() - used_s > _QUIET_S:
        used_s = fleet.server.cpu_s()
        _look_at_loading(fleet, result)
        time.sleep(0.5)


def _check_loading(fleet: Fleet, plan: Plan, result: Result) -> None:
    """Look at /livez and /readyz until the engines are ready."""
    deadline = fleet.engines.started + plan.load_s * (1 + NUM_ENGINES) + _SLACK_S
    while not _look_at_loading(fleet, result):
        if time.monotonic() > deadline:
            raise StoppedError(f"not ready after {deadline - fleet.engines.started:.0f} s")
        time.sleep(0.1)
    result.ready_s = time.monotonic() - fleet.engines.started
    _everyone_knows(fleet)
    assert result.livez_s is not None
    if result.livez_s > plan.load_s - 1.0:
        return  # a short load, on a slow machine: there was nothing to see
    result.expect(result.num_not_ready > 0, "/readyz never answered 503 during the load")
    if plan.kind != "gilhold":  # which cannot report any
        result.expect(len(result.progress) > 1, "/readyz showed no progress during the load")


def _look_at_loading(fleet: Fleet, result: Result) -> bool:
    """Ask once whether it is alive and ready; return whether all engines are."""
    _check_running(fleet)
    start = time.monotonic()
    alive, verdict = fleet.get("/livez")
    result.livez_worst_s = max(result.livez_worst_s, time.monotonic() - start)
    if alive != 200:  # it has given up
        raise StoppedError(f"/livez answered {alive} during the load: {verdict}")
    status, body = fleet.get("/readyz")
    result.num_not_ready += status == 503
    engines: Any = body.get("engines", [])
    result.progress.update(float(engine["progress"]) for engine in engines)
    return status == 200 and len(fleet.engine_events("ready")) == NUM_ENGINES


def _everyone_knows(fleet: Fleet) -> None:
    """Wait until any worker that is asked says that it is ready."""

    def are_ready() -> bool:
        return all(fleet.get("/readyz")[0] == 200 for _ in range(4 * NUM_WORKERS))

    wait_until(are_ready, _SLACK_S)


def _check_counts(server: Server, fleet: Fleet, result: Result) -> None:
    """Each engine was started and has loaded once."""
    result.num_starts, result.num_loads = fleet.count("start"), fleet.count("load")
    for what, counts in (("started", result.num_starts), ("loaded", result.num_loads)):
        is_once = len(counts) == NUM_ENGINES and set(counts.values()) == {1}
        result.expect(is_once, f"engines {what} {counts}, not once each")
    _check_worker_count(server, fleet, result)


def _check_worker_count(server: Server, fleet: Fleet, result: Result) -> None:
    """No worker was killed and replaced: those ever seen are as many as there should be."""
    seen = fleet.server.children(server.worker_mark)
    if result.num_workers_seen == len(seen):
        return
    result.num_workers_seen = len(seen)
    result.expect(
        len(seen) == NUM_WORKERS, f"{len(seen)} different worker processes, not {NUM_WORKERS}"
    )


def _check_speech(fleet: Fleet, lines: list[Line], result: Result) -> None:
    """Many at once get what each gets alone."""
    alone = [say(fleet.port, line) for line in lines]
    wanted = [Answer(200, line.expected_pcm()) for line in lines]
    with ThreadPoolExecutor(len(lines)) as threads:
        together = list(threads.map(lambda line: say(fleet.port, line), lines))
        streamed = list(threads.map(lambda line: say(fleet.port, line, is_streaming=True), lines))
    result.num_requests = len(lines)
    result.num_right = sum(map(_are_same, wanted, alone, together, streamed))
    result.digest = digest(together)
    result.expect(
        result.num_right == len(lines),
        f"{result.num_right} of {len(lines)} concurrent requests right; statuses "
        f"{[answer.status for answer in together]}, {together[0].body[:200]!r}",
    )
    result.expect(
        len({answer.body for answer in together}) == len(lines), "two answers are the same"
    )


def _are_same(*answers: Answer) -> bool:
    return len(set(answers)) == 1


def _check_leaving(fleet: Fleet, line: Line, plan: Plan, result: Result) -> None:
    """A client that leaves in the middle of a stream frees its slot."""
    limit_s = LEAVE_LIMIT_S + plan.slack_s
    for _ in range(plan.num_leaves):
        wait_until(lambda: _num_running(fleet) == 0, _SLACK_S)
        with stream(fleet.port, line.path(is_streaming=True)) as response:
            response.read1(4096)
            wait_until(lambda: _num_running(fleet) == 1, _SLACK_S)
        try:
            left_s = wait_until(lambda: _num_running(fleet) == 0, 20.0, pause_s=0.005)
        except TimeoutError:
            left_s = 20.0
        result.leave_s.append(left_s)
        if left_s > 5.0 + plan.slack_s:
            break  # no use in trying the others
    slowest = result.leave_p95_s
    result.expect(
        slowest is not None and slowest <= limit_s,
        f"a slot was free {slowest} s after its client left, more than {limit_s} s",
    )


def _num_running(fleet: Fleet) -> int:
    """Return what the dispatcher itself says now; /health may be a second old."""
    text = call(fleet.port, "/metrics").body.decode()
    counts = re.findall(rf"^{_UNFINISHED} (\S+)$", text, re.MULTILINE)
    if len(counts) != 2:
        raise StoppedError(f"/metrics has no unfinished requests: {text[:300]}")
    return sum(int(float(count)) for count in counts)


def _check_broken_end(fleet: Fleet, line: Line, result: Result) -> None:
    """An engine that dies in the middle of a stream gives a body that is broken off."""
    wait_until(lambda: not any(_busy_engines(fleet) for _ in range(2 * NUM_WORKERS)), _SLACK_S)
    with stream(fleet.port, line.path(is_streaming=True), timeout_s=20.0) as response:
        first = response.read1(4096)
        pid = _busy_engine(fleet)
        os.kill(pid, signal.SIGKILL)
        result.broken_end = _end_of(response.read1)
    result.expect(bool(first), "no audio before the engine was killed")
    result.expect(
        result.broken_end == "broken",
        f"the body of a request whose engine was killed ended as {result.broken_end}",
    )


def _end_of(read: Callable[[int], bytes]) -> str:
    try:
        while read(1 << 16):
            pass
    except TimeoutError:
        return "never"
    except (OSError, HTTPException):
        return "broken"
    return "complete"


def _busy_engine(fleet: Fleet) -> int:
    """Return the process that speaks the only running request."""
    wait_until(lambda: len(_busy_engines(fleet)) == 1, _SLACK_S)
    return _busy_engines(fleet)[0]


def _busy_engines(fleet: Fleet) -> list[int]:
    _status, body = fleet.get("/health")
    engines: Any = body["engines"]
    return [int(engine["pid"]) for engine in engines if engine["num_running"]]


def _check_answers_after(fleet: Fleet, line: Line, result: Result) -> None:
    """The engine that is left goes on."""
    answer = say(fleet.port, line)
    result.served_after = answer.status == 200 and answer.end == "complete"
    result.expect(result.served_after, f"after an engine was killed: {answer.status}")


def _check_stop(fleet: Fleet, plan: Plan, result: Result) -> None:
    """SIGTERM ends both, and nothing is left."""
    limit_s = STOP_SERVER_LIMIT_S + plan.slack_s
    result.stop_server_s = _stop(fleet.server, limit_s, "the server", result)
    if not fleet.is_one:
        limit_s = STOP_ENGINES_LIMIT_S + plan.slack_s
        result.stop_engines_s = _stop(fleet.engines, limit_s, "engines", result)


def _stop(running: Any, limit_s: float, name: str, result: Result) -> float | None:
    stopped_s: float | None = running.terminate(timeout_s=limit_s + 20.0)
    result.expect(
        stopped_s is not None and stopped_s <= limit_s,
        f"{name} took {stopped_s} s to end after SIGTERM, more than {limit_s} s",
    )
    if stopped_s is not None:
        orphans = running.orphans()
        result.orphans += orphans
        result.expect(not orphans, f"{name} left behind: {'; '.join(orphans)}")
    return stopped_s


def _check_running(fleet: Fleet) -> None:
    for running in (fleet.server, fleet.engines):
        if running.exit_code is not None:
            raise StoppedError(f"exit code {running.exit_code}: {running.last_lines()}")
