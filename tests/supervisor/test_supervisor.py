"""The supervisor with real processes: what they do is in ``stub_child.py``."""

import http.client
import itertools
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovits_serve.supervisor.signals import REPEAT_S
from tests.liveness import is_alive
from tests.ports import reserved_port
from tests.supervisor.harness import DEADLINE_S, Server, say, wait_until


def get(url: str, timeout_s: float = DEADLINE_S) -> str:
    """Return the body of an answer with status 200."""
    address = url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", "/livez")
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()
    finally:
        connection.close()


@pytest.fixture
def port() -> Iterator[int]:
    """Return a port that only a server which is told of it can take."""
    with reserved_port() as port:
        yield port


def only_engine(fleet: dict[str, Any]) -> dict[str, Any]:
    """Return the status of the only engine."""
    [engine] = fleet["engines"]
    return dict(engine)


def test_serves_and_stops_without_a_trace(tmp_path: Path) -> None:
    """Everything starts once, HTTP is answered, SIGTERM ends all with 0 and leaves no file."""
    with Server(tmp_path, {"supervisor": {"devices": "cpu,cpu"}}) as server:
        assert int(get(server.url())) in server.pids()
        fleet = server.wait_for_state("ready")
        for name in ("cpu:0", "cpu:1"):  # the state needs one of them
            server.wait_for("ready", name)
        took_s = server.stop()

        assert server.process.returncode == 0
        assert [engine["name"] for engine in fleet["engines"]] == ["cpu:0", "cpu:1"]
        assert len(server.events("start")) == 4
        assert not server.living()
        assert not list((tmp_path / "runtime").iterdir())
        say(f"SIGTERM when idle: {took_s:.3f} s")


@pytest.mark.parametrize("kind", ["sleep", "pyloop", "gilhold"])
def test_slow_load_is_no_fault(tmp_path: Path, port: int, kind: str) -> None:
    """However long and in whatever way an engine loads, it is started once, and HTTP is up."""
    supervisor = {"ping_timeout_s": 1.5, "step_timeout_s": 1.5}
    settings = {"api": {"port": port}, "supervisor": supervisor}
    loading = tmp_path / "loading"
    loading.touch()
    with Server(tmp_path, settings, LOAD_S=3, LOAD_KIND=kind, LOAD_FILE=loading) as server:
        server.wait_for("ready", "worker")
        up_s = time.monotonic() - server.started_at
        get(f"http://127.0.0.1:{port}")
        assert server.wait_for_state("starting")["reason"]
        loading.unlink()
        server.url()

        assert len(server.events("start", "cpu")) == 1
        assert len(server.events("start", "worker")) == 1
        say(f"{kind}: HTTP after {up_s:.2f} s")


def test_death_of_an_engine_is_noticed_at_once(tmp_path: Path) -> None:
    """kill -9: readiness is withdrawn (how soon is printed) and a new engine comes."""
    with Server(tmp_path, {"supervisor": {"devices": "cpu,cpu"}, "back_off_s": 0.3}) as server:
        server.url()
        victim = server.wait_for("ready", "cpu:0")
        others = server.wait_for("ready", "cpu:1"), server.wait_for("ready", "worker:0")
        killed_at = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        server.wait_for("ready", "cpu:0", 2)
        noticed = next(
            fleet["at"]
            for fleet in server.fleets()
            if fleet["at"] > killed_at and fleet["engines"][0]["state"] != "ready"
        )

        assert all(is_alive(other.pid) for other in others)
        say(f"death noticed after {1000 * (noticed - killed_at):.1f} ms")


@pytest.mark.parametrize("name", ["dispatcher", "worker:0"])
def test_other_processes_are_replaced_too(tmp_path: Path, name: str) -> None:
    """A dispatcher or HTTP worker that dies comes back; engines keep their weights."""
    with Server(tmp_path) as server:
        url = server.url()
        engine = server.wait_for("ready", "cpu")
        os.kill(server.wait_for("ready", name).pid, signal.SIGKILL)
        server.wait_for("ready", name, 2)

        wait_until(lambda: only_engine(server.fleet())["pid"] == engine.pid)
        get(url)
        assert len(server.events("start", "cpu")) == 1
        assert is_alive(engine.pid)


def test_stopped_engine_is_replaced(tmp_path: Path) -> None:
    """An idle engine that does not turn (SIGSTOP) is ended, at last by SIGKILL, and replaced."""
    settings = {"supervisor": {"ping_timeout_s": 0.5, "step_timeout_s": 1.0}}
    with Server(tmp_path, settings) as server:
        server.url()
        victim = server.wait_for("ready", "cpu")
        os.kill(victim.pid, signal.SIGSTOP)
        server.wait_for("ready", "cpu", 2)

        assert not is_alive(victim.pid)
        server.wait_log("gave no sign of life for 1 s (step_timeout_s)")


@pytest.mark.slow
def test_stopped_worker_is_replaced(tmp_path: Path) -> None:
    """An HTTP worker that does not turn is replaced in the same way."""
    with Server(tmp_path, {"supervisor": {"ping_timeout_s": 1.0}}) as server:
        server.url()
        os.kill(server.wait_for("ready", "worker:0").pid, signal.SIGSTOP)

        server.wait_for("ready", "worker:0", 2)


def test_engine_stuck_in_a_step_shows_its_stacks_and_is_replaced(tmp_path: Path) -> None:
    """A step that never ends, with the interpreter lock held in C, is ended with a stack dump."""
    settings = {"supervisor": {"step_timeout_s": 0.5}}
    with Server(tmp_path, settings, HANG_AT="work", ONLY_START=1) as server:
        server.wait_for("ready", "cpu", 2)

        server.wait_log(
            "made no step for 0.5 s (step_timeout_s)", "Fatal Python error: Aborted", "in hold_lock"
        )


@pytest.mark.parametrize(
    ("switches", "setting", "timeout_s"),
    [
        # Of dispatcher and worker as well, which are not to be late on a busy machine.
        ({"HANG_AT": "start"}, "start_timeout_s", 5.0),
        ({"LOAD_S": 100, "LOAD_KIND": "gilhold"}, "load_timeout_s", 1.0),
        ({"LOAD_S": 100, "LOAD_KIND": "sleep", "LOAD_REPORTS": 1}, "max_load_s", 1.0),
    ],
    ids=["start", "load", "all of it"],
)
def test_deadlines_name_their_setting(
    tmp_path: Path, switches: dict[str, Any], setting: str, timeout_s: float
) -> None:
    """A process past a deadline is ended once, and the reason names what to change."""
    settings = {"supervisor": {"load_timeout_s": 2.0, "max_load_s": 3.0, "max_restarts": 0}}
    settings["supervisor"][setting] = timeout_s
    with Server(tmp_path, settings, **switches) as server:
        reason = server.wait_for_state("failed")["reason"]

        assert f"({setting})" in reason
        assert len(server.events("start", "cpu")) == 1


def test_progress_extends_the_loading_deadline(tmp_path: Path) -> None:
    """A load that is three times as long as load_timeout_s is no fault while it progresses."""
    settings = {"supervisor": {"load_timeout_s": 1.0}}
    with Server(tmp_path, settings, LOAD_S=3, LOAD_REPORTS=1) as server:
        server.url()

        assert len(server.events("start", "cpu")) == 1
        progress = {only_engine(fleet)["progress"] for fleet in server.fleets()}
        assert len(progress) > 5


def test_crash_loop_ends_in_failed(tmp_path: Path, port: int) -> None:
    """An engine that always dies is started ever more rarely, then no more; the rest stays up."""
    supervisor = {"max_restarts": 3}
    settings = {"api": {"port": port}, "supervisor": supervisor, "back_off_s": 0.3}
    with Server(tmp_path, settings, EXIT_AT="load") as server:
        fleet = server.wait_for_state("failed")
        starts = [event.at for event in server.events("start", "cpu")]
        gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]

        assert len(starts) == 4
        assert [gap >= wait for gap, wait in zip(gaps, (0.3, 0.6, 1.2), strict=True)] == [True] * 3
        assert "exit code 1 while loading; given up after 3 restarts" in fleet["reason"]
        assert "cpu#4 says hello" in only_engine(fleet)["last_lines"]
        server.wait_log("cpu#4's log ends: cpu#4 says hello")
        get(f"http://127.0.0.1:{port}")
        server.stop()
        assert server.process.returncode == 70


@pytest.mark.parametrize(("code", "exit_code"), [("bad_checkpoint", 79), ("bad_config", 78)])
def test_permanent_error_stops_the_server(tmp_path: Path, code: str, exit_code: int) -> None:
    """A bad checkpoint or setting is not tried twice; the exit code says which it was."""
    with Server(tmp_path, {}, DYING=code) as server:
        assert server.wait_exit() == exit_code
        assert len(server.events("start", "cpu")) == 1
        assert "weights.ckpt is truncated" in server.errors.read_text()
        assert not server.living()


def test_server_ends_when_its_dispatcher_cannot_live(tmp_path: Path) -> None:
    """Without a dispatcher nothing works: exit code 70, so that whoever runs us starts us again."""
    with Server(tmp_path, {"supervisor": {"max_restarts": 2}}, DISPATCHER_DIES=1) as server:
        assert server.wait_exit() == 70
        assert len(server.events("start", "dispatcher")) == 3
        assert not server.living()


@pytest.mark.parametrize(
    ("switches", "event", "number"),
    [
        ({"HANG_AT": "start"}, "start", signal.SIGTERM),
        ({"LOAD_S": 100, "LOAD_KIND": "gilhold"}, "start", signal.SIGTERM),
        ({"LOAD_S": 100, "LOAD_KIND": "gilhold"}, "start", signal.SIGINT),
        ({"LOAD_S": 100, "LOAD_KIND": "pyloop"}, "start", signal.SIGTERM),
        ({"LOAD_S": 100, "LOAD_KIND": "sleep"}, "start", signal.SIGTERM),
        ({"EXIT_AT": "load"}, "start", signal.SIGTERM),
        ({"HANG_AT": "work"}, "ready", signal.SIGTERM),
    ],
    ids=["starting", "gilhold", "gilhold, INT", "pyloop", "sleep", "backoff", "stuck in a step"],
)
def test_signal_is_obeyed_in_every_state(
    tmp_path: Path,
    switches: dict[str, Any],
    event: str,
    number: signal.Signals,
) -> None:
    """Whatever the engine does, the server ends all the same and leaves nothing behind."""
    with Server(tmp_path, {"back_off_s": 30}, **switches) as server:
        server.wait_for("ready", "worker")
        server.wait_for(event, "cpu")
        took_s = server.stop(number)

        assert server.process.returncode == 0
        assert not server.living()
        say(f"{number.name}: {took_s:.2f} s")


def test_signal_right_after_the_start(tmp_path: Path) -> None:
    """SIGTERM while the dispatcher is only starting ends the server, too."""
    with Server(tmp_path) as server:
        server.wait_log("dispatcher#1 is started")
        server.stop()

        assert server.process.returncode == 0
        assert not server.living()


def test_stop_waits_for_requests(tmp_path: Path) -> None:
    """Unfinished requests are waited for; engines and workers live until they are done."""
    with Server(tmp_path) as server:
        server.unfinished.touch()
        server.url()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_state("draining")
        time.sleep(0.5)  # the span in which nothing may end
        assert len(server.living()) == 3

        server.unfinished.unlink()

        assert server.wait_exit() == 0
        assert not server.living()


def test_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    """Requests that are not done in drain_timeout_s are cut off."""
    with Server(tmp_path, {"supervisor": {"drain_timeout_s": 1.0}}) as server:
        server.unfinished.touch()
        server.url()

        assert server.stop() >= 1.0
        assert server.process.returncode == 0


def test_second_signal_means_now(tmp_path: Path) -> None:
    """SIGTERM twice ends everything without waiting for requests."""
    with Server(tmp_path, {"supervisor": {"drain_timeout_s": 300.0}}) as server:
        server.unfinished.touch()
        server.url()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_state("draining")
        time.sleep(REPEAT_S)  # one that comes sooner is the same one, delivered twice

        server.stop()
        assert server.process.returncode == 128 + signal.SIGTERM
        assert not server.living()


def test_shutdown_delay_accepts_for_a_while(tmp_path: Path) -> None:
    """With shutdown_delay_s the fleet first says that it leaves, and drains only then."""
    with Server(tmp_path, {"supervisor": {"shutdown_delay_s": 0.5}}) as server:
        server.url()
        begun = time.monotonic()
        assert server.stop() >= 0.5
        after = [fleet for fleet in server.fleets() if fleet["at"] > begun and fleet["is_leaving"]]

        assert after[0]["state"] == "ready"
        assert after[-1]["state"] == "draining"


@pytest.mark.parametrize("state", ["ready", "gilhold", "stopped", "starting"])
def test_children_die_with_their_supervisor(tmp_path: Path, state: str) -> None:
    """kill -9 of the supervisor: soon no child is left, whatever it was doing."""
    every_switch: dict[str, dict[str, Any]] = {
        "gilhold": {"LOAD_S": 100, "LOAD_KIND": "gilhold"},
        "starting": {"HANG_AT": "start"},
        "ready": {},
        "stopped": {},
    }
    switches = every_switch[state]
    with Server(tmp_path, {"api": {"workers": 2}}, **switches) as server:
        server.wait_for("ready", "worker", 2)
        engine = server.wait_for("ready" if state in {"ready", "stopped"} else "start", "cpu")
        if state == "stopped":
            os.kill(engine.pid, signal.SIGSTOP)
        assert len(server.living()) == 4
        server.process.kill()
        begun = time.monotonic()
        wait_until(lambda: not server.living())
        say(f"{state}: no child left after {time.monotonic() - begun:.3f} s")


def test_stopped_supervisor_kills_nobody_on_waking(tmp_path: Path) -> None:
    """A supervisor that stood still for much longer than any deadline finds everybody alive."""
    settings = {"supervisor": {"ping_timeout_s": 1.0, "step_timeout_s": 1.0}}
    with Server(tmp_path, settings) as server:
        server.url()
        before = server.living()
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)  # the span that must not count
        server.process.send_signal(signal.SIGCONT)
        woken_at = time.monotonic()
        wait_until(lambda: server.fleet()["at"] > woken_at + 1.5)

        assert server.living() == before


def test_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    """A taken port ends the start at once, with the address and the process that has it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Server(tmp_path, {"api": {"port": port}}) as server:
            assert server.wait_exit() == 78

    assert f"127.0.0.1:{port} is in use by process {os.getpid()}" in server.errors.read_text()
    assert not server.events()


def test_endpoint_of_another_supervisor_is_refused(tmp_path: Path) -> None:
    """A second supervisor on the same endpoint ends at once and does not disturb the first."""
    settings = {"endpoint": f"ipc://{tmp_path / 'e' / 'dispatcher.sock'}", "with_http": False}
    second = tmp_path / "second"
    second.mkdir()
    with Server(tmp_path, settings) as first:
        assert first.url() == settings["endpoint"]
        pid = first.wait_for("ready", "dispatcher").pid
        with Server(second, settings) as refused:
            assert refused.wait_exit() == 78
            text = refused.errors.read_text()

        assert f"another supervisor (its dispatcher is process {pid}) listens at" in text
        assert len(first.living()) == 2
        first.stop()
        assert first.process.returncode == 0


def test_engines_alone_meet_at_the_well_known_endpoint() -> None:
    """Without HTTP, and without a word about it, the endpoint is the one that apps look at."""
    # The path of a socket is short: pytest's own directories can be too long for it.
    with (
        tempfile.TemporaryDirectory(prefix="run") as directory,
        Server(Path(directory), {"with_http": False}) as server,
    ):
        socket_path = Path(directory) / "runtime" / "sovits-serve" / "dispatcher.sock"

        assert server.url() == f"ipc://{socket_path}"
        assert not server.events("start", "worker")


def test_stale_endpoint_is_taken_over(tmp_path: Path) -> None:
    """The socket file of a supervisor that was killed does not hinder the next one."""
    settings = {"endpoint": f"ipc://{tmp_path / 'e' / 'dispatcher.sock'}", "with_http": False}
    second = tmp_path / "second"
    second.mkdir()
    with Server(tmp_path, settings) as first:
        first.url()
        first.process.kill()
        wait_until(lambda: not first.living())
    with Server(second, settings) as server:
        server.url()

        mode = (tmp_path / "e" / "dispatcher.sock").stat().st_mode
        assert mode & 0o077 == 0
        assert (tmp_path / "e").stat().st_mode & 0o077 == 0


def test_storm_of_hangups_is_told_once(tmp_path: Path) -> None:
    """Signals that come while workers are replaced are mentioned once, and change nothing."""
    hold_file = tmp_path / "hold"
    hold_file.touch()
    with Server(tmp_path, WORKER_HOLD=hold_file) as server:
        server.url()
        server.process.send_signal(signal.SIGHUP)
        server.wait_log("SIGHUP: replacing")
        for _ in range(20):
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.002)  # signals of a kind are merged while one is pending
        server.wait_log("are being replaced already")
        hold_file.unlink()
        server.wait_for("ready", "worker", 2)

        text = server.errors.read_text()
        assert text.count("are being replaced already") == 1
        assert text.count("SIGHUP: replacing") == 1


def test_workers_roll_without_a_failed_request(tmp_path: Path) -> None:
    """SIGHUP replaces every HTTP worker while clients see nothing but answers."""
    with Server(tmp_path, {"api": {"workers": 2}}) as server:
        url = server.url()
        server.wait_for("ready", "worker", 2)
        answers: list[str] = []
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                try:
                    answers.append(get(url))
                except (OSError, http.client.HTTPException) as error:
                    answers.append(f"failed: {error!r}")

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            wait_until(lambda: answers)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("ready", "worker:0", 2)
            server.wait_for("ready", "worker:1", 2)
            wait_until(lambda: len(server.living()) == 4)
            wait_until(lambda: len(set(answers)) >= 3)
        finally:
            is_over.set()
            for client in clients:
                client.join()

        assert not [answer for answer in answers if answer.startswith("failed")]
        old = [event.pid for event in server.events("start", "worker")[:2]]
        assert not any(map(is_alive, old))
        assert len(server.events("start", "cpu")) == 1
        say(f"{len(answers)} answers while rolling")


@pytest.mark.parametrize(
    "how", ["start-first", "stop-first", pytest.param("auto", marks=pytest.mark.slow)]
)
def test_engine_past_the_soft_limit_is_replaced(tmp_path: Path, how: str) -> None:
    """The old engine drains to a clean end; start-first: not before the new one is ready."""
    settings = {"supervisor": {"soft_memory": "150MiB", "replacement": how}}
    with Server(tmp_path, settings, LEAK_MB=200, ONLY_START=1) as server:
        server.wait_for("ready", "cpu#2")
        ended = server.wait_for("end", "cpu#1")
        wait_until(lambda: not is_alive(ended.pid))
        ready = server.wait_for("ready", "cpu#2")
        wait_until(lambda: only_engine(server.fleet())["pid"] == ready.pid)

        assert (ready.at < ended.at) == (how != "stop-first")
        server.wait_log("MiB, more than soft_memory (150 MiB)")
        wait_until(lambda: only_engine(server.fleet())["rss_bytes"] > 0)


def test_replacement_that_cannot_start_leaves_the_old_engine(tmp_path: Path) -> None:
    """When no new engine comes up, the old one goes on serving."""
    settings = {"supervisor": {"soft_memory": "1MiB", "replacement": "start-first"}}
    with Server(tmp_path, settings, EXIT_AT="load", ONLY_START=2) as server:
        server.wait_for("ready", "cpu#1")
        server.wait_for("start", "cpu#2")
        server.wait_for("end", "cpu#1")  # once #3 was ready

        states = [fleet["state"] for fleet in server.fleets()]
        assert set(states[states.index("ready") :]) == {"ready"}
        assert server.events("ready", "cpu#3")


def test_engine_past_the_hard_limit_is_killed_and_counted(tmp_path: Path) -> None:
    """Past the hard limit an engine is killed, started again at once, and that is visible."""
    settings = {"supervisor": {"hard_memory": "150MiB"}, "back_off_s": 60}
    with Server(tmp_path, settings, LEAK_MB=200, ONLY_START=1) as server:
        ready = server.wait_for("ready", "cpu#2")
        wait_until(lambda: only_engine(server.fleet())["pid"] == ready.pid)

        assert not server.events("end", "cpu#1")
        assert "1 restarts for memory" in only_engine(server.fleet())["detail"]


def test_unread_log_does_not_hold_anything_up(tmp_path: Path) -> None:
    """Whoever reads standard error may stop: the server still stops on demand."""
    reader, writer = os.pipe()
    try:
        with Server(tmp_path, {}, stderr=writer, LOG_FLOOD=1) as server:
            server.url()
            server.wait_for("flooded", "cpu")
            server.stop()

            assert server.process.returncode == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_console_interrupt_reaches_only_the_supervisor(tmp_path: Path) -> None:
    """Ctrl-C goes to the whole group; children finish what runs, in the supervisor's order."""
    with Server(tmp_path) as server:
        server.unfinished.touch()
        server.url()
        os.killpg(server.process.pid, signal.SIGINT)
        server.wait_for_state("draining")
        assert len(server.living()) == 3
        server.unfinished.unlink()

        assert server.wait_exit() == 0
        assert "KeyboardInterrupt" not in server.errors.read_text()


def test_roll_stops_at_a_worker_that_does_not_come_up(tmp_path: Path) -> None:
    """When a new HTTP worker dies at its start, the old ones go on serving and it is said."""
    with Server(tmp_path, {"api": {"workers": 2}}, WORKER_DIES="worker:0#2") as server:
        url = server.url()
        server.wait_for("ready", "worker", 2)
        before = server.living()
        server.process.send_signal(signal.SIGHUP)
        server.wait_log("worker:0: not replaced: its replacement failed")

        assert server.living() == before
        get(url)
