import socket
from pathlib import Path

from sovits_serve.supervisor.systemd import Notifier


def test_state_is_told_once_and_pulses_each_time(tmp_path: Path) -> None:
    """systemd hears of changes and of every turn of the watchdog."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(2)
        notifier = Notifier(path, "1000000")
        for lines in (["READY=1", "STATUS=ready"], ["STATUS=x"], ["STATUS=x"]):
            notifier.send(*lines)
        notifier.send("WATCHDOG=1")
        notifier.send("WATCHDOG=1")

        assert notifier.has_watchdog
        heard = [systemd.recv(100).decode() for _ in range(4)]
    assert heard == ["READY=1\nSTATUS=ready", "STATUS=x", "WATCHDOG=1", "WATCHDOG=1"]


def test_nothing_happens_without_systemd(tmp_path: Path) -> None:
    """No socket, or one that nobody listens on, is no error."""
    Notifier("", "").send("READY=1")
    Notifier(str(tmp_path / "gone"), "").send("READY=1")
