import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from triton import knobs

ROOT = Path(__file__).parents[3]
SLOW = [pytest.mark.slow, pytest.mark.timeout(600)]
# What one program may use on sm_86, sm_89 and sm_120.
GEFORCE_BYTES = 101_376


def compile_offline(tmp_path: Path, *arguments: str) -> list[tuple[str, int]]:
    """Compile part of the kernels in a process of its own; return names and shared memory."""
    try:
        assert knobs.nvidia.ptxas.path
    except RuntimeError:
        pytest.skip("this Triton has no ptxas")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.cuda.offline", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [(name, size) for name, size in json.loads(done.stdout)]


@pytest.mark.parametrize(
    "part",
    [
        "t2s",
        pytest.param("bert", marks=SLOW),
        pytest.param("v2", marks=SLOW),
        pytest.param("v2proplus", marks=SLOW),
    ],
)
def test_kernels_fit_a_geforce(tmp_path: Path, part: str) -> None:
    """At the published dimensions all kernels compile for sm_89, and find the memory they need."""
    kernels = compile_offline(tmp_path, part, "8.9", str(GEFORCE_BYTES))

    assert len(kernels) > 5
    assert max(size for _, size in kernels) <= GEFORCE_BYTES


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("capability", "limit"), [("8.0", 166_912), ("9.0", 232_448), ("12.0", GEFORCE_BYTES)]
)
def test_t2s_compiles_for_other_devices(
    tmp_path: Path, capability: str, limit: int, dtype: str
) -> None:
    """With early launches where there are some, and without."""
    kernels = compile_offline(tmp_path, "t2s", capability, str(limit), dtype)

    assert max(size for _, size in kernels) <= limit
