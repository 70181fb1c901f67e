"""Kernels run in Triton's interpreter where there is no GPU: slowly, with the same arithmetic."""

import pytest
import torch

collect_ignore_glob: list[str] = []
try:
    import triton  # noqa: F401
except ModuleNotFoundError:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def device() -> str:
    """Return where kernels run."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take numpy's warnings for what they are on a GPU: NaN and infinity, computed as usual."""
    for item in items:
        if "models/cuda" in item.nodeid:
            item.add_marker(pytest.mark.filterwarnings("ignore::RuntimeWarning"))
