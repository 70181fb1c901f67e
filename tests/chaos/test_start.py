"""Starts: slow ones, hopeless ones, and those that find leftovers of another."""

import json
import os
import pickle
import signal
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.models.spec import ModelVersion
from tests.chaos.clients import Ask, assert_right, speak, speak_all
from tests.chaos.conftest import EAGER, StartServer

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("kind", ["sleep", "pyloop", "gilhold"])
def test_slow_load_is_no_fault(start_server: StartServer, tmp_path: Path, kind: str) -> None:
    """Engines that load for longer than any ping are started once; probes answer meanwhile."""
    options = ("--step-timeout-s", "3", "--ping-timeout-s", "5")
    loading = tmp_path / "loading"
    loading.touch()
    switches = {"LOAD_S": 4, "LOAD_KIND": kind, "LOAD_FILE": loading}
    server = start_server(*options, num_engines=2, num_workers=2, switches=switches)
    server.wait_until(lambda: server.get("/livez")[0] == 200, what="alive")
    status, body = server.get("/readyz")
    refused = speak(server, Ask())
    loading.unlink()
    server.wait_ready(num_engines=2)

    assert status == 503
    assert {engine["name"] for engine in json.loads(body)["engines"]} <= {"cpu:0", "cpu:1"}
    assert (refused.status, refused.code) == (503, "not_ready")
    assert refused.retry_after is not None
    assert len(server.events("start")) == 2
    assert server.metric("http_worker_starts_total") == 2
    assert_right(server, [speak(server, Ask())])


def test_load_without_progress_is_ended_once_per_deadline(start_server: StartServer) -> None:
    """A load that hangs is ended at its deadline, told with the setting's name, and tried again."""
    switches = {"HANG_AT": "load", "HANG_KIND": "gilhold", "ONCE": 1}
    server = start_server("--load-timeout-s", "2.5", switches=switches)
    server.wait_ready()
    first, second = server.events("start")

    assert second.at_s - first.at_s >= 2.5
    server.wait_log("cpu#1 is ended", "(load_timeout_s)")
    assert "cpu#2 is ended" not in server.log


def test_crash_loop_ends_visibly(start_server: StartServer) -> None:
    """An engine that always dies is started ever later, then given up, and everybody is told."""
    server = start_server("--max-restarts", "2", switches={"DIE_AT": "start", "EXIT_CODE": 1})
    server.wait_until(lambda: server.get("/livez")[0] == 503, 60, "failed")
    starts = [event.at_s for event in server.events("start")]
    reason = json.loads(server.get("/readyz")[1])["reason"]
    refused = speak(server, Ask())

    assert len(starts) == 3
    assert starts[1] - starts[0] >= 1.0
    assert starts[2] - starts[1] >= 2.0
    assert "max_restarts" in reason
    assert refused.status == 503
    assert server.health()["engines"][0]["state"] == "failed"
    assert server.get("/metrics")[0] == 200
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 70
    server.assert_gone()


def test_bad_checkpoint_is_not_tried_again(start_server: StartServer) -> None:
    """What another start cannot mend ends the server with the exit code of bad checkpoints."""
    server = start_server(switches={"BAD_CHECKPOINT": 1})

    assert server.wait_exit(60) == 79
    assert len(server.events("start")) == 1
    server.assert_gone()


class _Bomb:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self._canary), "w"))


@pytest.mark.parametrize("kind", ["empty", "truncated", "bomb"])
def test_hostile_checkpoint_ends_the_real_engine_cleanly(
    start_server: StartServer, tmp_path: Path, kind: str
) -> None:
    """An empty file, half an archive, a pickle that runs code: exit code 79, the code never ran."""
    canary = tmp_path / "canary"
    path = tmp_path / "bad.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": _Bomb(canary)}))
        archive.writestr("archive/version", "3\n")
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "truncated": whole[:-40], "bomb": whole}[kind])
    write_random_model(tmp_path / "model", version=ModelVersion.V2, size="tiny", seed=0)
    model = str(tmp_path / "model")
    server = start_server("--model", model, "--t2s", str(path), has_fake_engines=False)

    assert server.wait_exit(90) == 79, server.log_end()
    assert not canary.exists()
    assert "bad.ckpt" in server.log, server.log
    assert "cpu#2" not in server.log
    server.assert_gone()


def test_port_in_use_is_told_before_anything_loads(
    start_server: StartServer, tmp_path: Path
) -> None:
    """A second server on the port ends at once, names who has it, and disturbs nobody."""
    first = start_server(directory=tmp_path / "first")
    first.wait_ready()
    second = start_server(directory=tmp_path / "second", port=first.port)

    assert second.wait_exit() == 78
    assert f"{first.port} is in use by process" in second.log
    assert not second.events("start")
    assert_right(first, [speak(first, Ask())])


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Return an endpoint in a directory whose path is short, as those of sockets must be."""
    with tempfile.TemporaryDirectory(prefix="sst-", dir="/tmp") as directory:
        yield f"ipc://{directory}/dispatcher.sock"


def test_two_supervisors_on_one_endpoint(
    start_server: StartServer, tmp_path: Path, endpoint: str
) -> None:
    """The second one is refused and told of the first, which serves on."""
    first = start_server("--endpoint", endpoint, directory=tmp_path / "first")
    first.wait_ready()
    second = start_server("--endpoint", endpoint, directory=tmp_path / "second")

    assert second.wait_exit() == 78
    assert "another supervisor" in second.log
    assert not second.events("start")
    assert_right(first, [speak(first, Ask())])


def test_socket_file_of_a_dead_server_is_taken_over(
    start_server: StartServer, tmp_path: Path, endpoint: str
) -> None:
    """What a killed server left behind does not hinder the next one."""
    first = start_server("--endpoint", endpoint, directory=tmp_path / "first")
    first.wait_ready()
    first.process.kill()
    first.wait_exit()
    first.assert_gone(leaves_files=True)
    assert Path(endpoint.removeprefix("ipc://")).exists()
    second = start_server("--endpoint", endpoint, directory=tmp_path / "second")
    second.wait_ready()
    second.stop()

    assert not Path(endpoint.removeprefix("ipc://")).exists()


def test_ready_means_every_worker(start_server: StartServer) -> None:
    """Once /readyz says so, and through every replacement of workers, no request is refused."""
    server = start_server(*EAGER, num_workers=4)
    server.wait_ready()
    assert_right(server, speak_all(server, [Ask(seed=number) for number in range(16)]))
    for _ in range(2):
        os.kill(server.pids("worker")[0], signal.SIGKILL)
        asks = [Ask(seed=number) for number in range(200)]
        outcomes = speak_all(server, asks, num_clients=4)
        server.wait_until(lambda: len(server.pids("worker")) == 4, what="four workers")

        assert not [str(outcome) for outcome in outcomes if outcome.kind == "refused"]
