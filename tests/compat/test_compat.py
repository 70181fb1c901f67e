"""The short form of ``scripts/compat``: the engines load for three seconds, asleep.

The server of the lock file always; others where their environments are in the cache already.
"""

import pytest

from tests.compat.checks import Plan, check_server
from tests.compat.environments import (
    Environment,
    NoIndexError,
    is_made,
    make_environment,
    pin_locked,
)
from tests.compat.servers import OWN, SERVERS, Server

pytestmark = pytest.mark.slow
# How soon things happen is judged by scripts/compat, which has the machine for itself.
_SHORT = Plan("sleep", load_s=3.0, num_leaves=3, livez_limit_s=30.0, slack_s=10.0)
_ALWAYS = ("uvicorn-newest", OWN)
_IF_THERE = ("uvicorn-0.30.1", "gunicorn-20.1.0")  # their versions do not change
_BY_NAME = {server.name: server for server in SERVERS}


def _environment(server: Server) -> Environment:
    if server.name in _IF_THERE and not is_made(server):
        pytest.skip(f"{server.name} is not in the cache; scripts/compat installs it")
    try:
        return make_environment(server)
    except NoIndexError as error:
        pytest.skip(f"no package index: {error}")


@pytest.mark.parametrize("name", [*_ALWAYS, *_IF_THERE])
def test_app_serves_under_a_server_while_engines_load(name: str) -> None:
    """Each engine loads once, no worker is replaced, speech is right, and all of it ends."""
    server = pin_locked(_BY_NAME[name]) if name in _ALWAYS else _BY_NAME[name]

    result = check_server(server, _environment(server), _SHORT)

    assert not result.problems, f"{result.problems}\n{result.log}"
    assert set(result.num_loads.values()) == {1}
