"""The engine process: ``python -m sovits_serve.engine.process``, started by the supervisor.

Light, so that the process says its first word before torch is loaded. ``loop.py`` has the
process's life, ``host.py`` what it is about.
"""

from collections.abc import Callable

from sovits_serve.engine.loop import Host, run_engine
from sovits_serve.errors import ConfigError
from sovits_serve.protocol.reports import Setup


def make_host(setup: Setup, wake: Callable[[], None]) -> Host:
    """Load the libraries, and make the host around what will be loaded.

    Raises:
        ConfigError: a library is not installed; another start would not find it either.
    """
    try:
        from sovits_serve.engine.host import EngineHost
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"an engine needs {error.name}: pip install 'sovits-serve[engine]'"
        ) from error
    return EngineHost(setup, wake)


if __name__ == "__main__":
    run_engine(make_host)
