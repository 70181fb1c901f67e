"""The servers that the app is proven under: which packages, started by which command.

Versions are pinned here, or "newest" is asked of the package index and its number recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass

APP = "sovits_serve.api.app:app"
NUM_WORKERS = 4


@dataclass(frozen=True)
class Server:
    """One version of one server."""

    name: str
    packages: tuple[str, ...]  # "name==version", or "name" for the newest; the first one counts
    arguments: Callable[[int], list[str]]  # of Python, for a port
    title: str  # for the table, before the version
    worker_mark: str = ""  # in a worker's command line, where the parent has other children too

    @property
    def command(self) -> str:
        """Return the command line that a user would type."""
        words = self.arguments(9880)
        return " ".join(words[1:] if words[0] == "-m" else words)


def _uvicorn(port: int) -> list[str]:
    return ["-m", "uvicorn", "--workers", str(NUM_WORKERS), "--port", str(port), APP]


def _gunicorn(worker_class: str) -> Callable[[int], list[str]]:
    def arguments(port: int) -> list[str]:
        options = ["-w", str(NUM_WORKERS), "-k", worker_class, "-b", f"127.0.0.1:{port}"]
        return ["-m", "gunicorn", *options, APP]

    return arguments


def _granian(port: int) -> list[str]:
    options = ["--interface", "asgi", "--workers", str(NUM_WORKERS), "--port", str(port)]
    return ["-m", "granian", *options, APP]


def _hypercorn(port: int) -> list[str]:
    return ["-m", "hypercorn", "-w", str(NUM_WORKERS), "-b", f"127.0.0.1:{port}", APP]


def _own(port: int) -> list[str]:
    return ["-m", "sovits_serve", "serve", "--workers", str(NUM_WORKERS), "--port", str(port)]


_SPAWNED = "spawn_main"

OWN = "sovits-serve"
SERVERS = (
    Server("uvicorn-0.21.0", ("uvicorn==0.21.0",), _uvicorn, "uvicorn", worker_mark=_SPAWNED),
    Server("uvicorn-0.29.0", ("uvicorn==0.29.0",), _uvicorn, "uvicorn", worker_mark=_SPAWNED),
    Server("uvicorn-0.30.1", ("uvicorn==0.30.1",), _uvicorn, "uvicorn", worker_mark=_SPAWNED),
    Server("uvicorn-newest", ("uvicorn",), _uvicorn, "uvicorn", worker_mark=_SPAWNED),
    Server(
        "gunicorn-20.1.0",
        # It imports pkg_resources, which setuptools dropped in 82.
        ("gunicorn==20.1.0", "uvicorn==0.29.0", "setuptools==80.9.0"),
        _gunicorn("uvicorn.workers.UvicornWorker"),
        "gunicorn, uvicorn 0.29.0's worker,",
    ),
    Server(
        "gunicorn-newest",
        ("gunicorn", "uvicorn", "uvicorn-worker"),
        _gunicorn("uvicorn_worker.UvicornWorker"),
        "gunicorn, uvicorn-worker,",
    ),
    Server("gunicorn-asgi", ("gunicorn",), _gunicorn("asgi"), "gunicorn, its asgi worker,"),
    Server("granian", ("granian",), _granian, "granian"),
    Server("hypercorn", ("hypercorn",), _hypercorn, "hypercorn", worker_mark=_SPAWNED),
    Server(
        OWN,
        ("uvicorn",),
        _own,
        "sovits-serve serve, uvicorn",
        worker_mark="sovits_serve.api.worker",
    ),
)
