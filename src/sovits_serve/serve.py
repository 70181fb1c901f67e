"""What ``sovits-serve serve`` and ``engines`` do around the supervisor.

Before: logging, warnings. During: how far it is, and how to use it once it is ready.
"""

import contextlib
import http.client
import logging
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Protocol, Self

from sovits_serve import log
from sovits_serve.announcement import Announcer
from sovits_serve.builtin import uses_builtin
from sovits_serve.config import ModelConfig, ServerConfig
from sovits_serve.config_checks import warnings_about
from sovits_serve.config_sources import default_endpoint, export_log_config
from sovits_serve.errors import CheckpointError, ConfigError
from sovits_serve.protocol.messages import Fleet

_READY_S = 10.0
_LOOK_S = 0.05
_LOOK_TIMEOUT_S = 2.0
_log = logging.getLogger(__name__)


class Supervise(Protocol):
    """Runs all processes until told to stop; ``run_supervisor``, or a test's."""

    def __call__(
        self,
        config: ServerConfig,
        *,
        with_http: bool,
        on_ready: Callable[[str], None],
        on_fleet: Callable[[Fleet], None],
    ) -> int:
        """Return the exit code. ``on_ready`` gets the URL, ``on_fleet`` every change."""


def run_serve(config: ServerConfig, supervise: Supervise | None = None) -> int:
    """Serve over HTTP until told to stop; return the exit code.

    Raises:
        SetupError: something is wrong that can be seen before anything is started.
    """
    return _run(config, supervise or _supervise, with_http=True)


def run_engines(config: ServerConfig, supervise: Supervise | None = None) -> int:
    """Run engines and queue, without HTTP, until told to stop; return the exit code.

    Raises:
        SetupError: something is wrong that can be seen before anything is started.
    """
    return _run(config, supervise or _supervise, with_http=False)


def _supervise(
    config: ServerConfig,
    *,
    with_http: bool,
    on_ready: Callable[[str], None],
    on_fleet: Callable[[Fleet], None],
) -> int:
    from sovits_serve.supervisor.supervisor import run_supervisor

    return run_supervisor(config, with_http=with_http, on_ready=on_ready, on_fleet=on_fleet)


def _run(config: ServerConfig, supervise: Supervise, *, with_http: bool) -> int:
    check_model_paths(config.model)
    log.configure(config.log.log_level, config.log.log_json, "supervisor")
    export_log_config(config.log)
    for warning in warnings_about(config) if with_http else ():
        _log.warning("%s", warning)
    if not with_http and not config.endpoint:
        config = replace(config, endpoint=default_endpoint())
    with (
        _sigterm_raises(),
        Announcer(config, with_http=with_http) as announcer,
        ReadyGate(announcer.ready) as gate,
    ):
        return supervise(
            config,
            with_http=with_http,
            on_ready=gate.open_soon if with_http else announcer.ready,
            on_fleet=announcer.show,
        )


class ReadyGate:
    """Lets the news that a server is ready through once its clients would see it so, too.

    HTTP workers hear of a ready engine a moment after the supervisor, and what is printed must
    work when it is pasted at once.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin; nothing is watched before ``open_soon``."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for nothing any more."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def open_soon(self, url: str) -> None:
        """Announce a URL when it answers as ready, or after ten seconds; does not block."""
        self._thread = threading.Thread(target=self._watch, args=(url,), daemon=True, name="ready")
        self._thread.start()

    def _watch(self, url: str) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and not is_ready(url):
            if self._is_over.wait(_LOOK_S):
                return
        self._announce(url)


def is_ready(url: str) -> bool:
    """Return whether a server answers there, and does not say that it is not ready."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{url}/readyz", timeout=_LOOK_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code != 503
    except (OSError, http.client.HTTPException):
        return False
    return True


def check_model_paths(model: ModelConfig) -> None:
    """See that what is named is there; what is in it the engine finds out.

    Raises:
        CheckpointError: a file or directory is not there.
        ConfigError: only one of two files is named, or the directory of voices is not there.
    """
    for key in ("model", "pretrained"):
        path = getattr(model, key)
        if path and not Path(path).is_dir():
            raise CheckpointError(f"{path}: no such directory (model.{key})")
    for key in ("t2s", "sovits"):
        path = getattr(model, key)
        if path and not Path(path).is_file():
            raise CheckpointError(f"{path}: no such file (model.{key})")
    if not model.model and bool(model.t2s) != bool(model.sovits):
        missing = "sovits" if model.t2s else "t2s"
        raise ConfigError(f"model.{missing}: is missing; without model both files are needed")
    if model.pretrained and uses_builtin(model):
        raise ConfigError(
            f"model.pretrained: {model.pretrained} is for a model of your own, and none is set; set "
            "model, or t2s and sovits"
        )
    if model.voices and not Path(model.voices).is_dir():
        raise ConfigError(f"model.voices: {model.voices}: no such directory")


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Make SIGTERM unwind the stack while the supervisor, which takes it over, does not run yet."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
