"""Takes addresses before anything is loaded, so that one in use is told within a second."""

import contextlib
import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import psutil

from sovits_serve.errors import ConfigError
from sovits_serve.protocol.transport import parse_endpoint

_BACKLOG = 2048
_MAX_SOCKET_PATH_BYTES = 103


def bind_http(host: str, port: int) -> list[socket.socket]:
    """Listen for HTTP on every address that a host name means.

    Clients may connect from now on; they are answered once workers run.

    Raises:
        ConfigError: the port is taken (by whom, where that can be found), or the address cannot be.
    """
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"api.host: {host}: {error.strerror}") from error
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
        taken = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bind(family, str(address[0]), taken))
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                close_all(sockets)
                raise ConfigError(_explain(host, port, error)) from error
            problem = error
    if not sockets:
        assert problem is not None
        raise ConfigError(_explain(host, port, problem)) from problem
    return sockets


def close_all(sockets: list[socket.socket]) -> None:
    """Close this process's copies."""
    for one in sockets:
        one.close()


def url_of(host: str, sockets: list[socket.socket]) -> str:
    """Return the URL that a client on this machine uses."""
    port = sockets[0].getsockname()[1]
    local = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host)  # noqa: S104
    bare = local.strip("[]")
    return f"http://[{bare}]:{port}" if ":" in bare else f"http://{bare}:{port}"


def check_endpoint_is_free(endpoint: str) -> None:
    """Make sure that no other dispatcher listens there, and make a directory for a socket file.

    Raises:
        ConfigError: one does, or the directory cannot be made.
    """
    kind, address = parse_endpoint(endpoint)
    if kind == "ipc":
        _check_socket_path(address)
    holder = _listener_of(kind, address)
    if holder is not None:
        raise ConfigError(
            f"endpoint: another supervisor{holder} listens at {endpoint}; stop it, or choose another"
        )


def make_directory(directory: Path, *, is_private: bool) -> None:
    """Make a directory for a socket file, for this user alone, unless it is there.

    Args:
        directory: which.
        is_private: one that is there must be this user's alone, too.

    Raises:
        ConfigError: it cannot be made, or others can get at it.
    """
    from sovits_serve.config_sources import check_private

    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise ConfigError(f"endpoint: {directory}: {error.strerror}") from error
    if is_private:
        check_private(directory, found)


@contextmanager
def own_endpoint() -> Iterator[str]:
    """Give a fresh endpoint in a directory that only this user can enter; removed at the end."""
    if not hasattr(socket, "AF_UNIX"):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        yield f"tcp://127.0.0.1:{port}"
        return
    directory = Path(tempfile.mkdtemp(prefix="sovits-serve-", dir=_runtime_directory()))
    try:
        yield f"ipc://{directory / 'dispatcher.sock'}"
    finally:
        rmtree(directory, ignore_errors=True)


def _runtime_directory() -> str:
    """Return where sockets of this user live; their paths must be short."""
    for candidate in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        if candidate and len(candidate) < 60 and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    return "/tmp"  # noqa: S108 -- mkdtemp makes a directory of ours in it


def _bind(family: int, host: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        one.bind((host, port))
        one.listen(_BACKLOG)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        owner = _owner_of(port)
        return f"api.port: {host}:{port} is in use{owner}; stop it, or choose another port"
    if error.errno == errno.EACCES:
        return f"api.port: {port}: this user may not listen there; choose one above 1023"
    return f"api.host: cannot listen on {host}:{port}: {error.strerror}"


def _owner_of(port: int) -> str:
    """Return who listens on a port, as far as the system tells this user."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            is_it = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if is_it and connection.pid:
                name = psutil.Process(connection.pid).name()
                return f" by process {connection.pid} ({name})"
    return " by another process"


def _check_socket_path(address: str) -> None:
    size_bytes = len(os.fsencode(address))
    if size_bytes > _MAX_SOCKET_PATH_BYTES:
        raise ConfigError(
            f"endpoint: {address!r} has {size_bytes} bytes, a socket's path at most "
            f"{_MAX_SOCKET_PATH_BYTES}"
        )
    make_directory(Path(address).parent, is_private=False)


def _listener_of(kind: str, address: str) -> str | None:
    """Return who listens at an endpoint ("" if that is not told), or None if nobody does."""
    if kind == "tcp":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
        except OSError:
            return None
        return _owner_of(int(port)).removeprefix(" by")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError as error:
            raise ConfigError(f"endpoint: {address}: {error.strerror or error}") from error
        return _peer_of(probe)


def _peer_of(connected: socket.socket) -> str:
    if not hasattr(socket, "SO_PEERCRED"):
        return ""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return f" (its dispatcher is process {int.from_bytes(credentials[:4], 'little')})"
