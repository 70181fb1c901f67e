import os
import socket
from pathlib import Path

import pytest

from sovits_serve.errors import ConfigError
from sovits_serve.supervisor.sockets import (
    bind_http,
    check_endpoint_is_free,
    close_all,
    own_endpoint,
    url_of,
)


def test_clients_may_connect_as_soon_as_it_is_bound() -> None:
    """Connections wait in the backlog until a worker takes them."""
    sockets = bind_http("127.0.0.1", 0)
    try:
        port = sockets[0].getsockname()[1]
        socket.create_connection(("127.0.0.1", port), 2).close()

        assert url_of("127.0.0.1", sockets) == f"http://127.0.0.1:{port}"
        assert url_of("0.0.0.0", sockets) == f"http://127.0.0.1:{port}"
        assert url_of("::", sockets) == f"http://[::1]:{port}"
    finally:
        close_all(sockets)


def test_localhost_is_every_loopback_address_on_one_port() -> None:
    """With port 0 all addresses of a name share the port that the first one got."""
    sockets = bind_http("localhost", 0)
    try:
        assert len({one.getsockname()[1] for one in sockets}) == 1
    finally:
        close_all(sockets)


def test_taken_port_is_told_with_its_owner() -> None:
    """The message names address and process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f":{port} is in use by process {os.getpid()}"):
            bind_http("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_address_that_is_not_ours_is_told(host: str) -> None:
    """A name that does not resolve, and an address of another machine, are bad settings."""
    with pytest.raises(ConfigError, match=f"api.host: .*{host}"):
        bind_http(host, 0)


def test_own_endpoint_is_private_and_leaves_nothing() -> None:
    """Only this user can enter the socket's directory, and it is gone afterwards."""
    with own_endpoint() as endpoint:
        directory = Path(endpoint.removeprefix("ipc://")).parent
        assert directory.stat().st_mode & 0o777 == 0o700
        check_endpoint_is_free(endpoint)

    assert not directory.exists()


def test_endpoint_path_that_is_too_long_is_told() -> None:
    """The system's limit is told before the system tells it."""
    with pytest.raises(ConfigError, match="at most 103"):
        check_endpoint_is_free(f"ipc:///tmp/{'x' * 120}/dispatcher.sock")


def test_tcp_endpoint_in_use_is_told() -> None:
    """The same for TCP."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="another supervisor"):
            check_endpoint_is_free(f"tcp://127.0.0.1:{port}")
    check_endpoint_is_free(f"tcp://127.0.0.1:{port}")
