"""Recording CUDA graphs."""

import gc
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")
Pool = Any  # a handle of ``torch.cuda.graph_pool_handle``


def record(compute: Callable[[], Result], pool: Pool) -> tuple[torch.cuda.CUDAGraph, Result]:
    """Run ``compute`` once, so that kernels are compiled and plans made, then capture it.

    The current stream must not be the default one. Other threads may use the device meanwhile.
    ``torch.cuda.graph`` empties the allocator's cache each time, which with a hundred graphs takes
    most of a minute; here the collector is kept out instead, since freeing an old graph would
    break the capture.

    Returns:
        The graph, and what ``compute`` returned while it was captured: the graph's own memory.
    """
    compute()
    torch.cuda.current_stream().synchronize()
    graph = torch.cuda.CUDAGraph()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            result = compute()
        finally:
            graph.capture_end()
    finally:
        if was_enabled:
            gc.enable()
    return graph, result
