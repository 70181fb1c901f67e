"""Computing groups of rows so that one bad row fails its own request and nobody else's."""

import logging
from collections.abc import Callable
from collections.abc import Sequence as Rows
from typing import TypeVar

import torch

from sovits_serve.engine.batch import StepResults
from sovits_serve.errors import OutOfMemory, ServingError, SynthesisError

_log = logging.getLogger(__name__)
Row = TypeVar("Row")


def attempt(
    groups: Rows[Rows[Row]],
    compute: Callable[[Rows[Row]], None],
    request_of: Callable[[Row], str],
    results: StepResults,
    *,
    can_split: bool = True,
) -> None:
    """Compute groups of rows; where a group fails, find the rows that do and fail those.

    Out of memory, a group is tried again with what the allocator gives back; then, if it cannot
    be split, without its youngest request, until what is left fits.
    """
    todo = [list(group) for group in groups]
    is_trimmed = False
    while todo:
        group = todo.pop(0)
        if not group:
            continue
        try:
            compute(group)
            continue
        except torch.AcceleratorError:
            raise  # the device is lost for this process: the supervisor's business
        except Exception as error:  # noqa: BLE001 -- one request fails, the engine goes on
            failure = error
        if isinstance(failure, torch.OutOfMemoryError) and not is_trimmed:
            is_trimmed = True
            todo.insert(0, group)
        elif len(group) > 1 and can_split:
            half = len(group) // 2
            todo[:0] = [group[:half], group[half:]]
        elif isinstance(failure, torch.OutOfMemoryError):
            todo.insert(0, _without_youngest(group, request_of, failure, results))
        else:
            for row in group:
                results.failures[request_of(row)] = as_serving_error(failure)
        is_memory = isinstance(failure, torch.OutOfMemoryError)
        failure.__traceback__ = None  # its frames hold the tensors that were in the way
        if is_memory and torch.cuda.is_available():
            torch.cuda.empty_cache()


def _without_youngest(
    group: list[Row], request_of: Callable[[Row], str], error: Exception, results: StepResults
) -> list[Row]:
    """Fail the request that began last, and return the rows of the others."""
    youngest = request_of(group[-1])
    results.failures[youngest] = as_serving_error(error)
    return [row for row in group if request_of(row) != youngest]


def as_serving_error(error: Exception) -> ServingError:
    """Return what a request is told that failed with ``error``."""
    if isinstance(error, ServingError):
        return error
    _log.error("a request failed", exc_info=error)
    if isinstance(error, torch.OutOfMemoryError):
        return OutOfMemory("out of device memory")
    return SynthesisError(f"{type(error).__name__} while computing")
