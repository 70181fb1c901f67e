"""What systemd wants to hear of a service of ``Type=notify``; nothing happens without it."""

import contextlib
import os
import socket


class Notifier:
    """Sends state to the socket that systemd names in its own environment variables."""

    def __init__(self, address: str | None = None, watchdog_us: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        watchdog_us = os.environ.get("WATCHDOG_USEC", "") if watchdog_us is None else watchdog_us
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.has_watchdog = watchdog_us.isdecimal()
        self._last = ""

    def send(self, *lines: str) -> None:
        """Tell something; the same state is told once."""
        text = "\n".join(lines)
        is_pulse = text.startswith(("WATCHDOG", "EXTEND"))
        if not self._address or (text == self._last and not is_pulse):
            return
        if not is_pulse:
            self._last = text
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(text.encode(), self._address)
