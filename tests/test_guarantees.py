"""docs/guarantees.md names, for every promise, tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
PROMISES, _, NOT_PROMISED = PAGE.partition("## Not promised\n")
NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
# What a promise may consist of beside names of tests: a bullet and its further lines.
BULLET = re.compile(r"^- .*(?:\n  .*)*", re.MULTILINE)


@cache
def _tests_of(path: str) -> frozenset[str]:
    """Return the names of a file's test functions that are not skipped without a condition."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    functions = (
        node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return frozenset(
        function.name
        for function in functions
        if function.name.startswith("test_")
        and not any(_is_switched_off(mark) for mark in function.decorator_list)
    )


def _is_switched_off(decorator: ast.expr) -> bool:
    """Return whether a mark means that a test holds nothing: skip or xfail."""
    mark = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(mark, ast.Attribute) and mark.attr in {"skip", "xfail"}


def _promises() -> list[str]:
    return BULLET.findall(PROMISES)


def test_there_are_promises() -> None:
    """The page has its promises where this test looks for them."""
    assert len(_promises()) > 50
    assert BULLET.findall(NOT_PROMISED)


@pytest.mark.parametrize("promise", _promises(), ids=lambda text: text[2:50].strip())
def test_promise_has_tests_that_exist(promise: str) -> None:
    """Each promise is held by at least one test, and each that it names is there."""
    named = NAME.findall(promise)

    assert named
    assert not [f"{path}::{name}" for path, name in named if name not in _tests_of(path)]


def test_every_sentence_is_a_promise() -> None:
    """Below the introduction there is nothing but headings and promises."""
    _, _, sections = PROMISES.partition("\n## ")
    rest = BULLET.sub("", sections)
    headings = re.findall(r"^(?:## )?[A-Z][\w ]+$", rest, re.MULTILINE)

    assert rest.split() == " ".join(headings).split()


def test_no_name_is_misspelt() -> None:
    """Whatever looks like a test's name is read as one."""
    assert PROMISES.count("::") == len(NAME.findall(PROMISES))
    assert "::" not in NOT_PROMISED
