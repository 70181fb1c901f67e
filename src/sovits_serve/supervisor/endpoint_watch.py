"""Watches over the file at which all processes meet.

A logout removes the user's runtime directory and a cleaner of temporary files whatever is old. Open
connections go on without the file, but who is started after that could never connect.
"""

import logging
import os
from pathlib import Path

from sovits_serve.errors import ConfigError
from sovits_serve.protocol.transport import parse_endpoint
from sovits_serve.supervisor.sockets import make_directory

_log = logging.getLogger("sovits_serve.supervisor")


class EndpointWatch:
    """Looks whether an endpoint's socket is there; what is no file is always there."""

    def __init__(self, endpoint: str, *, is_private: bool) -> None:
        kind, address = parse_endpoint(endpoint)
        self._path = Path(address) if kind == "ipc" else None
        self._is_private = is_private  # the directory is ours, not one that was set
        self._last_problem = ""

    @property
    def is_lost(self) -> bool:
        """Return whether the socket is gone."""
        if self._path is None:
            return False
        return not os.path.exists(self._path)  # noqa: PTH110 -- Path's raises, if it may not look

    def mend(self) -> bool:
        """Make sure that a dispatcher can listen there; each problem is logged once."""
        if self._path is None:
            return True
        try:
            make_directory(self._path.parent, is_private=self._is_private)
        except ConfigError as error:
            if error.message != self._last_problem:
                self._last_problem = error.message
                _log.error(
                    "%s is gone and cannot be made again, so that no process that is started can "
                    "join: %s",
                    self._path,
                    error.message,
                )
            return False
        self._last_problem = ""
        return True
