"""What is to run, with every "auto" resolved: which processes, and what each is told."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

import sovits_serve
from sovits_serve.config import EngineSetup, ServerConfig, WorkerSetup
from sovits_serve.protocol.reports import Setup
from sovits_serve.supervisor.child import Command
from sovits_serve.supervisor.devices import place_names
from sovits_serve.supervisor.restarts import DEFAULT_BACK_OFF, BackOff

Kind = Literal["dispatcher", "worker", "engine"]


@dataclass(frozen=True)
class Modules:
    """What is run as what; others are for tests. ``SupervisorConfig`` names the engine's."""

    dispatcher: str = "sovits_serve.dispatcher.process"
    worker: str = "sovits_serve.api.worker"


@dataclass(frozen=True)
class Timing:
    """The supervisor's own pace; tests have a quicker one."""

    tick_s: float = 0.1
    publish_s: float = 1.0
    back_off: BackOff = DEFAULT_BACK_OFF


MODULES = Modules()
TIMING = Timing()


@dataclass(frozen=True)
class Post:
    """One place that is to be filled, and how."""

    name: str
    kind: Kind
    device: str
    make_command: Callable[[str], Command]  # of a process's name


@dataclass(frozen=True)
class Plan:
    """Everything that the supervisor starts."""

    config: ServerConfig
    endpoint: str
    devices: tuple[str, ...]
    url: str = ""  # of HTTP; "": no HTTP
    sockets: tuple[int, ...] = ()  # that HTTP workers inherit
    modules: Modules = MODULES
    timing: Timing = TIMING

    def dispatcher(self) -> Post:
        """Return the dispatcher's post."""

        def make_command(name: str) -> Command:
            setup = self._setup(name, self.config.queue)
            return Command(
                self.modules.dispatcher,
                setup,
                has_private_files=True,
                flags=_flags(self.modules.dispatcher),
            )

        return Post("dispatcher", "dispatcher", "", make_command)

    def workers(self) -> list[Post]:
        """Return one post for each HTTP worker."""
        if not self.url:
            return []
        config = self.config
        told = WorkerSetup(config.api, config.frontend, config.model, self.sockets)

        def make_command(name: str) -> Command:
            module = self.modules.worker
            return Command(module, self._setup(name, told), self.sockets, flags=_flags(module))

        num_workers = config.api.workers or max(1, min(8, num_cores() // 2))
        if not self.sockets:
            num_workers = 1  # it takes the port itself
        return [Post(f"worker:{k}", "worker", "", make_command) for k in range(num_workers)]

    def engines(self) -> list[Post]:
        """Return one post for each engine."""
        names = place_names(list(self.devices))
        pairs = zip(names, self.devices, strict=True)
        return [Post(name, "engine", device, self._engine(device)) for name, device in pairs]

    def _engine(self, device: str) -> Callable[[str], Command]:
        engine = replace(self.config.engine, device=device)
        num_cpu_engines = self.devices.count("cpu")
        if device == "cpu" and num_cpu_engines > 1 and not engine.num_threads:
            # Each with all cores would only wait for the others.
            engine = replace(engine, num_threads=max(1, num_cores() // num_cpu_engines))
        told = EngineSetup(engine, self.config.model)
        module = self.config.supervisor.engine_module

        def make_command(name: str) -> Command:
            return Command(module, self._setup(name, told), flags=_flags(module))

        return make_command

    def _setup(self, name: str, told: object) -> Setup:
        raw = msgspec.Raw(msgspec.json.encode(told))
        return Setup(name, self.endpoint, self.config.token, raw)


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _flags(module: str) -> tuple[str, ...]:
    """Keep the current directory out of what children import, unless our code is there.

    A ``torch.py`` that lies about must not become part of a server.
    """
    root = Path(sovits_serve.__file__).parents[1]
    is_ours = module.startswith("sovits_serve.")
    return ("-P",) if is_ours and root != Path.cwd() else ()
