"""The long form: a mixed load while a seeded schedule kills, stops and replaces processes.

Nothing here is exact in time; what must hold at every moment is checked, and what does not is kept
as a violation. ``scripts/chaos`` runs it for as long as one likes, a test for a minute.
"""

import http.client
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from tests.chaos.clients import (
    DIALECTS,
    LONG,
    ONE_SEGMENT,
    SENTENCE,
    Ask,
    assert_right,
    expected,
    open_stream,
    problem_of,
    speak,
    vanish,
)
from tests.server_process import VOICES, Role, ServerProcess

NUM_CLIENTS = 10
NUM_WORKERS = 2
# Everybody is back within this after the last fault; what hangs has a deadline of three seconds.
MAX_RECOVERY_S = 45.0
OPTIONS = (
    *("--max-restarts", "1000", "--restart-window-s", "1"),
    *("--step-timeout-s", "4", "--ping-timeout-s", "4", "--start-timeout-s", "15"),
    *("--load-timeout-s", "15", "--drain-timeout-s", "10"),
    *("--send-timeout-s", "5", "--quarantine-s", "5", "--max-waiting", "64"),
)
SWITCHES = {
    "SLOW_STEP_MS": 10,
    "CHUNK_S": 0.03,
    "DIE_AT": "text:poison",
    "OOM_AT": "text:memory",
    "NAN_AT": "text:infinity",
    "LOAD_S": 0.3,
}
_SPECIAL = ("This is pure poison.", "There is no memory left.", "To infinity and beyond.")


@dataclass
class Report:
    """What came of it; one JSON line."""

    seed: int
    minutes: float
    num_requests: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    worst_recovery_s: float = 0.0
    longest_request_s: float = 0.0
    supervisor_rss_bytes_per_request: float = 0.0
    supervisor_descriptors_grown: int = 0
    exit_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


class Storm:
    """A server, clients and a fiend."""

    def __init__(self, server: ServerProcess, seed: int, num_engines: int, minutes: float) -> None:
        self._server = server
        self._seed = seed
        self._num_engines = num_engines
        self._end_s = time.monotonic() + 60 * minutes
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self.report = Report(seed, minutes)

    def run(self) -> Report:
        """Rage until the time is over; then see that all is well."""
        supervisor = psutil.Process(self._server.process.pid)
        rss_bytes, num_fds = supervisor.memory_info().rss, supervisor.num_fds()
        self._start_clients_and_wait()
        report = self.report
        with self._noting("the end"):
            self._recover()
            report.supervisor_rss_bytes_per_request = round(
                (supervisor.memory_info().rss - rss_bytes) / max(1, report.num_requests), 1
            )
            report.supervisor_descriptors_grown = supervisor.num_fds() - num_fds
            if report.supervisor_descriptors_grown > 8:
                self._violate(f"{report.supervisor_descriptors_grown} descriptors more")
            report.exit_s = round(self._server.stop(), 3)
        report.outcomes, report.faults = dict(self._outcomes), dict(self._faults)
        return report

    def _start_clients_and_wait(self) -> None:
        jobs: list[Callable[[random.Random], None]] = [self._ask] * NUM_CLIENTS
        jobs += [self._ask_nonsense, self._do_not_read]
        threads = [
            threading.Thread(target=self._repeat, args=(job, 1000 * self._seed + number))
            for number, job in enumerate(jobs)
        ]
        for thread in threads:
            thread.start()
        self._torment(random.Random(self._seed))
        for thread in threads:
            thread.join()

    def _repeat(self, job: Callable[[random.Random], None], seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < self._end_s:
            with self._noting(job.__name__):
                job(rng)

    # Clients.

    def _ask(self, rng: random.Random) -> None:
        ask = Ask(
            rng.choice([ONE_SEGMENT, SENTENCE, LONG]),
            seed=rng.randrange(1 << 31),
            voice=rng.choice(VOICES),
            is_streaming=rng.random() < 0.5,
            dialect=rng.choice(DIALECTS),
        )
        if rng.random() < 0.02:
            ask = replace(ask, text=rng.choice(_SPECIAL))
        elif rng.random() < 0.15:
            ask = replace(ask, leaves_after=rng.choice([0, 1, 4000, 20_000]))
        elif rng.random() < 0.1 and ask.dialect in {"native", "openai"}:
            ask = replace(ask, timeout_s=rng.choice([0.05, 0.5, 5.0]))
        outcome = speak(self._server, ask)
        key = outcome.kind if outcome.kind != "refused" else f"{outcome.status} {outcome.code}"
        with self._lock:
            self._outcomes[key] += 1
            self.report.num_requests += 1
            longest = max(self.report.longest_request_s, round(outcome.seconds, 3))
            self.report.longest_request_s = longest
        if problem := problem_of(self._server, outcome):
            self._violate(problem)
        if outcome.kind in {"refused", "lost"}:
            time.sleep(0.05 + 0.1 * rng.random())

    def _ask_nonsense(self, rng: random.Random) -> None:
        path = rng.choice(["/v1/speech", "/v1/audio/speech", "/tts", "/", "/v1/models", "/nowhere"])
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)
        with closing(connection), suppress(ConnectionError, http.client.HTTPException):
            body = rng.randbytes(rng.randrange(2000))
            connection.request("POST", path, body, {"content-type": "application/json"})
            status = connection.getresponse().status
            self._outcomes[f"nonsense {status}"] += 1
            if status >= 500 and status != 503:
                self._violate(f"{path}: nonsense is answered {status}")
        time.sleep(0.05)

    def _do_not_read(self, rng: random.Random) -> None:
        ask = Ask(LONG, seed=rng.randrange(1 << 31), is_streaming=True)
        with suppress(ConnectionError):
            one = open_stream(self._server, ask)
            time.sleep(rng.uniform(0.0, 2.0))
            vanish(one)

    # Faults.

    def _torment(self, rng: random.Random) -> None:
        faults: dict[str, tuple[int, Callable[[random.Random], None]]] = {
            "kill engine": (4, self._signaller("engine", signal.SIGKILL)),
            "kill all engines": (2, self._kill_all_engines),
            "kill worker": (2, self._signaller("worker", signal.SIGKILL)),
            "kill dispatcher": (1, self._signaller("dispatcher", signal.SIGKILL)),
            "end engine": (2, self._signaller("engine", signal.SIGTERM)),
            "segfault engine": (2, self._signaller("engine", signal.SIGSEGV)),
            "stop engine": (2, self._signaller("engine", signal.SIGSTOP)),
            "stop worker": (1, self._signaller("worker", signal.SIGSTOP)),
            "stop dispatcher": (1, self._signaller("dispatcher", signal.SIGSTOP)),
            "pause supervisor": (1, self._pause_supervisor),
            "roll workers": (2, lambda _: self._server.signal(signal.SIGHUP)),
        }
        weights = [weight for weight, _ in faults.values()]
        calm_due_s = time.monotonic() + 20.0
        while time.monotonic() < self._end_s:
            time.sleep(rng.uniform(0.5, 3.0))
            [name] = rng.choices(list(faults), weights)
            self._faults[name] += 1
            with self._noting(name):
                faults[name][1](rng)
            if time.monotonic() > calm_due_s:
                with self._noting("recovery"):
                    self._recover(is_loaded=True)
                calm_due_s = time.monotonic() + 20.0

    def _signaller(self, role: Role, number: signal.Signals) -> Callable[[random.Random], None]:
        def send(rng: random.Random) -> None:
            pids = self._server.pids(role)
            if pids:
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(pids), number)

        return send

    def _kill_all_engines(self, _: random.Random) -> None:
        for pid in self._server.pids("engine"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _pause_supervisor(self, rng: random.Random) -> None:
        self._server.signal(signal.SIGSTOP)
        time.sleep(rng.uniform(0.5, 6.0))
        self._server.signal(signal.SIGCONT)

    # Judgement.

    def _recover(self, *, is_loaded: bool = False) -> None:
        """Wait until all processes are there and serve, and note how long it took."""
        server = self._server

        def is_whole() -> bool:
            children = {role: len(pids) for role, pids in server.children().items()}
            # A worker that drains may stand beside its successor.
            is_there = children["engine"] == self._num_engines and children["dispatcher"] == 1
            if not is_there or children["worker"] < NUM_WORKERS or server.get("/readyz")[0] != 200:
                return False
            states = [engine["state"] for engine in server.health()["engines"]]
            return states.count("ready") == self._num_engines

        took_s = server.wait_until(is_whole, MAX_RECOVERY_S, "everybody is back")
        self.report.worst_recovery_s = max(self.report.worst_recovery_s, round(took_s, 3))
        if is_loaded:
            return
        server.wait_until(lambda: server.metric("requests_running") == 0, 30, "nothing runs")
        ask = Ask("All is well.", seed=5)
        assert_right(server, [speak(server, ask)])
        assert expected(server, ask)

    def _violate(self, what: str) -> None:
        with self._lock:
            self.report.violations.append(what[:1000])

    def _noting(self, where: str) -> "_Noting":
        return _Noting(self, where)


class _Noting:
    """Keeps a failed check as a violation, and goes on."""

    def __init__(self, storm: Storm, where: str) -> None:
        self._storm = storm
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._storm._violate(f"{self._where}: {type(error).__name__}: {error}")
        return True


def run_storm(*, minutes: float, seed: int, num_engines: int = 2) -> Report:
    """Start a server, let it be tormented, and return what came of it."""
    with (
        tempfile.TemporaryDirectory(prefix="storm-") as directory,
        ServerProcess(
            Path(directory),
            *OPTIONS,
            num_engines=num_engines,
            num_workers=NUM_WORKERS,
            switches=SWITCHES,
        ) as server,
    ):
        server.wait_ready(num_engines=num_engines)
        assert_right(server, [speak(server, Ask("All is well.", seed=5))])
        report = Storm(server, seed, num_engines, minutes).run()
        if report.violations:
            Path(tempfile.gettempdir(), f"storm-{seed}.txt").write_text(server.log)
        return report
