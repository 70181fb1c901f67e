"""Ports for servers that must be told theirs: free, and nobody else's until the end."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port that refuses connections until a server which is told of it listens there.

    A port that was only found free could be given to any connection of a test beside this one.
    """
    with socket.socket() as holder:
        # Bound and not listened on: others who reuse addresses may bind it too, nobody gets it
        # unasked.
        if sys.platform == "linux":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()  # it would be in the server's way
        yield port
