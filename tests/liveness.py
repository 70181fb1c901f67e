"""Whether a process that a test has started is still there."""

import psutil


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not.

    Of one that was killed the first thread can end before others, which hold its sockets open.
    """
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False
