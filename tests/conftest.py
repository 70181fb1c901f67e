"""Settings of every test run: few threads, no network, what this machine cannot run is skipped."""

import os
import signal
from pathlib import Path

import pytest

# Under nohup servers leave SIGHUP ignored, as they should; its tests want to see it obeyed.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Tiny models on many threads are slower, and slower still beside other runs. Read at torch's import.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # waiting threads leave the cores to others
os.environ["HF_HUB_OFFLINE"] = "1"
# Without a GPU, Triton interprets kernels. It reads this when it is imported, by whoever it may be.
if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
    os.environ["TRITON_INTERPRET"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip ``gpu`` tests without a CUDA device and ``weights`` tests without checkpoints."""
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items and not _has_cuda():
        _skip(gpu_items, "no CUDA device")
    if "SOVITS_SERVE_WEIGHTS" not in os.environ:
        weights_items = [item for item in items if item.get_closest_marker("weights")]
        _skip(weights_items, "SOVITS_SERVE_WEIGHTS names no directory of checkpoints")


def _has_cuda() -> bool:
    import torch  # only when a gpu test was collected

    from sovits_serve.models.kernels import use_exact_kernels

    use_exact_kernels()  # as the engine's loader does
    return torch.cuda.is_available()


def _skip(items: list[pytest.Item], reason: str) -> None:
    for item in items:
        item.add_marker(pytest.mark.skip(reason=reason))
