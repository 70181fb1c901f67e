"""Ends and replacements on purpose: SIGTERM in every state, SIGHUP under load."""

import os
import random
import signal
import threading
import time

import pytest

from sovits_serve.supervisor.signals import REPEAT_S
from tests.chaos.clients import (
    LONG,
    Ask,
    Flight,
    Outcome,
    asks_of,
    assert_honest,
    assert_right,
    open_stream,
    speak,
    vanish,
)
from tests.chaos.conftest import EAGER, StartServer, warm_up
from tests.server_process import ServerProcess

pytestmark = pytest.mark.e2e

SLOW = {"SLOW_STEP_MS": 20, "CHUNK_S": 0.02}
# When idle three seconds are promised, in any state; bench/ measures them, and the long tests here.
OBEYED_S = 3.0


def streams(count: int) -> list[Ask]:
    """Return long streams."""
    return [Ask(LONG, seed=number, is_streaming=True) for number in range(count)]


def test_stop_finishes_what_runs_and_refuses_what_comes(start_server: StartServer) -> None:
    """SIGTERM with eight streams: all are right, new requests get 503, the exit code is 0."""
    server = start_server(num_engines=2, num_workers=2, switches=SLOW)
    server.wait_ready(num_engines=2)
    warm_up(server)
    flight = Flight(server, streams(8), is_held=True)
    flight.wait_running(8)
    server.signal(signal.SIGTERM)
    server.wait_until(lambda: server.get("/readyz")[0] == 503, what="not ready")
    late = speak(server, Ask())
    outcomes = flight.outcomes()

    assert (late.status, late.code) == (503, "draining")
    assert late.retry_after is not None
    assert_right(server, outcomes)
    assert server.wait_exit() == 0
    server.assert_gone()


def test_stop_does_not_wait_for_ever(start_server: StartServer) -> None:
    """A stream that does not end is cut off at the deadline, and told so; the exit code is 0."""
    switches = {"HANG_AT": "text:hypnosis", "HANG_KIND": "sleep"}
    server = start_server("--drain-timeout-s", "1", switches=switches)
    server.wait_ready()
    warm_up(server)
    flight = Flight(server, [Ask("hypnosis")], is_held=True)
    flight.wait_running(1)

    assert server.stop() >= 1.0
    [outcome] = flight.outcomes()
    assert outcome.kind in {"refused", "lost"}
    assert_honest(server, [outcome])


def test_the_same_signal_delivered_twice_is_one(start_server: StartServer) -> None:
    """SIGTERM to the process and to its group, as `timeout` sends it, loses no request."""
    server = start_server(switches=SLOW)
    server.wait_ready()
    warm_up(server)
    flight = Flight(server, streams(4), is_held=True)
    flight.wait_running(4)
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGTERM)

    assert_right(server, flight.outcomes())
    assert server.wait_exit() == 0
    server.assert_gone()


def test_second_signal_means_now(start_server: StartServer) -> None:
    """A second SIGTERM, later, ends everything long before the time that streams may have."""
    server = start_server("--drain-timeout-s", "300", switches={**SLOW, "SLOW_STEP_MS": 200})
    server.wait_ready()
    warm_up(server)
    flight = Flight(server, streams(2), is_held=True)
    flight.wait_running(2)
    server.signal(signal.SIGTERM)
    server.wait_log("SIGTERM: stopping")
    time.sleep(REPEAT_S)  # one that comes sooner is the same one, delivered twice
    server.signal(signal.SIGTERM)

    assert server.wait_exit() == 128 + signal.SIGTERM
    server.assert_gone()
    assert assert_honest(server, flight.outcomes())["complete"] == 0


@pytest.mark.parametrize("kind", ["sleep", "pyloop", "gilhold"])
def test_signal_is_obeyed_while_engines_load(start_server: StartServer, kind: str) -> None:
    """SIGTERM at a random time of a long load: gone long before its end, without a trace."""
    delay_s = random.Random(kind).uniform(0.0, 3.0)
    server = start_server(num_engines=2, switches={"LOAD_S": 300, "LOAD_KIND": kind})
    time.sleep(delay_s)  # the time is what is drawn

    server.stop()


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(20))
def test_signal_is_obeyed_at_any_time(start_server: StartServer, seed: int) -> None:
    """The same at twenty random times, in all kinds of loads, with requests or none."""
    rng = random.Random(seed)
    kind = rng.choice(["sleep", "pyloop", "gilhold"])
    load_s = rng.choice([0.5, 60.0])
    server = start_server(num_engines=2, switches={"LOAD_S": load_s, "LOAD_KIND": kind})
    time.sleep(rng.uniform(0.0, 5.0))

    assert server.stop() < OBEYED_S


def test_workers_roll_without_a_failed_request(start_server: StartServer) -> None:
    """SIGHUP under load replaces every HTTP worker; no request fails, no connection is refused."""
    server = start_server(num_workers=2, switches={"SLOW_STEP_MS": 5})
    server.wait_ready()
    warm_up(server)
    before = server.pids("worker")
    is_over, outcomes = threading.Event(), list[Outcome]()

    def ask_on(client: int) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            outcomes.append(speak(server, asks_of(1000 * client + number, 1)[0]))

    clients = [threading.Thread(target=ask_on, args=(number,)) for number in range(3)]
    for client in clients:
        client.start()
    server.signal(signal.SIGHUP)
    try:
        server.wait_until(lambda: not set(before) & set(server.pids("worker")), 40.0, "rolled")
    finally:
        is_over.set()
        for client in clients:
            client.join()

    assert_right(server, outcomes)
    assert len(server.pids("worker")) == 2
    assert len(server.events("start")) == 1
    server.stop()


def test_stop_amid_hostile_clients(start_server: StartServer) -> None:
    """Clients that do not read do not hold up the end for much longer than requests may take."""
    options = ("--drain-timeout-s", "2", "--send-timeout-s", "300")
    server = start_server(*options, *EAGER, switches={"SECONDS_PER_PHONEME": 0.5})
    server.wait_ready()
    warm_up(server)
    before = server.metric("requests_admitted_total")
    sockets = [open_stream(server, Ask(LONG, seed=n, is_streaming=True)) for n in range(4)]
    try:
        server.wait_until(
            lambda: server.metric("requests_admitted_total") == before + 4, what="they are admitted"
        )
        server.stop()
    finally:
        for one in sockets:
            vanish(one)


def test_engine_alone_told_to_end_is_replaced(start_server: StartServer) -> None:
    """SIGTERM to an engine by somebody else: its requests run elsewhere, another comes."""
    server: ServerProcess = start_server(*EAGER, num_engines=2, switches=SLOW)
    server.wait_ready(num_engines=2)
    warm_up(server)
    pid = server.pids("engine")[0]
    flight = Flight(server, asks_of(3, 6, is_streaming=False))
    os.kill(pid, signal.SIGTERM)
    outcomes = flight.outcomes()
    server.wait_until(lambda: pid not in server.pids("engine"), what="it has ended")
    server.wait_ready(num_engines=2)

    assert_honest(server, outcomes)
    server.stop()
