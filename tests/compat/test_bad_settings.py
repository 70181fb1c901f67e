"""The app under a server that is not ours, with settings that are wrong."""

import asyncio
import subprocess
import sys
from collections.abc import MutableMapping
from typing import Any

import pytest

from sovits_serve.api import app as app_module
from tests.compat.environments import ROOT
from tests.compat.processes import base_environment

_BAD = {"SOVITS_SERVE_API_PORT": "none"}


def test_bad_setting_is_a_failed_start_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is told that the start failed, and why; it is no exception at import."""
    for name, value in _BAD.items():
        monkeypatch.setenv(name, value)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app_module.app({"type": "lifespan"}, receive, send))

    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "port" in sent[0]["message"]


def test_server_with_a_bad_setting_stops_instead_of_starting_workers_in_circles() -> None:
    """uvicorn's own parent ends with its failing workers."""
    command = ["-m", "uvicorn", "--workers", "2", "--port", "0", "sovits_serve.api.app:app"]
    environment = base_environment(PYTHONPATH=str(ROOT / "src"), **_BAD)

    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,  # its exit code is 0 all the same
    )

    assert "port" in done.stderr
    assert done.stderr.count("Started server process") <= 4


def test_app_is_in_the_dictionary_of_its_module() -> None:
    """hypercorn evaluates the app's name there, where a module's ``__getattr__`` is not asked."""
    assert "app" in vars(app_module)
