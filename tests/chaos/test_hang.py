"""Processes that hang: stopped by a signal, or stuck in a step. Who judges is not fooled by them."""

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.chaos.clients import LONG, Ask, Flight, asks_of, assert_honest, assert_right, speak_all
from tests.chaos.conftest import EAGER, settle
from tests.server_process import Role, ServerProcess

pytestmark = pytest.mark.e2e

NUM_ENGINES = 2
TIMEOUT_S = 3.0  # more than what two busy cores take from anybody
OPTIONS = ("--step-timeout-s", f"{TIMEOUT_S}", "--ping-timeout-s", f"{TIMEOUT_S}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Start two engines, which hang when they are told to, and two HTTP workers."""
    switches = {
        "SLOW_STEP_MS": 20,
        "CHUNK_S": 0.02,
        "HANG_AT": "text:hypnosis",
        "HANG_KIND": "gilhold",
    }
    directory = tmp_path_factory.mktemp("hang")
    with ServerProcess(
        directory, *EAGER, *OPTIONS, num_engines=NUM_ENGINES, num_workers=2, switches=switches
    ) as server:
        yield server


@pytest.fixture
def server(shared: ServerProcess) -> Iterator[ServerProcess]:
    """Return the shared server, well before and after the test."""
    settle(shared, NUM_ENGINES)
    yield shared
    settle(shared, NUM_ENGINES)


def wait_ended(server: ServerProcess, role: Role, pid: int) -> None:
    """Wait until a process that hangs has been ended."""
    server.wait_until(lambda: pid not in server.pids(role), what=f"{role} ended")


def test_stopped_engine_is_replaced_and_its_requests_run_elsewhere(server: ServerProcess) -> None:
    """SIGSTOP of an engine with requests: it is ended at its deadline; none of them hangs."""
    pid = server.pids("engine")[0]
    flight = Flight(server, asks_of(1, 8, is_streaming=True), is_held=True)
    flight.wait_running(4)
    os.kill(pid, signal.SIGSTOP)
    wait_ended(server, "engine", pid)
    kinds = assert_honest(server, flight.outcomes())

    assert kinds["complete"] > 0


def test_probes_and_metrics_answer_while_an_engine_is_stopped(server: ServerProcess) -> None:
    """/livez, /readyz and /metrics take no notice, also with requests in the queue."""
    pid = server.pids("engine")[0]
    os.kill(pid, signal.SIGSTOP)
    flight = Flight(server, asks_of(2, 8, is_streaming=False))
    for path in ("/livez", "/readyz", "/health", "/metrics"):
        assert server.get(path)[0] == 200, path
    assert pid in server.pids("engine")  # still: nobody waited for its end
    assert_honest(server, flight.outcomes())


def test_engine_stuck_in_c_shows_its_stacks_and_is_replaced(server: ServerProcess) -> None:
    """A step that holds the interpreter lock: SIGABRT writes the stacks, innocents are right."""
    dumps = server.log.count("Fatal Python error: Aborted")
    *others, stuck = speak_all(server, [*asks_of(3, 6, is_streaming=False), Ask("hypnosis")])

    for outcome in others:
        assert outcome.kind == "complete" or outcome.code == "engine_crash", str(outcome)
    assert_honest(server, others)
    assert stuck.code == "engine_crash"  # it hung two engines
    server.wait_until(
        lambda: server.log.count("Fatal Python error: Aborted") >= dumps + 2, what="two dumps"
    )
    assert re.search(r"cpu:\d#\d+ is ended: it (has work|gave no sign)", server.log)


def test_stopped_worker_is_replaced_and_its_slots_are_free(server: ServerProcess) -> None:
    """SIGSTOP of an HTTP worker: requests of the other one are right, a new one comes."""
    pid = server.pids("worker")[0]
    os.kill(pid, signal.SIGSTOP)
    wait_ended(server, "worker", pid)
    server.wait_until(lambda: len(server.pids("worker")) == 2, what="two workers")

    assert_right(server, speak_all(server, asks_of(4, 8)))


def test_stopped_dispatcher_is_replaced_and_engines_stay(server: ServerProcess) -> None:
    """SIGSTOP of the dispatcher: not ready, alive, and after its end all is as before."""
    engines, pid = server.pids("engine"), server.only("dispatcher")
    os.kill(pid, signal.SIGSTOP)
    flight = Flight(server, asks_of(5, 4))
    assert server.get("/livez")[0] == 200
    status, text = server.get("/metrics")
    wait_ended(server, "dispatcher", pid)
    outcomes = flight.outcomes()
    server.wait_ready(num_engines=NUM_ENGINES)

    assert (status, b"dispatcher_up 0" in text) == (200, True)
    assert_honest(server, outcomes)
    assert server.pids("engine") == engines


def test_stopped_supervisor_kills_nobody_on_waking(server: ServerProcess) -> None:
    """A supervisor that stood still past every deadline finds all alive; requests went on."""
    before = server.children()
    flight = Flight(server, [Ask(LONG, seed=n, is_streaming=True) for n in range(6)])
    server.signal(signal.SIGSTOP)
    time.sleep(TIMEOUT_S + 1.5)  # past every deadline; the time itself is what is tested
    server.signal(signal.SIGCONT)
    outcomes = flight.outcomes()
    time.sleep(1.0)  # time to do harm in

    assert_right(server, outcomes)
    assert server.children() == before
