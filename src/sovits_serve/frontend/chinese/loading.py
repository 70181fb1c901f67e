"""Loading what is big once, even when several threads ask for it at the same time."""

from collections.abc import Callable
from functools import cache, wraps
from threading import Lock
from typing import TypeVar

_Loaded = TypeVar("_Loaded")


def load_once(load: Callable[[], _Loaded]) -> Callable[[], _Loaded]:
    """Make a function load at the first call and return the same object ever after."""
    lock = Lock()
    cached = cache(load)

    @wraps(load)
    def load_or_wait() -> _Loaded:
        with lock:
            return cached()

    return load_or_wait
