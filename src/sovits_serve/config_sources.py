"""Where settings come from: flags, environment variables, a TOML file, defaults; in that order.

Knows no single setting: names of flags, variables and keys follow from the declarations in
``config.py``. Nothing else of the package reads the environment.
"""

import difflib
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import Field, dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from sovits_serve.config import LogConfig, ServerConfig, check_value, parse_size
from sovits_serve.config_checks import check_together, with_device
from sovits_serve.errors import ConfigError

PREFIX = "SOVITS_SERVE_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
# Variables with our prefix that are no settings. The tests' weights are found by one.
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, f"{PREFIX}WEIGHTS"})
# Kubernetes and old container links tell every process where a service called sovits-serve (or
# sovits-serve-api, ...) is, in variables that look like ours.
_SERVICE_VARIABLE = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?|NAME)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Setting:
    """One declared setting and the names it goes by."""

    section: str  # "" at the top
    declared: Field[Any]
    flag: str

    @property
    def key(self) -> str:
        """Return its name within the section."""
        return self.declared.name

    @property
    def name(self) -> str:
        """Return its name among all: "api.port"."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def environment(self) -> str:
        """Return its environment variable; the section is not said twice (API_KEY)."""
        is_said = self.key == self.section or self.key.startswith(f"{self.section}_")
        parts = (self.key,) if is_said or not self.section else (self.section, self.key)
        return PREFIX + "_".join(parts).upper()


@dataclass(frozen=True)
class _Given:
    """A value that somebody gave, before it is checked."""

    value: object
    source: str  # for messages
    directory: Path  # what relative paths are relative to


@cache
def all_settings() -> tuple[Setting, ...]:
    """Return every setting in the order of the declarations; of equal keys the first is short."""
    found: list[Setting] = []
    taken: set[str] = set()
    for section, declared in _declarations():
        key = declared.name if declared.name not in taken else f"{section}_{declared.name}"
        assert key not in taken
        taken.add(key)
        found.append(Setting(section, declared, "--" + key.replace("_", "-")))
    return tuple(found)


def load_config(
    flags: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> ServerConfig:
    """Put the configuration together and check it.

    Args:
        flags: what the command line gives, by the settings' full names ("api.port").
        environ: the environment.
        file: TOML; without it the file that SOVITS_SERVE_CONFIG names, if it does.

    Raises:
        ConfigError: names key, value, where it came from and what is allowed.
    """
    given: dict[str, _Given] = {}
    named = environ.get(CONFIG_VARIABLE)
    path = file if file is not None else Path(named).expanduser() if named else None
    if path is not None:
        given |= _from_file(path)
    given |= _from_environment(environ)
    for setting in all_settings():
        value = None if flags is None else flags.get(setting.name)
        if value is not None:
            given[setting.name] = _Given(value, setting.flag, Path.cwd())
    config = _build(given)
    check_together(config)
    return with_device(config)


def load_log_config(environ: Mapping[str, str] = os.environ) -> LogConfig:
    """Return what a child process is to log, as its parent set it.

    Raises:
        ConfigError: a value is bad.
    """
    names = {setting.environment: setting for setting in all_settings() if setting.section == "log"}
    given = {
        setting.name: _Given(environ[name], name, Path.cwd())
        for name, setting in names.items()
        if environ.get(name)
    }
    return _build(given).log


def export_log_config(log: LogConfig, environ: MutableMapping[str, str] = os.environ) -> None:
    """Let the processes that this one starts log as it does."""
    for setting in all_settings():
        if setting.section == "log":
            environ[setting.environment] = str(getattr(log, setting.key)).lower()


def client_api_key(environ: Mapping[str, str] = os.environ) -> str:
    """Return a key that a server with this environment lets in; "" if it needs none."""
    return environ.get(f"{PREFIX}API_KEY", "").partition(",")[0].strip()


def default_endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """Return this user's well-known endpoint; its directory is made when it is not there.

    Raises:
        ConfigError: the directory cannot be made, or others can get at it.
    """
    if not hasattr(os, "getuid"):
        raise ConfigError(
            "endpoint: this system has no Unix sockets; set it to tcp://127.0.0.1:PORT, and token"
        )
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir():
        directory = Path(runtime) / "sovits-serve"
    else:
        directory = Path(tempfile.gettempdir()) / f"sovits-serve-{os.getuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise ConfigError(f"endpoint: {directory}: {error.strerror}; set another") from error
    check_private(directory, found)
    return f"ipc://{directory / 'dispatcher.sock'}"


def _declarations() -> Iterable[tuple[str, Field[Any]]]:
    for declared in fields(ServerConfig):
        if is_dataclass(declared.default):
            yield from ((declared.name, inner) for inner in fields(declared.default))
        else:
            yield "", declared


def _from_file(path: Path) -> dict[str, _Given]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    known = {setting.name for setting in all_settings()}
    sections = {setting.section for setting in all_settings()}
    flat: dict[str, object] = {}
    for name, value in tables.items():
        if isinstance(value, dict) and name in sections:
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    for name in flat:
        if name not in known:
            raise ConfigError(f"{name}: unknown (in {path}){_meant(name, known | sections)}")
    directory = path.absolute().parent
    return {name: _Given(value, str(path), directory) for name, value in flat.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    """Return the settings of our variables; an empty one is not set."""
    known = {setting.environment: setting for setting in all_settings()}
    given = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or not value:
            continue
        is_address = variable.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value)
        if is_address or _SERVICE_VARIABLE.fullmatch(variable):
            continue
        if variable not in known:
            meant = _meant(variable, known)
            raise ConfigError(
                f"{variable}: unknown environment variable, it names no setting{meant}"
            )
        given[known[variable].name] = _Given(value, variable, Path.cwd())
    return given


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [one for one in known if one], n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "; docs/configuration.md has all"


def _build(given: Mapping[str, _Given]) -> ServerConfig:
    values: dict[str, dict[str, Any]] = {}
    for setting in all_settings():
        if setting.name in given:
            value = _checked(setting, given[setting.name])
            values.setdefault(setting.section, {})[setting.key] = value
    top: dict[str, Any] = values.pop("", {})
    config = replace(ServerConfig(), **top)
    for section, changes in values.items():
        try:
            changed = replace(getattr(config, section), **changes)
        except ConfigError as error:  # two values that contradict each other
            raise ConfigError(f"{section}.{error.message}") from error
        section_changed: dict[str, Any] = {section: changed}
        config = replace(config, **section_changed)
    return config


def _checked(setting: Setting, given: _Given) -> object:
    try:
        value = _convert(setting, given)
        check_value(setting.declared, value)
    except ConfigError as error:
        section = f"{setting.section}." if setting.section else ""
        raise ConfigError(f"{section}{error.message} (from {given.source})") from error
    return value


def _convert(setting: Setting, given: _Given) -> object:
    """Return a value in the type of its setting; what cannot be is left for the check."""
    value, kind = given.value, setting.declared.metadata["kind"]
    wanted = type(setting.declared.default)
    if isinstance(value, list) and kind in {"list", "paths"}:
        value = (os.pathsep if kind == "paths" else ",").join(map(str, value))
    if wanted is float and type(value) is int:
        return float(value)
    if not isinstance(value, str):
        is_number = type(value) in {int, float}
        return str(value) if is_number and kind in {"memory", "share"} else value
    text = value.strip()
    if wanted is str:
        return _convert_text(setting.key, text, kind, given.directory)
    return _READERS[wanted](setting.key, text)


def _convert_text(key: str, text: str, kind: str, directory: Path) -> str:
    if "\0" in text:
        raise ConfigError(f"{key}: {text!r} holds a null character")
    if not text:
        return text
    if kind == "path":
        return str(directory / Path(text).expanduser())
    if kind == "paths":
        parts = (part for part in text.split(os.pathsep) if part)
        return os.pathsep.join(str(directory / Path(part).expanduser()) for part in parts)
    return text


def _read_bool(key: str, text: str) -> bool:
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise ConfigError(f"{key}: {text!r} is not true or false")


def _read_int(key: str, text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    if key.endswith("_bytes"):
        try:
            return parse_size(text)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error.message}") from error
    raise ConfigError(f"{key}: {text!r} is not a whole number")


def _read_float(key: str, text: str) -> float:
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text, re.ASCII):
        return float(text)
    raise ConfigError(f"{key}: {text!r} is not a number")


_READERS: dict[type, Callable[[str, str], object]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
}


def check_private(directory: Path, found: os.stat_result) -> None:
    """Make sure that only this user can enter a directory.

    Raises:
        ConfigError: it is none, or others can.
    """
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"endpoint: {directory} is no directory; remove it or set another")
    if found.st_uid != os.getuid():
        raise ConfigError(
            f"endpoint: {directory} belongs to user {found.st_uid}, not to {os.getuid()}; remove "
            "it or set another"
        )
    if found.st_mode & 0o077:
        raise ConfigError(
            f"endpoint: {directory} has mode {found.st_mode & 0o777:o}, others can get in; "
            "chmod 700 it"
        )
