"""What becomes of a server whose socket file, or the directory around it, is removed."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovits_serve.supervisor.endpoint_watch import EndpointWatch
from tests.liveness import is_alive
from tests.supervisor.harness import Server, wait_until


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Give a runtime directory with a path that is short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def directory_of_endpoint(runtime: Path) -> Path:
    """Return the directory that the server made for its socket."""
    [directory] = runtime.iterdir()
    return directory


@pytest.mark.parametrize("how", ["directory", "runtime", "socket"])
def test_removed_socket_is_made_again(tmp_path: Path, runtime: Path, how: str) -> None:
    """Whatever of the path is removed, a new dispatcher listens there, and no one else restarts."""
    with Server(tmp_path, XDG_RUNTIME_DIR=runtime) as server:
        server.url()
        directory = directory_of_endpoint(runtime)
        others = server.wait_for("ready", "cpu"), server.wait_for("ready", "worker")
        gone = {"directory": directory, "runtime": runtime, "socket": directory / "dispatcher.sock"}
        if how == "socket":
            gone[how].unlink()
        else:
            shutil.rmtree(gone[how])
        server.wait_for("ready", "dispatcher", 2)
        num_fleets = len(server.fleets())
        wait_until(lambda: len(server.fleets()) > num_fleets, explain=server.log_end)

        assert (directory / "dispatcher.sock").is_socket()
        assert directory.stat().st_mode & 0o777 == 0o700
        assert all(is_alive(other.pid) for other in others)
        server.wait_log(f"ipc://{directory / 'dispatcher.sock'} was removed")
        server.stop()
        assert server.process.returncode == 0
        assert not directory.exists()


def test_directory_that_cannot_be_made_again_is_told_once(tmp_path: Path, runtime: Path) -> None:
    """Who is connected is served on; the end of the dispatcher is then the server's: 70, not 78."""
    with Server(tmp_path, XDG_RUNTIME_DIR=runtime) as server:
        server.url()
        dispatcher = server.wait_for("ready", "dispatcher")
        directory = directory_of_endpoint(runtime)
        shutil.rmtree(directory)
        directory.write_text("in the way")
        told = f"{directory / 'dispatcher.sock'} is gone and cannot be made again"
        server.wait_log(told)
        num_fleets = len(server.fleets())
        wait_until(lambda: len(server.fleets()) > num_fleets + 2)
        assert is_alive(dispatcher.pid)

        os.kill(dispatcher.pid, signal.SIGKILL)
        assert server.wait_exit() == 70
        text = server.errors.read_text()
        assert f"dispatcher failed at ipc://{directory / 'dispatcher.sock'}" in text
        assert text.count(told) == 1
        assert not server.living()


def test_directory_of_others_is_not_taken(tmp_path: Path) -> None:
    """Where our directory was, one that others can enter is no place for our socket."""
    directory = tmp_path / "own"
    directory.mkdir()
    directory.chmod(0o755)
    endpoint = f"ipc://{directory / 'dispatcher.sock'}"

    assert not EndpointWatch(endpoint, is_private=True).mend()
    assert EndpointWatch(
        endpoint, is_private=False
    ).mend()  # one that was set is its owner's matter


def test_tcp_is_never_lost() -> None:
    """What is no file cannot be removed."""
    watch = EndpointWatch("tcp://127.0.0.1:1", is_private=True)

    assert not watch.is_lost
    assert watch.mend()
