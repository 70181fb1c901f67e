"""A server and its engines, started at the same moment in a directory of their own."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.compat.client import call
from tests.compat.environments import Environment
from tests.compat.processes import Running, base_environment
from tests.compat.result import Kind
from tests.compat.servers import OWN, Server
from tests.compat.speech import SECONDS_PER_PHONEME
from tests.ports import reserved_port

NUM_ENGINES = 2
_ENGINE_MODULE = "tests.fake_engine"


@dataclass(frozen=True)
class Fleet:
    """What runs. ``sovits-serve serve`` is server and engines in one."""

    server: Running
    engines: Running
    port: int
    directory: Path

    @property
    def is_one(self) -> bool:
        """Return whether one command runs both."""
        return self.server is self.engines

    def engine_events(self, event: str) -> list[tuple[str, int]]:
        """Return name and pid of each engine that has logged an event, in order."""
        log = self.directory / "engines.log"
        lines = log.read_text().splitlines() if log.exists() else []
        found = [line.split(" ", 3) for line in lines]
        return [(name, int(pid)) for what, pid, _time, name in found if what == event]

    def count(self, event: str) -> dict[str, int]:
        """Return how often each engine has logged an event; replacements count as the same."""
        return dict(Counter(name.partition("#")[0] for name, _pid in self.engine_events(event)))

    def get(self, path: str, timeout_s: float = 10.0) -> tuple[int, dict[str, object]]:
        """Return status and body of one of the server's own pages."""
        answer = call(self.port, path, timeout_s=timeout_s)
        return answer.status, answer.json


@contextmanager
def start_fleet(
    server: Server, environment: Environment, kind: Kind, load_s: float
) -> Iterator[Fleet]:
    """Start engines and server; nothing of them is left afterwards."""
    python = str(environment.python)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compat-")))
        settings = base_environment(
            SOVITS_SERVE_ENDPOINT=f"ipc://{directory}/dispatcher.sock",
            SOVITS_SERVE_API_ALLOWED_PATHS=str(directory),
            SOVITS_SERVE_QUEUE_MAX_PER_KEY="64",
            SOVITS_SERVE_SUPERVISOR_ENGINE_MODULE=_ENGINE_MODULE,
            SOVITS_SERVE_SUPERVISOR_DEVICES=",".join(["cpu"] * NUM_ENGINES),
            FAKE_LOAD_S=str(load_s),
            FAKE_LOAD_KIND=kind,
            FAKE_LOG=str(directory / "engines.log"),
            FAKE_SLOW_STEP_MS="20",
            FAKE_SECONDS_PER_PHONEME=str(SECONDS_PER_PHONEME),
        )
        port = stack.enter_context(reserved_port())

        def run(arguments: list[str], name: str) -> Running:
            return stack.enter_context(Running([python, *arguments], settings, directory / name))

        if server.name == OWN:
            one = run(server.arguments(port), "serve.txt")
            yield Fleet(one, one, port, directory)
            return
        engines = run(["-m", "sovits_serve", "engines"], "engines.txt")
        yield Fleet(run(server.arguments(port), "server.txt"), engines, port, directory)
