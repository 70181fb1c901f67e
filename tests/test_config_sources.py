"""Where settings come from: precedence, names, messages, and the page about them."""

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest

from sovits_serve.config import LogConfig, ServerConfig, parse_share, parse_size
from sovits_serve.config_checks import is_loopback, warnings_about
from sovits_serve.config_page import markdown
from sovits_serve.config_sources import (
    OTHER_VARIABLES,
    PREFIX,
    all_settings,
    client_api_key,
    default_endpoint,
    export_log_config,
    load_config,
    load_log_config,
)
from sovits_serve.errors import ConfigError

ROOT = Path(__file__).parents[1]
VARIABLE = re.compile(r"\bSOVITS_SERVE_[A-Z0-9_]*[A-Z0-9]\b")


def toml(directory: Path, text: str) -> Path:
    """Write a configuration file."""
    path = directory / "server.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold() -> None:
    """An empty environment and no file give the defaults."""
    assert load_config(environ={}) == ServerConfig()


@pytest.mark.parametrize(
    ("flag", "variable", "in_file", "port"),
    [
        (None, None, None, 9880),
        (None, None, 1, 1),
        (None, "2", None, 2),
        (None, "2", 1, 2),
        ("3", None, None, 3),
        ("3", None, 1, 3),
        ("3", "2", None, 3),
        ("3", "2", 1, 3),
        (None, "", 1, 1),  # an empty variable is not set
    ],
)
def test_the_first_source_wins(
    tmp_path: Path, flag: str | None, variable: str | None, in_file: int | None, port: int
) -> None:
    """A flag goes before a variable, a variable before the file, the file before the default."""
    file = None if in_file is None else toml(tmp_path, f"[api]\nport = {in_file}\n")
    environ = {} if variable is None else {"SOVITS_SERVE_API_PORT": variable}

    config = load_config({"api.port": flag}, environ=environ, file=file)

    assert config.api.port == port


def test_a_variable_names_the_file_and_a_flag_another(tmp_path: Path) -> None:
    """SOVITS_SERVE_CONFIG names a file; one given directly is read instead of it."""
    (tmp_path / "other").mkdir()
    environ = {"SOVITS_SERVE_CONFIG": str(toml(tmp_path, "[api]\nworkers = 3\n"))}
    other = toml(tmp_path / "other", "[api]\nport = 1\n")

    assert load_config(environ=environ).api.workers == 3
    assert load_config(environ=environ, file=other).api.workers == 0


def test_every_setting_is_read_from_every_source(tmp_path: Path) -> None:
    """Each setting has a variable and a key in the file, and its default survives both ways."""
    given = {"": "x", "memory": "1GiB", "path": "/x", "paths": "/x", "list": "cpu", "share": "0.5"}
    for setting in all_settings():
        default = setting.declared.default
        kind = setting.declared.metadata["kind"]
        text = str(default) if default != "" else given[kind]
        if setting.name == "endpoint":
            text = "ipc:///x"
        shown = str(default).lower() if not isinstance(default, str) else f'"{text}"'
        table = f"[{setting.section}]\n" if setting.section else ""
        file = toml(tmp_path, f"{table}{setting.key} = {shown}\n")

        by_variable = load_config(environ={setting.environment: text})
        by_file = load_config(environ={}, file=file)

        section = getattr(by_variable, setting.section) if setting.section else by_variable
        assert by_variable == by_file, setting.name
        assert str(getattr(section, setting.key)) == text


def test_names_are_unique_and_short() -> None:
    """No two settings share a flag or a variable; the section is named only where it must be."""
    settings = {one.name: one for one in all_settings()}

    assert len({one.flag for one in settings.values()}) == len(settings)
    assert len({one.environment for one in settings.values()}) == len(settings)
    assert settings["api.port"].flag == "--port"
    assert settings["queue.max_waiting"].flag == "--max-waiting"
    assert settings["engine.max_waiting"].flag == "--engine-max-waiting"
    assert settings["queue.max_waiting"].environment == "SOVITS_SERVE_QUEUE_MAX_WAITING"
    assert settings["api.api_key"].environment == "SOVITS_SERVE_API_KEY"
    assert settings["model.model"].environment == "SOVITS_SERVE_MODEL"
    assert settings["endpoint"].environment == "SOVITS_SERVE_ENDPOINT"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("API_PORT", "70000", "api.port: 70000 is not between 0 and 65535"),
        ("API_PORT", "80.5", "api.port: '80.5' is not a whole number"),
        ("API_PORT", "٨٠", "is not a whole number"),
        ("API_PORT", "9" * 5000, "is not a whole number"),
        ("API_CONTROL", "maybe", "api.control: 'maybe' is not true or false"),
        ("API_BODY_TIMEOUT_S", "nan", "api.body_timeout_s: 'nan' is not a number"),
        ("API_BODY_TIMEOUT_S", "inf", "api.body_timeout_s: 'inf' is not a number"),
        ("API_BODY_TIMEOUT_S", "0", "api.body_timeout_s: 0.0 is not between 0.1 and 3600.0"),
        ("API_MAX_BODY_BYTES", "12 stones", "'12 stones' is not a size such as 8GiB"),
        ("ENGINE_DTYPE", "int8", "engine.dtype: 'int8' is not one of auto, float32"),
        ("LOG_LEVEL", "loud", "log.log_level: 'loud' is not one of debug, info"),
        ("MODEL", "a\0b", "model.model: 'a\\x00b' holds a null character"),
    ],
)
def test_a_bad_value_names_key_value_source_and_what_is_allowed(
    variable: str, value: str, words: str
) -> None:
    """A value that cannot be stops the start with everything one must know to mend it."""
    with pytest.raises(ConfigError) as stopped:
        load_config(environ={f"SOVITS_SERVE_{variable}": value})

    assert words in stopped.value.message
    assert f"(from SOVITS_SERVE_{variable})" in stopped.value.message


def test_a_bad_flag_and_a_bad_line_name_themselves(tmp_path: Path) -> None:
    """The message says which of the sources the bad value is from."""
    file = toml(tmp_path, "[api]\nport = true\n")

    with pytest.raises(ConfigError, match=r"api.port: 'x' is not a whole number \(from --port\)"):
        load_config({"api.port": "x"}, environ={})
    with pytest.raises(ConfigError, match=r"port: True is not of type int \(from .*server.toml\)"):
        load_config(environ={}, file=file)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"supervisor.soft_memory": "8 apples"}, "supervisor.soft_memory: '8 apples' is not a"),
        (
            {"supervisor.soft_memory": "8GiB", "supervisor.hard_memory": "8GiB"},
            "supervisor.hard_memory: 8GiB is not more than soft_memory (8GiB)",
        ),
        (
            {"supervisor.soft_device_memory": "2GiB", "supervisor.hard_device_memory": "2000MiB"},
            "supervisor.hard_device_memory: 2000MiB is not more than soft_device_memory",
        ),
        ({"engine.gpu_memory": "1.5"}, "engine.gpu_memory: '1.5' is not a share above 0"),
        ({"engine.gpu_memory": "0"}, "engine.gpu_memory: '0' is not a share above 0"),
        ({"engine.device": "tpu"}, "engine.device: 'tpu' is not auto, cpu, cuda or cuda:N"),
        (
            {"engine.device": "cpu", "supervisor.devices": "cuda:0"},
            "engine.device: cpu contradicts supervisor.devices (cuda:0)",
        ),
        ({"supervisor.devices": "cpu,,"}, "supervisor.devices: '' is not auto, cpu"),
        ({"supervisor.devices": "cpu:7"}, "supervisor.devices: 'cpu:7' is not auto"),
        ({"api.host": ""}, "api.host: is empty"),
        ({"api.max_json_bytes": "20MiB"}, "api.max_json_bytes: 20971520 is more than"),
        ({"endpoint": "somewhere"}, "endpoint: 'somewhere' is not ipc:///path or tcp://"),
        ({"endpoint": "tcp://127.0.0.1:1"}, "token: is empty; tcp://127.0.0.1:1 is open"),
        ({"endpoint": "ipc:///" + "x" * 200}, "is longer than the 103 bytes"),
        (
            {"engine.first_window_frames": "500"},
            "engine.first_window_frames: 500 is more than max_window_frames (400)",
        ),
    ],
)
def test_settings_that_do_not_go_together_stop_the_start(
    settings: dict[str, object], words: str
) -> None:
    """What one setting alone cannot tell is checked, too."""
    with pytest.raises(ConfigError) as stopped:
        load_config(settings, environ={})

    assert words in stopped.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[api]\nprot = 1\n", "api.prot: unknown (in {file}); did you mean api.port?"),
        ("[apis]\nport = 1\n", "apis: unknown (in {file}); did you mean api?"),
        ("port = 1\n", "port: unknown (in {file})"),
        ("api = 1\n", "api: unknown (in {file})"),
        ("[api\n", "{file}: not TOML: "),
    ],
)
def test_a_file_with_unknown_keys_stops_the_start(tmp_path: Path, text: str, words: str) -> None:
    """A key that is no setting is named with the file and what was perhaps meant."""
    file = toml(tmp_path, text)

    with pytest.raises(ConfigError) as stopped:
        load_config(environ={}, file=file)

    assert words.format(file=file) in stopped.value.message


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """A named file must be there."""
    with pytest.raises(ConfigError, match="nowhere.toml: No such file"):
        load_config(environ={"SOVITS_SERVE_CONFIG": str(tmp_path / "nowhere.toml")})


def test_an_unknown_variable_stops_the_start() -> None:
    """A misspelt variable is not quietly without effect."""
    with pytest.raises(ConfigError, match="API_PROT: unknown .*mean SOVITS_SERVE_API_PORT"):
        load_config(environ={"SOVITS_SERVE_API_PROT": "1"})


def test_variables_of_others_are_left_alone() -> None:
    """The tests' own, and those that Kubernetes makes for services named like us, are no settings."""
    environ = {
        "SOVITS_SERVE_WEIGHTS": "/weights",
        "SOVITS_SERVE_SERVICE_HOST": "10.0.0.1",
        "SOVITS_SERVE_SERVICE_PORT_HTTP": "80",
        "SOVITS_SERVE_PORT": "tcp://10.0.0.1:80",
        "SOVITS_SERVE_PORT_80_TCP_ADDR": "10.0.0.1",
        "SOVITS_SERVE_API_PORT": "tcp://10.0.0.1:80",  # a service called sovits-serve-api
        "SOVITS_SERVE_API_SERVICE_HOST": "10.0.0.1",
        "PATH": "/bin",
    }

    assert load_config(environ=environ) == ServerConfig()


def test_a_file_may_write_lists_sizes_and_relative_paths(tmp_path: Path) -> None:
    """Lists, sizes, whole seconds and shares are read; paths are relative to the file."""
    text = """
    [api]
    cors_origins = ["https://a.example", "https://b.example"]
    max_body_bytes = "1MiB"
    body_timeout_s = 5
    [model]
    model = "voice"
    [engine]
    gpu_memory = 0.5
    """
    config = load_config(environ={}, file=toml(tmp_path, text))

    assert config.api.cors_origins == "https://a.example,https://b.example"
    assert config.api.max_body_bytes == 1 << 20
    assert config.api.body_timeout_s == 5.0
    assert config.engine.gpu_memory == "0.5"
    assert config.model.model == str(tmp_path / "voice")


def test_paths_of_flags_are_relative_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes may stand elsewhere: they get absolute paths, and ~ is the home directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home-of-mine")
    allowed = os.pathsep.join(["a", "~/b"])

    config = load_config({"model.model": "voice", "api.allowed_paths": allowed}, environ={})

    assert config.model.model == str(tmp_path / "voice")
    assert config.api.allowed_paths == os.pathsep.join([str(tmp_path / "a"), "/home-of-mine/b"])


def test_device_is_the_only_one_of_devices() -> None:
    """``--device cuda:1`` means one engine, on that device."""
    assert load_config({"engine.device": "cuda:1"}, environ={}).supervisor.devices == "cuda:1"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1", 1), ("8GiB", 8 << 30), ("8g", 8 << 30), ("8 GB", 8 * 10**9), ("1.5KiB", 1536)],
)
def test_sizes(text: str, size_bytes: int) -> None:
    """Sizes are read as people write them."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "0", "-1", "GiB", "1e9", "1PiB", "8iB!", "0.1"])
def test_what_is_no_size(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ConfigError, match="is not a size"):
        parse_size(text)


def test_a_share_is_told_from_a_size() -> None:
    """A number up to one is a share, everything else a size."""
    assert [parse_share(text) for text in ("1", "0.25", ".5", "2", "6GiB")] == [
        1.0,
        0.25,
        0.5,
        2,
        6 << 30,
    ]


@pytest.mark.parametrize(
    ("settings", "num_warnings"),
    [
        ({}, 0),
        ({"api.host": "::1"}, 0),
        ({"api.host": "0.0.0.0"}, 1),
        ({"api.host": "0.0.0.0", "api.api_key": "k"}, 0),
        ({"api.host": "server.example"}, 1),
        ({"api.cors_origins": "*"}, 1),
    ],
)
def test_an_open_server_is_warned_about(settings: dict[str, object], num_warnings: int) -> None:
    """Reachable by others without a key is allowed, and said."""
    assert len(warnings_about(load_config(settings, environ={}))) == num_warnings


def test_loopback_addresses() -> None:
    """All of 127/8, ::1 and localhost are this machine's own."""
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


def test_children_log_as_their_parent() -> None:
    """What the parent exports, a child reads; its other variables do not matter to it."""
    environ = {"SOVITS_SERVE_NO_SUCH": "1"}
    export_log_config(LogConfig(log_level="debug", log_json=True), environ)

    assert load_log_config(environ) == LogConfig(log_level="debug", log_json=True)
    assert load_log_config({}) == LogConfig()


def test_a_client_takes_the_first_key() -> None:
    """A server may have several keys; one opens it."""
    assert client_api_key({"SOVITS_SERVE_API_KEY": "one, two"}) == "one"
    assert client_api_key({}) == ""


def test_the_default_endpoint_is_in_a_directory_of_ones_own(tmp_path: Path) -> None:
    """The directory is made, closed to others, and the same the next time."""
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}

    endpoint = default_endpoint(environ)

    assert endpoint == f"ipc://{tmp_path}/sovits-serve/dispatcher.sock"
    assert (tmp_path / "sovits-serve").stat().st_mode & 0o777 == 0o700
    assert default_endpoint(environ) == endpoint


def test_without_a_runtime_directory_the_endpoint_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name holds the user, and a runtime directory that is not there does not matter."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    expected = f"ipc://{tmp_path}/sovits-serve-{os.getuid()}/dispatcher.sock"

    assert default_endpoint({"XDG_RUNTIME_DIR": str(tmp_path / "gone")}) == expected


def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    """Whoever gets in could pose as the dispatcher."""
    directory = tmp_path / "sovits-serve"
    directory.mkdir()
    directory.chmod(0o750)

    with pytest.raises(ConfigError, match="has mode 750, others can get in; chmod 700"):
        default_endpoint({"XDG_RUNTIME_DIR": str(tmp_path)})


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_lies_in_the_directorys_place_is_refused(tmp_path: Path, kind: str) -> None:
    """A link that somebody laid there is not followed."""
    place = tmp_path / "sovits-serve"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.touch()

    with pytest.raises(ConfigError, match="endpoint: .*sovits-serve"):
        default_endpoint({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_somebody_elses_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of another user is not used."""
    (tmp_path / "sovits-serve").mkdir(mode=0o700)
    stranger = os.getuid() + 1
    monkeypatch.setattr("os.getuid", lambda: stranger)

    with pytest.raises(ConfigError, match=f"belongs to user {stranger - 1}, not to {stranger}"):
        default_endpoint({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_the_page_is_current() -> None:
    """docs/configuration.md is what the declarations say."""
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == markdown()


def test_the_page_has_every_setting() -> None:
    """Each setting is a row with its flag and its variable."""
    page = markdown()

    assert not [one.name for one in all_settings() if f"`{one.flag}`" not in page]
    assert not [one.name for one in all_settings() if f"`{one.environment}`" not in page]
    assert len(all_settings()) > len(fields(ServerConfig))


def test_no_source_or_page_names_a_variable_that_there_is_not() -> None:
    """Whatever is written as our variable, in errors, in scripts or in docs, can be set."""
    known = {setting.environment for setting in all_settings()} | OTHER_VARIABLES
    paths = [
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "scripts").iterdir(),
        *ROOT.glob("README*.md"),
    ]
    named = {
        (name, path.name)
        for path in paths
        for name in VARIABLE.findall(path.read_text("utf-8").replace("{PREFIX}", PREFIX))
    }

    assert len(named) > 50
    assert {(name, file) for name, file in named if name not in known} == set()
