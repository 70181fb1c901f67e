import asyncio
import os
import signal

import pytest

from sovits_serve.supervisor.signals import REPEAT_S, handle_signals


@pytest.mark.parametrize(("pause_s", "num_heard"), [(0.0, 1), (0.2, 1), (REPEAT_S + 0.1, 2)])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_signal_delivered_twice_is_one_signal(
    pause_s: float, num_heard: int, second: signal.Signals
) -> None:
    """What comes again within a second, as `timeout` has it come, is not taken for impatience."""
    heard: list[signal.Signals] = []

    async def run() -> None:
        with handle_signals(heard.append, heard.append):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(pause_s)  # the pause is what is tested
            os.kill(os.getpid(), second)
            await asyncio.sleep(0.05)

    asyncio.run(run())

    assert heard == [signal.SIGTERM, second][:num_heard]


def test_hangup_is_not_held_back() -> None:
    """SIGHUP right after SIGTERM, or twice, is told each time."""
    heard: list[signal.Signals] = []

    async def run() -> None:
        with handle_signals(heard.append, heard.append):
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
                os.kill(os.getpid(), number)
                await asyncio.sleep(0.05)

    asyncio.run(run())

    assert heard == [signal.SIGTERM, signal.SIGHUP, signal.SIGHUP]
