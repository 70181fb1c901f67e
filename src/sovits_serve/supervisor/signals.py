"""Signals as events of the loop: they are heard at once in every state of the server."""

import asyncio
import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[signal.Signals], None]
# `timeout` and some process managers signal both a process and its group: a signal to stop that
# comes so soon after another is the same one, delivered twice.
REPEAT_S = 1.0


@contextmanager
def handle_signals(on_stop: Handler, on_hangup: Handler) -> Iterator[None]:
    """Have SIGTERM and SIGINT, and SIGHUP unless nohup wants it ignored, handled in the loop."""
    loop = asyncio.get_running_loop()
    on_stop = _once_at_a_time(on_stop, loop.time)
    handlers = {signal.SIGTERM: on_stop, signal.SIGINT: on_stop}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = on_hangup
    before = {number: signal.getsignal(number) for number in handlers}
    has_loop_handlers = True
    for number, handler in handlers.items():
        try:
            loop.add_signal_handler(number, handler, number)
        except NotImplementedError:  # Windows
            has_loop_handlers = False
            signal.signal(number, _in_loop(loop, handler))
    try:
        yield
    finally:
        for number in handlers:
            if has_loop_handlers:
                loop.remove_signal_handler(number)
            signal.signal(number, before[number] or signal.SIG_DFL)


def _once_at_a_time(handler: Handler, clock: Callable[[], float]) -> Handler:
    """Return a handler that is not called again within ``REPEAT_S`` of a call."""
    last_at = -math.inf

    def call(number: signal.Signals) -> None:
        nonlocal last_at
        now = clock()
        if now - last_at >= REPEAT_S:
            last_at = now
            handler(number)

    return call


def has_terminal() -> bool:
    """Return whether this process was started from a terminal, and that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True


def _in_loop(
    loop: asyncio.AbstractEventLoop, handler: Handler
) -> Callable[[int, FrameType | None], None]:
    def call(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        loop.call_soon_threadsafe(handler, signal.Signals(number))

    return call
