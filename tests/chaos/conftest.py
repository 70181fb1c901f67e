"""Whole servers for chaos, shared by the tests of a file where their switches agree."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.clients import Ask, assert_right, speak_all
from tests.server_process import ServerProcess

StartServer = Callable[..., ServerProcess]

# Restarts come a second apart, however many there were: these tests need many.
EAGER = ("--max-restarts", "1000", "--restart-window-s", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip ``chaos`` tests unless the command line's -m speaks of them."""
    if "chaos" in config.getoption("markexpr", ""):
        return
    for item in items:
        if item.get_closest_marker("chaos"):
            item.add_marker(pytest.mark.skip(reason="long; run with -m chaos"))


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Return a function that starts a server, with options and switches of its own."""
    with ExitStack() as stack:

        def start(*options: str, **settings: Any) -> ServerProcess:
            directory = settings.pop("directory", tmp_path)
            return stack.enter_context(ServerProcess(directory, *options, **settings))

        yield start


def warm_up(server: ServerProcess) -> None:
    """Have every HTTP worker load its languages: whoever is first waits for them."""
    asks = [Ask("All is well.", seed=90 + number) for number in range(8)]
    assert_right(server, speak_all(server, asks))


def settle(server: ServerProcess, num_engines: int) -> None:
    """Wait until all is as it was at first, and see that it speaks."""
    server.wait_ready(num_engines=num_engines)
    server.wait_idle()
    warm_up(server)
