"""The import rules: who may know whom, and which modules stay light.

Rules are checked on the source, so that a broken one is named by module. What really happens at
the two light edges (the package, the command's help) is checked in a fresh interpreter.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "sovits_serve"
ROOT = Path(__file__).parents[1] / "src"
HEAVY = {"torch", "transformers", "safetensors", "tokenizers"}
# Modules (with all below them) that never load anything heavy. Names may be of modules to come.
LIGHT = (
    "__init__",
    "__main__",
    "api",
    "audio",
    "builtin",
    "bench.load",
    "bench.report",
    "bench.run",
    "bench.texts",
    "cli",
    "cli_bench",
    "cli_errors",
    "client",
    "config",
    "engine.link",
    "engine.loop",
    "engine.memory",
    "engine.process",
    "dispatcher",
    "engine.request",
    "engine.scheduler",
    "errors",
    "frontend",
    "log",
    "metrics",
    "protocol",
    "say",
    "supervisor",
    "synthesizer",
    "voices.demo",
    "voices.registry",
    "voices.voice",
    "voices.voice_file",
)


def _modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


MODULES = _modules()


def _runtime_nodes(node: ast.AST, *, with_functions: bool) -> Iterator[ast.AST]:
    """Yield the nodes that run at import; with functions, all but type-checking blocks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not with_functions:
            continue
        yield child
        yield from _runtime_nodes(child, with_functions=with_functions)


@cache
def _imports(module: str, *, with_functions: bool) -> frozenset[str]:
    """Return the dotted names that a module of ours imports."""
    names: set[str] = set()
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in _runtime_nodes(tree, with_functions=with_functions):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = (f"{node.module}.{alias.name}" for alias in node.names)
            names.update(part if part in MODULES else node.module for part in parts)
    return frozenset(names)


def _loaded_by(module: str) -> dict[str, str]:
    """Return everything that importing a module loads, each with the module that asks for it."""
    loaded: dict[str, str] = {}
    queue = [module]
    while queue:
        current = queue.pop()
        for name in _imports(current, with_functions=False):
            for wanted in _with_parents(name):
                if wanted not in loaded:
                    loaded[wanted] = current
                    queue += [wanted] if wanted in MODULES else []
    return loaded


def _with_parents(name: str) -> Iterator[str]:
    """Yield a dotted name and the packages that Python loads before it."""
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _is_within(module: str, *parts: str) -> bool:
    return any(f"{module}.".startswith(f"{PACKAGE}.{part}.") for part in parts)


def _light_modules() -> list[str]:
    return [PACKAGE, *(name for name in MODULES if _is_within(name, *LIGHT))]


@pytest.mark.parametrize("module", _light_modules())
def test_light_module_loads_nothing_heavy(module: str) -> None:
    """HTTP workers, the supervisor and the command line start without torch."""
    loaded = _loaded_by(module)

    assert not {name: loaded[name] for name in HEAVY & loaded.keys()}


@pytest.mark.parametrize("module", [name for name in MODULES if _is_within(name, "models")])
def test_models_know_neither_engine_nor_protocol(module: str) -> None:
    """A module that computes does not know who asks."""
    imported = _imports(module, with_functions=True)

    assert not [name for name in imported if _is_within(name, "engine", "protocol", "api")]


@pytest.mark.parametrize(
    "module", [name for name in MODULES if _is_within(name, "protocol", "errors")]
)
def test_protocol_and_errors_stand_alone(module: str) -> None:
    """What the processes share depends on nothing else of ours."""
    own = [name for name in _imports(module, with_functions=True) if name.startswith(PACKAGE)]

    assert not [name for name in own if not _is_within(name, "protocol")]


def test_engine_core_touches_no_socket() -> None:
    """The core is a plain object that a test can drive."""
    imported = _imports(f"{PACKAGE}.engine.core", with_functions=True)

    assert not {name.split(".")[0] for name in imported} & {"asyncio", "socket", "zmq"}


def test_only_parity_and_the_command_line_import_parity() -> None:
    """What proves the product is no part of it."""
    users = [
        name
        for name in MODULES
        if not _is_within(name, "parity", "cli")
        and any(_is_within(used, "parity") for used in _imports(name, with_functions=True))
    ]

    assert not users


def test_the_walk_finds_torch_through_other_modules() -> None:
    """The rules above can fail: what the walk says of the engine's loader is not empty."""
    assert "torch" in _loaded_by(f"{PACKAGE}.engine.loader")


@pytest.mark.parametrize(
    "arguments",
    [["-c", "import sovits_serve"], ["-m", "sovits_serve", "--help"]],
    ids=["package", "help"],
)
def test_light_edge_loads_no_torch(arguments: list[str]) -> None:
    """The package and the command's help come without torch, transformers and numpy."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert PACKAGE in loaded
    assert not (HEAVY | {"numpy", "soundfile", "av"}) & loaded
