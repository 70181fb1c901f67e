"""What settings must be to each other, and what deserves a warning."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

from sovits_serve.config import ServerConfig, SupervisorConfig, parse_share, parse_size
from sovits_serve.errors import ConfigError
from sovits_serve.protocol.transport import parse_endpoint

# The longest path of a Unix socket, less its end; macOS has less than Linux.
_MAX_SOCKET_PATH_BYTES = 103
_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?", re.ASCII)


def check_together(config: ServerConfig) -> None:
    """Check what one setting alone cannot tell.

    Raises:
        ConfigError: names the settings and their values.
    """
    _check_endpoint(config)
    if not config.api.host:
        raise ConfigError("api.host: is empty; 0.0.0.0 listens on every address")
    if config.api.max_json_bytes > config.api.max_body_bytes:
        raise ConfigError(
            f"api.max_json_bytes: {config.api.max_json_bytes} is more than api.max_body_bytes "
            f"({config.api.max_body_bytes})"
        )
    _check_size("engine.gpu_memory", parse_share, config.engine.gpu_memory)
    _check_limits(config.supervisor, "memory")
    _check_limits(config.supervisor, "device_memory")
    for device in config.supervisor.devices.split(","):
        if device.strip() != "auto" and not _DEVICE.fullmatch(device.strip()):
            raise ConfigError(f"supervisor.devices: {device!r} is not auto, cpu, cuda or cuda:N")


def _check_endpoint(config: ServerConfig) -> None:
    if not config.endpoint:
        return
    try:
        kind, address = parse_endpoint(config.endpoint)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if kind == "tcp" and not config.token:
        raise ConfigError(f"token: is empty; {config.endpoint} is open to others without one")
    if kind == "ipc" and len(os.fsencode(address)) > _MAX_SOCKET_PATH_BYTES:
        raise ConfigError(
            f"endpoint: {address!r} is longer than the {_MAX_SOCKET_PATH_BYTES} bytes that the "
            "system allows"
        )


def _check_limits(supervisor: SupervisorConfig, name: str) -> None:
    soft_text, hard_text = (getattr(supervisor, f"{kind}_{name}") for kind in ("soft", "hard"))
    soft = _check_size(f"supervisor.soft_{name}", parse_size, soft_text) if soft_text else None
    hard = _check_size(f"supervisor.hard_{name}", parse_size, hard_text) if hard_text else None
    if soft is not None and hard is not None and hard <= soft:
        raise ConfigError(
            f"supervisor.hard_{name}: {hard_text} is not more than soft_{name} ({soft_text})"
        )


def with_device(config: ServerConfig) -> ServerConfig:
    """Take ``engine.device``, which the supervisor sets for each engine, as the only device."""
    device, devices = config.engine.device, config.supervisor.devices
    if device in {"auto", devices}:
        return config
    if not _DEVICE.fullmatch(device):
        raise ConfigError(f"engine.device: {device!r} is not auto, cpu, cuda or cuda:N")
    if devices != "auto":
        raise ConfigError(
            f"engine.device: {device} contradicts supervisor.devices ({devices}); leave it out"
        )
    return replace(config, supervisor=replace(config.supervisor, devices=device))


def warnings_about(config: ServerConfig) -> tuple[str, ...]:
    """Return what is allowed but deserves a loud word at the start."""
    found = []
    if not is_loopback(config.api.host) and not config.api.api_key:
        found.append(
            f"api.host: {config.api.host} lets everybody who reaches this machine use the server; "
            "set an API key (SOVITS_SERVE_API_KEY), or host 127.0.0.1"
        )
    if "*" in config.api.cors_origins.split(",") and not config.api.api_key:
        found.append("api.cors_origins: * lets every web page use the server through its visitors")
    return tuple(found)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _check_size(key: str, parse: Callable[[str], float], text: str) -> float:
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error.message}") from error
