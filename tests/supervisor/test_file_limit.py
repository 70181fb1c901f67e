"""The limit of open files, in processes of their own as it cannot be raised again."""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

PROGRAM = """
import logging, resource, subprocess, sys
from sovits_serve.supervisor.file_limit import raise_file_limit
logging.basicConfig(format="%(levelname)s %(message)s")
soft, hard, max_connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
raise_file_limit(max_connections)
code = "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
subprocess.run([sys.executable, "-c", code], check=True)
"""


def limits_of_a_child(soft: int, hard: int, max_connections: int) -> tuple[list[int], str]:
    """Return soft and hard limit of a child, and what was logged."""
    numbers = map(str, (soft, hard, max_connections))
    arguments = [sys.executable, "-c", PROGRAM, *numbers]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()], done.stderr


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (256, 4000, [2560, 4000]),  # as far as is needed
        (3000, 4000, [3000, 4000]),  # never lowered
    ],
)
def test_children_may_open_what_is_needed(soft: int, hard: int, expected: list[int]) -> None:
    """The soft limit is raised to what the setting needs, silently, and is inherited."""
    assert limits_of_a_child(soft, hard, 2048) == (expected, "")


def test_a_limit_that_is_too_low_is_told_once() -> None:
    """One warning names the limit, the setting and the number that fits."""
    limits, logged = limits_of_a_child(256, 1024, 2048)

    assert limits == [1024, 1024]
    assert logged.startswith("WARNING api.max_connections is 2048, ")
    assert "needs 2560 open files; this process may have 1024" in logged
    assert logged.endswith("set api.max_connections to 512\n")
    assert logged.count("\n") == 1
