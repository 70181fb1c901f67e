"""``serve`` and ``engines`` around the supervisor: what is checked, told, and left behind."""

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from sovits_serve import builtin, log
from sovits_serve.announcement import Announcer, PatientConsole, engines_usage, server_url, usage
from sovits_serve.cli import app
from sovits_serve.config import ApiConfig, LogConfig, ModelConfig, ServerConfig
from sovits_serve.config_sources import all_settings, load_log_config
from sovits_serve.errors import CheckpointError, ConfigError
from sovits_serve.protocol.messages import EngineStatus, Fleet
from sovits_serve.serve import ReadyGate, is_ready, run_engines, run_serve
from sovits_serve.voices.demo import make_demo_voice
from tests.stand_in import write_stand_in_voices

ROOT = Path(__file__).parents[1]
URL = "http://127.0.0.1:1234"
DEADLINE_S = 30.0  # for what comes at once on a quiet machine


@dataclass
class FakeSupervisor:
    """Takes the place of ``run_supervisor``: notes what it got, and how the world was then."""

    exit_code: int = 0
    configs: list[ServerConfig] = field(default_factory=list)
    with_http: bool | None = None
    url: str = ""

    def __call__(
        self,
        config: ServerConfig,
        *,
        with_http: bool,
        on_ready: Callable[[str], None],
        on_fleet: Callable[[Fleet], None],
    ) -> int:
        """Become ready and end."""
        self.configs.append(config)
        self.with_http = with_http
        on_fleet(Fleet("starting", "", (EngineStatus("cpu", "loading", progress=0.5),)))
        if not with_http:
            on_ready(config.endpoint)
            return self.exit_code
        with answering(503, 503, 200) as (url, num_asked):
            self.url = url
            on_ready(url)
            deadline = time.monotonic() + DEADLINE_S
            while num_asked() < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        return self.exit_code


@contextmanager
def answering(*codes: int) -> Iterator[tuple[str, Callable[[], int]]]:
    """Give the URL of a server that answers with these codes in turn, and how many it gave."""
    left = list(codes)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(left[0])
            self.end_headers()
            del left[0]

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", lambda: len(codes) - len(left)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSupervisor:
    """Return a supervisor that starts nothing; logging and environment stay as they were."""
    monkeypatch.setattr(log, "configure", lambda *_, **__: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for setting in all_settings():
        monkeypatch.setenv(setting.environment, "")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return FakeSupervisor()


def run(*arguments: str | Path) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_without_a_model_the_built_in_voice_speaks(
    supervisor: FakeSupervisor,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The first command names the built-in voices, and says how to use one's own."""
    write_stand_in_voices(tmp_path / "built-in" / "voices")
    monkeypatch.setattr(builtin, "FOLDER", str(tmp_path / "built-in"))
    code = run_serve(ServerConfig(), supervisor)

    shown = capsys.readouterr().out
    assert code == 0
    assert supervisor.with_http is True
    assert supervisor.configs == [ServerConfig()]
    assert "voices   default, ada-en, bo-en, bo-zh, max-en, mei-en, mei-zh\n" in shown
    assert '"voice": "default"' in shown
    assert (
        shown.index("cpu: loading 50%")
        < shown.index(f"ready: {supervisor.url}")
        < shown.index("No model was given: the built-in one speaks")
    )


def test_the_supervisors_exit_code_is_the_commands(supervisor: FakeSupervisor) -> None:
    """Whatever it ended with, the command ends with."""
    supervisor.exit_code = 70

    assert run_serve(ServerConfig(), supervisor) == 70


def test_a_model_of_ones_own_brings_its_voices(
    supervisor: FakeSupervisor, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a model nothing is made up, and the voices beside it are named."""
    make_demo_voice(tmp_path / "m" / "voices")
    config = ServerConfig(model=ModelConfig(model=str(tmp_path / "m")))

    run_serve(config, supervisor)

    shown = capsys.readouterr().out
    assert supervisor.configs == [config]
    assert "voices   default\n" in shown
    assert "built-in" not in shown


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (ModelConfig(model="nowhere"), CheckpointError, "nowhere: no such directory"),
        (ModelConfig(model=".", pretrained="none"), CheckpointError, "none: no such directory"),
        (ModelConfig(model=".", t2s="a.ckpt"), CheckpointError, "a.ckpt: no such file"),
        (ModelConfig(sovits=__file__), ConfigError, "model.t2s: is missing"),
        (
            ModelConfig(pretrained="."),
            ConfigError,
            "model.pretrained: . is for a model of your own",
        ),
        (ModelConfig(voices="nowhere"), ConfigError, "model.voices: nowhere: no such directory"),
    ],
)
def test_what_is_not_there_stops_the_start(
    supervisor: FakeSupervisor, model: ModelConfig, error: type[Exception], words: str
) -> None:
    """A wrong path is told at once, before any process is started."""
    with pytest.raises(error, match=words):
        run_serve(ServerConfig(model=model), supervisor)

    assert supervisor.configs == []


def test_engines_meet_the_app_at_the_well_known_place(
    supervisor: FakeSupervisor, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """``engines`` listens where an app under another server looks, in a closed directory."""
    run_engines(ServerConfig(), supervisor)

    shown = capsys.readouterr().out
    directory = tmp_path / "sovits-serve"
    assert supervisor.with_http is False
    assert supervisor.configs[0].endpoint == f"ipc://{directory}/dispatcher.sock"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert "uvicorn sovits_serve.api.app:app" in shown


def test_serve_leaves_the_endpoint_to_the_supervisor(supervisor: FakeSupervisor) -> None:
    """Two servers of one user do not meet; one that was set is kept."""
    run_serve(ServerConfig(), supervisor)
    run_serve(ServerConfig(endpoint="ipc:///x"), supervisor)

    assert [config.endpoint for config in supervisor.configs] == ["", "ipc:///x"]


def test_children_are_told_how_to_log(supervisor: FakeSupervisor) -> None:
    """Level and format reach the children through the environment."""
    run_serve(ServerConfig(log=LogConfig(log_level="debug", log_json=True)), supervisor)

    assert load_log_config(os.environ) == LogConfig(log_level="debug", log_json=True)


def test_a_server_open_to_all_is_warned_about(
    supervisor: FakeSupervisor, caplog: pytest.LogCaptureFixture
) -> None:
    """Another address than the machine's own without a key is worth a warning."""
    run_serve(ServerConfig(api=ApiConfig(host="0.0.0.0")), supervisor)

    assert "set an API key" in caplog.text


@pytest.mark.parametrize("command", ["serve", "engines"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-waiting", "0"), "queue.max_waiting: 0 is not between 1 and 1000000 (from --max-"),
        (("--config", "nowhere.toml"), "nowhere.toml: No such file"),
        (("--hard-memory", "much"), "supervisor.hard_memory: 'much' is not a size"),
        (("--log-level", "loud"), "log.log_level: 'loud' is not one of"),
    ],
)
def test_a_bad_setting_stops_before_anything_is_started(
    command: str, arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 78 and one line; no process was started."""
    started: list[object] = []
    monkeypatch.setattr("sovits_serve.serve._run", lambda *a, **_: started.append(a))

    result = run(command, *arguments)

    assert result.exit_code == 78
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert started == []


def test_a_bad_model_has_its_own_exit_code() -> None:
    """A directory that is not there is the checkpoint's fault."""
    assert run("serve", "--model", "nowhere").exit_code == 79


def test_flags_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of flag arrives in its setting, both names of a switch, too."""
    got: list[ServerConfig] = []

    def keep(config: ServerConfig) -> int:
        got.append(config)
        return 3

    monkeypatch.setattr("sovits_serve.serve.run_serve", keep)
    monkeypatch.setenv("SOVITS_SERVE_API_CONTROL", "true")
    first = run(
        "serve", "--port", "1", "--gpu-memory", "6GiB", "--send-timeout-s", "2", "--log-json"
    )
    run("serve", "--no-control")

    assert first.exit_code == 3
    assert (got[0].api.port, got[0].engine.gpu_memory) == (1, "6GiB")
    assert (got[0].api.send_timeout_s, got[0].log.log_json) == (2.0, True)
    assert [config.api.control for config in got] == [True, False]


@pytest.mark.parametrize("command", ["serve", "engines"])
def test_help_has_every_setting(command: str) -> None:
    """Each setting of the command is in its help; ``engines`` has none of HTTP."""
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    shown = set(re.findall(r"--[\w-]+", result.stdout))
    flags = {one.flag: one.section for one in all_settings()}
    hidden = {"api", "frontend"} if command == "engines" else set()

    assert {flag for flag, section in flags.items() if section not in hidden} <= shown
    assert not {flag for flag, section in flags.items() if section in hidden} & shown
    assert "--no-log-json" in shown


def make_config(tmp_path: Path, **api: str) -> ServerConfig:
    """Return a configuration with one voice."""
    make_demo_voice(tmp_path / "voices")
    model = ModelConfig(voices=str(tmp_path / "voices"))
    return ServerConfig(model=model, api=replace(ApiConfig(), **api))  # type: ignore[arg-type]


@pytest.fixture
def speech_server() -> Iterator[tuple[str, list[tuple[str, str | None, bytes]]]]:
    """Give the URL of a server that answers every POST, and what was posted."""
    posted: list[tuple[str, str | None, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, self.headers["Authorization"], body))
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"RIFF")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("key", ["", "secret,other"])
@pytest.mark.parametrize("way", ["shell", "Python"])
def test_the_lines_that_are_shown_work(
    tmp_path: Path,
    speech_server: tuple[str, list[tuple[str, str | None, bytes]]],
    key: str,
    way: str,
) -> None:
    """What is printed for the shell and for Python, copied as it is, asks for speech."""
    url, posted = speech_server
    shown = usage(make_config(tmp_path, api_key=key), url)
    after = shown.partition(f"  {way}")[2].partition("\n  " + {"shell": "P", "Python": "d"}[way])[0]
    code = "\n".join(line.strip() for line in after.splitlines())
    command = ["bash", "-c", code] if way == "shell" else [sys.executable, "-c", code]

    environ = {**os.environ, "SOVITS_SERVE_API_KEY": "secret", "NO_PROXY": "*", "no_proxy": "*"}
    subprocess.run(command, cwd=tmp_path, env=environ, check=True, timeout=60, capture_output=True)

    ((path, authorization, body),) = posted
    fields = msgspec.json.decode(body)
    assert path == "/v1/audio/speech"
    assert (fields["input"], fields["voice"]) == ("Hello, world!", "default")
    assert fields["response_format"] == "wav"
    assert (tmp_path / "hello.wav").read_bytes() == b"RIFF"
    if key:
        assert authorization == "Bearer secret"
        assert "secret" not in shown


def test_without_a_voice_it_says_how_to_get_one(tmp_path: Path) -> None:
    """A model without voices serves; the person is told where to put a recording."""
    shown = usage(ServerConfig(model=ModelConfig(model=str(tmp_path))), URL)

    assert f"put a recording and its words into {tmp_path / 'voices'}, as NAME.wav" in shown


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("[::1]", "http://[::1]:1"),
        ("example.org", "http://example.org:1"),
    ],
)
def test_urls_can_be_opened(host: str, url: str) -> None:
    """An address that means all of them is shown as the machine's own."""
    assert server_url(host, 1) == url


def test_engines_usage_is_quoted() -> None:
    """A path with a space survives the shell; whatever tells an app of the weights is there."""
    model = ModelConfig(model="/m o", t2s="/a", sovits="/b", voices="/v")
    config = ServerConfig(endpoint="ipc:///a b", model=model)

    words = shlex.split(engines_usage(config).partition("serve ")[2])
    assert words[:2] == ["SOVITS_SERVE_ENDPOINT=ipc:///a b", "SOVITS_SERVE_MODEL=/m o"]
    names = {setting.environment for setting in all_settings()}
    assert {word.partition("=")[0] for word in words if word.startswith("SOVITS_")} <= names
    assert {"SOVITS_SERVE_MODEL_T2S=/a", "SOVITS_SERVE_MODEL_SOVITS=/b"} <= set(words)


@pytest.mark.parametrize(("code", "answer"), [(200, True), (404, True), (503, False)])
def test_only_not_ready_is_waited_for(*, code: int, answer: bool) -> None:
    """A server that refuses the question (its hosts are limited) is there all the same."""
    with answering(code) as (url, _):
        assert is_ready(url) is answer
    assert not is_ready(url)


def test_a_server_that_ends_before_it_answers_is_not_announced() -> None:
    """The end of the server ends the waiting."""
    announced: list[str] = []
    with answering(*[503] * 1000) as (url, num_asked), ReadyGate(announced.append) as gate:
        gate.open_soon(url)
        deadline = time.monotonic() + DEADLINE_S
        while not num_asked():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert announced == []


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_bars_on_a_terminal_and_lines_elsewhere(*, is_terminal: bool) -> None:
    """Lines come with each change of state and each quarter, not with each report."""
    output = StringIO()
    console = Console(file=output, force_terminal=is_terminal, width=100)
    with Announcer(ServerConfig(), with_http=True, console=console) as announcer:
        for share in range(100):
            engine = EngineStatus("cpu", "loading", progress=share / 100, detail="[t2s]")
            announcer.show(Fleet("starting", "", (engine,)))
        announcer.ready(URL)
        announcer.show(Fleet("ready", "", (EngineStatus("late", "starting"),)))
        announcer.ready(URL)

    shown = output.getvalue()
    assert shown.count("sovits-serve is ready") == 1
    assert "late" not in shown
    assert ("cpu: loading 0% [t2s]" in shown) is (not is_terminal)
    if not is_terminal:
        assert shown.count("cpu: loading") == 4
        assert "\x1b" not in shown


def test_a_reader_who_left_does_not_stop_the_server() -> None:
    """A closed standard output is no reason to end."""

    class Closed(StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    console = PatientConsole(file=Closed())
    with Announcer(ServerConfig(), with_http=True, console=console) as announcer:
        announcer.ready(URL)


_CHILD = """
import sys, time
from sovits_serve.config import ServerConfig
from sovits_serve.serve import run_serve

def supervise(config, **_):
    print("STARTED", flush=True)
    time.sleep(60)

sys.exit(run_serve(ServerConfig(), supervise))
"""


def test_told_to_end_before_the_supervisor_listens_it_ends_well() -> None:
    """SIGTERM while nothing takes it over yet is an end like any other."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environ,
    ) as child:
        try:
            assert child.stdout is not None
            assert "STARTED\n" in child.stdout
            child.send_signal(signal.SIGTERM)
            child.wait(DEADLINE_S)
        finally:
            child.kill()

    assert child.returncode == 0


@pytest.mark.e2e
def test_the_whole_server_serves_and_stops(tmp_path: Path) -> None:
    """``serve`` prints where it is, speaks, is seen by ``top``, and ends with 0 when told to."""
    command = [sys.executable, "-m", "sovits_serve", "serve", "--port", "0", "--workers", "1"]
    command += ["--devices", "cpu", "--engine-module", "tests.fake_engine"]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environ = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}
    environ.pop("XDG_RUNTIME_DIR", None)
    with (tmp_path / "log").open("wb") as file:
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, text=True, env=environ
        )
    try:
        assert server.stdout is not None
        ready = next((line for line in server.stdout if "is ready: " in line), "")
        url = ready.rpartition(" ")[2].strip()
        assert url, (tmp_path / "log").read_text()
        shown = run("top", "--once", "--url", url)
        body = msgspec.json.encode({"input": "Hello.", "response_format": "wav"})
        request = urllib.request.Request(
            f"{url}/v1/audio/speech", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            audio = answer.read()
        server.send_signal(signal.SIGTERM)
        server.stdout.read()
        exit_code = server.wait(DEADLINE_S)
    finally:
        server.kill()
        server.communicate()

    assert shown.exit_code == 0
    assert "ready" in shown.stdout
    assert audio[:4] == b"RIFF"
    assert exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
