"""What went wrong in a command, as one line on standard error and an exit code.

The codes are those of the module docstring of ``cli``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from sovits_serve.errors import RequestError, ServingError, SetupError, StopCommand

EXIT_BAD_REQUEST = 65
EXIT_NO_INPUT = 66
EXIT_FAILED = 70
EXIT_NO_OUTPUT = 73
EXIT_SETUP = 78
_EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "safetensors"), "engine"),
    **dict.fromkeys(("fastapi", "prometheus_client", "psutil", "starlette", "uvicorn"), "server"),
    **dict.fromkeys(("httptools", "matplotlib"), "bench"),
}


@contextmanager
def output_errors(name: Path | str) -> Iterator[None]:
    """Turn what the system says about an output into that output's exit code."""
    try:
        yield
    except OSError as error:
        raise StopCommand(f"{name}: {error.strerror or error}", EXIT_NO_OUTPUT) from error


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn errors into one line on standard error and the exit codes."""
    try:
        yield
    except StopCommand as error:
        _stop(str(error), error.exit_code)
    except SetupError as error:
        _stop(error.message, error.exit_code)
    except RequestError as error:
        _stop(error.message, EXIT_BAD_REQUEST)
    except ServingError as error:
        _stop(error.message, EXIT_FAILED)
    except OSError as error:
        _stop(f"{error.filename}: {error.strerror or error}", EXIT_NO_INPUT)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        _stop(f"this command needs {error.name}: pip install 'sovits-serve[{extra}]'", EXIT_SETUP)
    except KeyboardInterrupt:
        _stop("interrupted", 130)


def _stop(message: str, exit_code: int) -> None:
    typer.echo(f"sovits-serve: {message}", err=True)
    raise typer.Exit(exit_code)
