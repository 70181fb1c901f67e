"""Weights and references switched under load: by all engines or none, for later requests only."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.chaos.clients import (
    LONG,
    Ask,
    Flight,
    Outcome,
    asks_of,
    assert_right,
    expected,
    speak,
)
from tests.chaos.conftest import EAGER, settle
from tests.server_process import ServerProcess

pytestmark = pytest.mark.e2e

NUM_ENGINES = 2


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of files that stand for weights."""
    directory = tmp_path_factory.mktemp("weights")
    for name in ("first.ckpt", "second.ckpt", "broken.ckpt", "first.pth", "second.pth"):
        (directory / name).write_bytes(name.encode())
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[ServerProcess]:
    """Start two engines that can switch, one of which cannot load what is broken."""
    switches = {
        "SLOW_STEP_MS": 10,
        "CHUNK_S": 0.02,
        "BAD_MODEL": "broken",
        "T2S": weights / "first.ckpt",
        "SOVITS": weights / "first.pth",
    }
    directory = tmp_path_factory.mktemp("switch")
    options = ("--allowed-paths", str(weights), *EAGER)
    with ServerProcess(
        directory, *options, num_engines=NUM_ENGINES, num_workers=2, switches=switches
    ) as one:
        settle(one, NUM_ENGINES)
        yield one


def switch(server: ServerProcess, which: str, path: Path) -> int:
    """Ask for other weights; return the status."""
    return server.get(f"/{which}?weights_path={quote(str(path))}", 30.0)[0]


def default_model(server: ServerProcess) -> str:
    """Return the model that requests get."""
    return str(server.health()["defaults"]["model"])


def test_requests_admitted_before_a_switch_keep_their_model(
    server: ServerProcess, weights: Path
) -> None:
    """Streams that run are as before to their end; what comes after the answer is the new one."""
    old = default_model(server)
    flight = Flight(
        server, [replace(a, text=LONG) for a in asks_of(1, 8, is_streaming=True)], is_held=True
    )
    flight.wait_running(8)
    status = switch(server, "set_gpt_weights", weights / "second.ckpt")
    flight.release()
    new = default_model(server)
    later = [speak(server, replace(ask, model=new)) for ask in asks_of(2, 8)]
    before = [replace(o, ask=replace(o.ask, model=old)) for o in flight.outcomes()]

    assert status == 200
    assert new != old
    assert_right(server, before)
    assert_right(server, later)


def test_switches_under_load_give_each_request_one_model(
    server: ServerProcess, weights: Path
) -> None:
    """Requests that come while weights go to and fro: each is wholly of one model."""
    is_over, outcomes = threading.Event(), list[Outcome]()
    models = {default_model(server)}

    def ask_on(client: int) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            outcomes.append(speak(server, asks_of(1000 * client + number, 1)[0]))

    clients = [threading.Thread(target=ask_on, args=(number,)) for number in range(4)]
    for client in clients:
        client.start()
    try:
        for name in ("first.ckpt", "second.ckpt") * 3:
            assert switch(server, "set_gpt_weights", weights / name) == 200
            models.add(default_model(server))
            seen = len(outcomes)
            server.wait_until(lambda seen=seen: len(outcomes) >= seen + 4, what="more requests")  # type: ignore[misc]
    finally:
        is_over.set()
        for client in clients:
            client.join()

    for outcome in outcomes:
        assert outcome.kind == "complete", str(outcome)
        candidates = [expected(server, replace(outcome.ask, model=model)) for model in models]
        assert outcome.body in candidates, str(outcome)


def test_weights_that_cannot_be_loaded_change_nothing(server: ServerProcess, weights: Path) -> None:
    """A failed switch is told as an error, and everybody speaks as before."""
    before = default_model(server)
    status = switch(server, "set_gpt_weights", weights / "broken.ckpt")

    assert 400 <= status < 600
    assert default_model(server) == before
    assert_right(server, [speak(server, replace(a, model=before)) for a in asks_of(3, 6)])


def test_new_processes_know_what_was_switched(server: ServerProcess, weights: Path) -> None:
    """An engine and a dispatcher that are started after a switch serve the switched weights."""
    assert switch(server, "set_sovits_weights", weights / "second.pth") == 200
    model = default_model(server)
    dispatcher, engine = server.only("dispatcher"), server.pids("engine")[0]
    os.kill(dispatcher, signal.SIGKILL)
    server.wait_until(lambda: server.pids("dispatcher") not in ([], [dispatcher]), what="another")
    server.wait_ready(num_engines=NUM_ENGINES)
    os.kill(engine, signal.SIGKILL)
    server.wait_until(lambda: engine not in server.pids("engine"), what="it has ended")
    server.wait_ready(num_engines=NUM_ENGINES)

    assert default_model(server) == model
    outcomes = [speak(server, replace(ask, model=model)) for ask in asks_of(4, 8)]
    assert_right(server, outcomes)


def test_reference_switch_reaches_later_requests_only(server: ServerProcess) -> None:
    """/set_refer_audio changes who speaks where no voice was named, and nobody under way."""
    model = default_model(server)
    asks = [Ask(LONG, seed=n, is_streaming=True, model=model) for n in range(6)]
    flight = Flight(server, asks, is_held=True)
    flight.wait_running(6)
    status, _ = server.get("/set_refer_audio?refer_audio_path=carol.wav", 30.0)
    flight.release()
    later = speak(server, Ask(seed=3, model=model))
    named = speak(server, Ask(seed=3, voice="bob", model=model))

    assert status == 200
    assert_right(server, flight.outcomes())
    assert later.body == expected(server, Ask(seed=3, voice="carol", model=model))
    assert_right(server, [named])


def test_no_file_of_the_users_was_touched(server: ServerProcess, weights: Path) -> None:
    """After all of this, weights and voices hold what they held, and nothing lies beside them."""
    assert {path.name: path.read_bytes() for path in weights.iterdir()} == {
        name: name.encode()
        for name in ("first.ckpt", "second.ckpt", "broken.ckpt", "first.pth", "second.pth")
    }
    assert len(list(server.voices.iterdir())) == 8
    digests = {sha256(path.read_bytes()).hexdigest() for path in server.voices.glob("*.wav")}
    assert len(digests) == 4
