import msgspec
import pytest

from sovits_serve.config import (
    ApiConfig,
    EngineConfig,
    EngineSetup,
    QueueConfig,
    ServerConfig,
    WorkerSetup,
)
from sovits_serve.supervisor import plan as plan_module
from sovits_serve.supervisor.plan import Plan

CONFIG = ServerConfig(
    token="secret",
    api=ApiConfig(workers=3),
    queue=QueueConfig(max_waiting=7),
    engine=EngineConfig(max_running=5),
)


def make_plan(*devices: str) -> Plan:
    """Return a plan with HTTP on two sockets."""
    return Plan(CONFIG, "ipc:///e", devices, url="http://127.0.0.1:1", sockets=(11, 12))


def test_every_process_gets_its_part() -> None:
    """Each process is told its name, where all meet, and its own part of the configuration."""
    plan = make_plan("cuda:1")
    dispatcher = plan.dispatcher().make_command("dispatcher#1")
    worker = plan.workers()[2].make_command("worker:2#4")
    engine = plan.engines()[0].make_command("cuda:1#2")

    for command in (dispatcher, worker, engine):
        assert (command.setup.endpoint, command.setup.token) == ("ipc:///e", "secret")
    assert [c.setup.name for c in (worker, engine)] == ["worker:2#4", "cuda:1#2"]
    assert msgspec.json.decode(dispatcher.setup.config, type=QueueConfig) == CONFIG.queue
    told = msgspec.json.decode(worker.setup.config, type=WorkerSetup)
    assert (told.api, told.sockets, worker.pass_fds) == (CONFIG.api, (11, 12), (11, 12))
    asked = msgspec.json.decode(engine.setup.config, type=EngineSetup)
    assert (asked.engine.device, asked.engine.max_running) == ("cuda:1", 5)
    assert (engine.module, engine.pass_fds) == ("sovits_serve.engine.process", ())


def test_engines_on_one_cpu_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several CPU engines do not each take all cores; one alone does."""
    monkeypatch.setattr(plan_module, "num_cores", lambda: 8)

    def threads(*devices: str) -> list[int]:
        commands = [post.make_command(post.name) for post in make_plan(*devices).engines()]
        setups = [msgspec.json.decode(c.setup.config, type=EngineSetup) for c in commands]
        return [setup.engine.num_threads for setup in setups]

    assert threads("cpu") == [0]
    assert threads("cpu", "cpu", "cuda:0") == [4, 4, 0]


def test_secrets_are_not_on_the_command_line() -> None:
    """What others can see of a process (ps) holds no token and no key."""
    command = make_plan("cpu").workers()[0].make_command("worker:0#1")

    assert "secret" not in " ".join(command.arguments)


def test_the_current_directory_is_no_part_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file called torch.py where the user happens to be is not imported by an engine."""
    monkeypatch.chdir("/")

    assert "-P" in make_plan("cpu").engines()[0].make_command("cpu#1").arguments
