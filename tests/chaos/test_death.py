"""Processes that die: kill -9 of each, in every state; poison, failing batches."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest

from tests.chaos.clients import (
    LONG,
    ONE_SEGMENT,
    Ask,
    Flight,
    asks_of,
    assert_honest,
    assert_right,
    speak,
    speak_all,
)
from tests.chaos.conftest import EAGER, StartServer, settle
from tests.server_process import ServerProcess

pytestmark = pytest.mark.e2e

NUM_ENGINES = 2
SWITCHES = {
    "SLOW_STEP_MS": 20,
    "CHUNK_S": 0.02,
    "DIE_AT": "text:poison",
    "OOM_AT": "text:memory",
    "NAN_AT": "text:infinity",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Start two engines that take their time, and two HTTP workers."""
    directory = tmp_path_factory.mktemp("death")
    options = {"num_engines": NUM_ENGINES, "num_workers": 2, "switches": SWITCHES}
    with ServerProcess(directory, *EAGER, "--quarantine-s", "60", **options) as server:  # type: ignore[arg-type]
        yield server


@pytest.fixture
def server(shared: ServerProcess) -> Iterator[ServerProcess]:
    """Return the shared server, well before and after the test."""
    settle(shared, NUM_ENGINES)
    yield shared
    settle(shared, NUM_ENGINES)


def test_idle_engine_killed_is_replaced_and_nobody_notices(server: ServerProcess) -> None:
    """The other engine serves on, HTTP stays, and exactly one engine is started anew."""
    workers, starts = server.pids("worker"), len(server.events("start"))
    os.kill(server.pids("engine")[0], signal.SIGKILL)
    assert_right(server, speak_all(server, asks_of(1, 8, is_streaming=False)))
    settle(server, NUM_ENGINES)

    assert server.pids("worker") == workers
    assert len(server.events("start")) == starts + 1


def test_engine_killed_amid_requests_costs_only_what_was_heard(server: ServerProcess) -> None:
    """Streams of the dead engine break, all others and all whole bodies are right."""
    asks = asks_of(2, 6, is_streaming=True) + asks_of(3, 6, is_streaming=False)
    flight = Flight(server, [replace(ask, text=LONG) for ask in asks], is_held=True)
    flight.wait_running(6)
    os.kill(server.pids("engine")[0], signal.SIGKILL)
    outcomes = flight.outcomes()

    assert_honest(server, outcomes)
    streams, whole = outcomes[:6], outcomes[6:]
    for outcome in streams:
        assert outcome.kind in {"complete", "broken"}, str(outcome)
    for outcome in whole:
        # One whose audio had begun to come, unheard, is told as a crash.
        assert outcome.kind == "complete" or outcome.code == "engine_crash", str(outcome)
    assert any(outcome.kind == "complete" for outcome in streams)


def test_both_engines_killed_at_once_restart_once(server: ServerProcess) -> None:
    """The case of uvicorn 0.30.1: two dead at one moment, each is started once, none in circles."""
    starts, workers = len(server.events("start")), server.pids("worker")
    flight = Flight(server, asks_of(4, 8, is_streaming=False))
    for pid in server.pids("engine"):
        os.kill(pid, signal.SIGKILL)
    outcomes = flight.outcomes()
    settle(server, NUM_ENGINES)

    for outcome in outcomes:
        assert outcome.kind == "complete" or outcome.code == "engine_crash", str(outcome)
    assert_honest(server, outcomes)
    assert len(server.events("start")) == starts + 2
    assert server.pids("worker") == workers


def test_requests_wait_for_an_engine_that_comes_back(server: ServerProcess) -> None:
    """With no engine for a moment readiness is withdrawn, and requests are held, not lost."""
    for pid in server.pids("engine"):
        os.kill(pid, signal.SIGKILL)
    server.wait_until(lambda: server.get("/readyz")[0] == 503, what="not ready")

    assert_right(server, speak_all(server, asks_of(5, 4)))


def test_dispatcher_killed_is_replaced_and_engines_keep_their_weights(
    server: ServerProcess,
) -> None:
    """All requests end, honestly; engines and workers are the same processes afterwards."""
    engines, workers = server.pids("engine"), server.pids("worker")
    flight = Flight(
        server, [replace(ask, text=LONG) for ask in asks_of(6, 8, is_streaming=True)], is_held=True
    )
    flight.wait_running(8)
    os.kill(server.only("dispatcher"), signal.SIGKILL)
    outcomes = flight.outcomes()
    settle(server, NUM_ENGINES)

    assert_honest(server, outcomes)
    assert server.pids("engine") == engines
    assert server.pids("worker") == workers


def test_worker_killed_frees_its_requests_at_once(server: ServerProcess) -> None:
    """Its requests leave the engines, though they are held; those of the other worker are right."""
    asks = [replace(ask, text=f"{LONG} {LONG}") for ask in asks_of(7, 10, is_streaming=True)]
    first, second = server.pids("worker")
    with stopped(second):  # so that the first one takes the requests, and then the other way round
        flight = Flight(server, asks[:6], is_held=True)
        flight.wait_running(6)
    with stopped(first):
        others = Flight(server, asks[6:], is_held=True)
        others.wait_running(10)
    os.kill(first, signal.SIGKILL)
    server.wait_until(lambda: server.metric("requests_running") == 4, what="its requests are gone")

    assert_right(server, others.outcomes())
    kinds = assert_honest(server, flight.outcomes())
    assert kinds["broken"] + kinds["lost"] == 6
    server.wait_until(lambda: len(server.pids("worker")) == 2, what="two workers")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process stand still for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_poison_kills_two_engines_at_most_and_innocents_are_right(server: ServerProcess) -> None:
    """Eight innocents beside it get their audio; it is told 500, and 422 when it comes again."""
    deaths = len(server.events("die"))
    # Of one segment each: nothing of their audio has left when the engine dies.
    innocents = [replace(ask, text=ONE_SEGMENT) for ask in asks_of(8, 8, is_streaming=False)]
    poison = Ask("This is pure poison.", seed=8)
    flight = Flight(server, [*innocents, poison])
    *others, told = flight.outcomes()
    settle(server, NUM_ENGINES)
    again = speak(server, replace(poison, seed=9))

    assert_right(server, others)
    assert (told.status, told.code) == (500, "engine_crash")
    assert (again.status, again.code) == (422, "quarantined")
    assert len(server.events("die")) == deaths + 2


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("There is no memory left.", 503, "out_of_memory"),
        ("To infinity and beyond.", 500, "synthesis_failed"),
    ],
)
def test_failing_request_fails_alone(
    server: ServerProcess, text: str, status: int, code: str
) -> None:
    """Memory that runs out and audio that is not finite fail the request, not the engine."""
    engines = server.pids("engine")
    *others, failed = speak_all(server, [*asks_of(9, 8), Ask(text)])

    assert_right(server, others)
    assert (failed.status, failed.code) == (status, code)
    assert server.pids("engine") == engines


@pytest.mark.parametrize("role", ["engine", "worker", "dispatcher"])
def test_death_is_noticed_at_once(server: ServerProcess, role: str) -> None:
    """The log tells of a death, and of what kind it was; bench/ measures how soon."""
    pid = server.pids(role)[0]  # type: ignore[arg-type]
    os.kill(pid, signal.SIGKILL)

    server.wait_log(f"(process {pid}) ended: killed by SIGKILL")


@pytest.mark.parametrize("state", ["load", "warmup"])
def test_engine_killed_while_it_starts_is_started_again(
    start_server: StartServer, state: str
) -> None:
    """A death in loading or warming up costs one more start, and HTTP is there meanwhile."""
    switches = {"DIE_AT": state, "ONCE": 1, "LOAD_S": 0.2}
    server = start_server(*EAGER, switches=switches)
    server.wait_for("die")
    server.wait_until(lambda: server.get("/livez")[0] == 200)
    server.wait_ready()

    assert len(server.events("start")) == 2
    server.stop()


@pytest.mark.parametrize("is_busy", [False, True])
def test_supervisor_killed_leaves_nobody(start_server: StartServer, is_busy: bool) -> None:
    """kill -9 of the supervisor: soon there is no process and no listener."""
    server = start_server(num_engines=2, num_workers=2, switches=SWITCHES)
    server.wait_ready(num_engines=2)
    flight = Flight(server, asks_of(10, 6, is_streaming=True), is_held=True) if is_busy else None
    if flight is not None:
        flight.wait_running(1)
    server.process.kill()
    server.wait_exit()
    server.assert_gone(leaves_files=True)  # kill -9 removes no files

    if flight is not None:
        assert_honest(server, flight.outcomes())


def test_descriptors_and_memory_are_back_after_deaths(server: ServerProcess) -> None:
    """Ten deaths amid requests leave no descriptor, thread or memory behind in who lives on."""
    survivors = {
        "supervisor": server.process.pid,
        "dispatcher": server.only("dispatcher"),
        "worker": server.pids("worker")[0],
    }

    def churn(seed: int, num_deaths: int) -> None:
        for number in range(num_deaths):
            flight = Flight(server, asks_of(seed + number, 6), is_held=True)
            flight.wait_running(2)
            os.kill(server.pids("engine")[number % NUM_ENGINES], signal.SIGKILL)
            assert_honest(server, flight.outcomes())
            server.wait_ready(num_engines=NUM_ENGINES)

    churn(20, 2)
    settle(server, NUM_ENGINES)
    before = {name: _usage(pid) for name, pid in survivors.items()}
    churn(30, 4)
    settle(server, NUM_ENGINES)

    server.wait_until(
        lambda: all(_usage(pid)[0] <= before[name][0] + 4 for name, pid in survivors.items()),
        what="descriptors are closed",
    )
    for name, pid in survivors.items():
        assert _usage(pid)[1] < before[name][1] + (16 << 20), name


def _usage(pid: int) -> tuple[int, int]:
    process = psutil.Process(pid)
    return process.num_fds(), process.memory_info().rss


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_kill_at_random_points_of_a_mixed_load(server: ServerProcess) -> None:
    """A minute of load while engines die at random points: every request ends as it should."""
    rng = random.Random(11)
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.wait(rng.uniform(0.2, 0.8)):
            engines = server.pids("engine")
            if engines:
                os.kill(rng.choice(engines), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    kinds = {"complete": 0}
    end = time.monotonic() + 60
    try:
        for number in range(1_000_000):
            found = assert_honest(server, speak_all(server, asks_of(100 + number, 12)))
            kinds["complete"] += found["complete"]
            if time.monotonic() > end:
                break
    finally:
        is_over.set()
        killer.join()

    assert kinds["complete"] > 20
