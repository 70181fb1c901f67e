"""Disks that are full and clocks that jump."""

import re
import shutil
from pathlib import Path

import pytest

from tests.chaos.clients import Ask, Flight, asks_of, assert_right, speak, speak_all
from tests.chaos.conftest import EAGER, StartServer
from tests.server_process import ROOT

pytestmark = pytest.mark.e2e

# Of the wall clock only log lines and such may speak.
_WALL_CLOCK = re.compile(r"\btime\.time(_ns)?\(|\bdatetime\.(now|utcnow)\(|\bdatetime\.today\(")
_MAY_USE_IT = frozenset({"log.py", "openai.py", "top.py"})


def _with_file_limit(kib: int) -> tuple[str, ...]:
    """Return a prefix under which no file may grow past a size."""
    return ("bash", "-c", f'ulimit -f {kib}; exec "$@"', "limited")


@pytest.mark.skipif(shutil.which("bash") is None, reason="sets the limit with bash")
def test_full_disk_does_not_stop_speech(start_server: StartServer) -> None:
    """With no room for any file, the log included, speech is right and the end is in order."""
    server = start_server(prefix=_with_file_limit(1), switches={"LOG": ""})
    server.wait_ready()
    outcomes = speak_all(server, asks_of(1, 20))

    assert server.log_path.stat().st_size <= 1024
    assert_right(server, outcomes)
    server.stop()


@pytest.mark.skipif(shutil.which("bash") is None, reason="sets the limit with bash")
def test_speech_too_long_for_the_disk_is_an_error(start_server: StartServer) -> None:
    """A whole body that needs a temporary file where there is no room fails, and nobody else."""
    switches = {"LOG": "", "SECONDS_PER_PHONEME": 2}
    server = start_server(prefix=_with_file_limit(1), switches=switches)
    server.wait_ready()
    failed = speak(server, Ask("The quick brown fox jumps over the lazy dog, and on and on."))

    assert failed.kind == "refused", str(failed)
    assert failed.status in {500, 503, 507}
    assert_right(server, [speak(server, Ask("Hi"))])


def test_intervals_never_come_from_the_wall_clock() -> None:
    """No deadline, age or wait can be moved by a clock that is set: only logs know the date."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        if path.name not in _MAY_USE_IT
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _WALL_CLOCK.search(line)
    ]

    assert not found


def _libfaketime() -> Path | None:
    places = (Path("/usr/lib"), Path("/usr/local/lib"), Path("/opt"))
    found = (path for place in places for path in place.glob("**/libfaketime.so.1"))
    return next(found, None)


@pytest.mark.skipif(_libfaketime() is None, reason="libfaketime is not installed")
def test_clock_that_jumps_a_day_hurts_nobody(start_server: StartServer, tmp_path: Path) -> None:
    """The wall clock goes a day ahead and back while streams run: no kill, no expiry."""
    setting = tmp_path / "faketime"
    setting.write_text("+0d")
    switches = {
        "SLOW_STEP_MS": 20,
        "CHUNK_S": 0.02,
    }
    library = str(_libfaketime())
    prefix = (
        "env",
        f"LD_PRELOAD={library}",
        f"FAKETIME_TIMESTAMP_FILE={setting}",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    )
    server = start_server(*EAGER, prefix=prefix, switches=switches)
    server.wait_ready()
    before = server.children()
    speak(server, Ask())
    for jump in ("+1d", "-1d", "+0d"):
        flight = Flight(server, asks_of(7, 4, is_streaming=True), is_held=True)
        flight.wait_running(1)
        setting.write_text(jump)
        assert_right(server, flight.outcomes())

    assert server.children() == before
