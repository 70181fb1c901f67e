"""Lets processes open as many files as the settings ask for: each HTTP connection is one."""

import contextlib
import logging

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

_log = logging.getLogger("sovits_serve.supervisor")
# What a worker opens besides connections of clients: libraries, uploads, pipes, sandboxes.
NUM_SPARE_FILES = 512


def raise_file_limit(max_connections: int) -> None:
    """Raise the limit as far as is needed and allowed; children inherit it.

    One warning is logged where that is not enough.
    """
    if resource is None:
        return
    needed = max_connections + NUM_SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    wanted = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    with contextlib.suppress(OSError, ValueError):  # macOS has a second limit that is not told
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft >= needed:
        return
    fits = max(1, soft - NUM_SPARE_FILES)
    _log.warning(
        "api.max_connections is %d, for which a worker needs %d open files; this process may have "
        "%d (ulimit -n, LimitNOFILE=): raise that limit, or set api.max_connections to %d",
        max_connections,
        needed,
        soft,
        fits,
    )
