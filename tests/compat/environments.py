"""One environment per server: the light libraries at their locked versions, and that server.

All share one directory of light libraries through a ``.pth`` file; a server's own packages lie in
its environment and come first. Nothing of the development environment is seen, torch neither.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

from tests.compat.servers import Server

ROOT = Path(__file__).parents[2]
_EXTRAS = ("server", "en", "zh")
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q")
_SERVER_PACKAGES = frozenset({"uvicorn", "gunicorn", "granian", "hypercorn", "uvicorn-worker"})


class NoIndexError(Exception):
    """An environment could not be made: no package index, or it lacks a package."""


@dataclass(frozen=True)
class Environment:
    """Where a server is installed, and in which version."""

    python: Path
    version: str  # of the server itself


def cache_directory() -> Path:
    """Return where environments are kept between runs."""
    if named := os.environ.get("SOVITS_SERVE_COMPAT_DIR"):
        return Path(named)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return user / "sovits-serve" / "compat"


def pin_newest(server: Server) -> Server:
    """Return the server with the newest versions that the package index has now.

    Raises:
        NoIndexError: the index does not answer.
    """
    if all("==" in package for package in server.packages):
        return server
    pinned = tuple(p if "==" in p else f"{p}=={_newest(p)}" for p in server.packages)
    return replace(server, packages=pinned)


def pin_locked(server: Server) -> Server:
    """Return the server with the versions of requirements.lock, where it has them."""
    locked = _locked()
    return replace(server, packages=tuple(locked.get(_name(p), p) for p in server.packages))


def is_made(server: Server) -> bool:
    """Tell whether the environment of a server is in the cache already."""
    return (_place(server) / "made").exists()


def make_environment(server: Server) -> Environment:
    """Return the environment of a server, made if need be.

    Raises:
        NoIndexError: pip could not install something; its message is in it.
    """
    place = _place(server)
    if not is_made(server):
        base = _make_base()
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=False, symlinks=os.name == "posix")
        site = _site(place)
        _install(site, server.packages)
        paths = (base, ROOT / "src", ROOT)
        (site / "sovits-serve.pth").write_text("".join(f"{path}\n" for path in paths))
        (place / "made").touch()
    name = _name(server.packages[0])
    versions = {
        _name(found.name): found.version for found in distributions(path=[str(_site(place))])
    }
    return Environment(place / ("Scripts" if os.name == "nt" else "bin") / "python", versions[name])


def _make_base() -> Path:
    wanted = _light_requirements()
    digest = sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    base = cache_directory() / f"base-{digest}"
    if not base.exists():
        unfinished = base.with_suffix(f".{os.getpid()}")
        _install(unfinished, wanted)
        unfinished.rename(base)
    return base


def _light_requirements() -> list[str]:
    """Return what pyproject.toml says HTTP workers need, with the versions of the lock."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = [*project["dependencies"]]
    for extra in _EXTRAS:
        lines += project["optional-dependencies"][extra]
    locked = _locked()
    names = sorted({_name(line) for line in lines} - _SERVER_PACKAGES)
    return [locked.get(name, name) for name in names]


def _locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {_name(line): line for line in lines if "==" in line and not line.startswith("#")}


def _name(requirement: str) -> str:
    """Return the normalised project name at the beginning of a requirement."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@cache
def _newest(package: str) -> str:
    """Return the newest released version of a package."""
    command = [*_PIP, "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoIndexError(f"pip install {package}: {done.stderr.strip()[-800:]}")
    version: str = json.loads(done.stdout)["install"][0]["metadata"]["version"]
    return version


@cache
def _place(server: Server) -> Path:
    text = "\n".join([sys.version, str(ROOT), *_light_requirements(), *server.packages])
    return cache_directory() / f"{server.name}-{sha256(text.encode()).hexdigest()[:12]}"


def _site(place: Path) -> Path:
    major, minor = sys.version_info[:2]
    inner = "Lib" if os.name == "nt" else f"lib/python{major}.{minor}"
    return place / inner / "site-packages"


def _install(target: Path, requirements: tuple[str, ...] | list[str]) -> None:
    """Install into a directory, everything that is not asked for at its locked version."""
    asked = {_name(line) for line in requirements} | _SERVER_PACKAGES
    constraints = target.parent / f"constraints-{target.name}-{os.getpid()}.txt"
    constraints.parent.mkdir(parents=True, exist_ok=True)
    constraints.write_text(
        "\n".join(line for name, line in _locked().items() if name not in asked) + "\n"
    )
    command = [*_PIP, "--target", str(target), "--upgrade", "--constraint", str(constraints)]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    constraints.unlink()
    if done.returncode:
        raise NoIndexError(f"pip install {' '.join(requirements)}: {done.stderr.strip()[-800:]}")
