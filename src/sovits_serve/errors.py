"""The errors that callers see, as one tree.

Every error has a stable ``code`` (snake case, never reworded), a ``message`` for people that
names the offending value, the limit and what to do, an HTTP status and whether trying again can
help. Across processes only ``code`` and ``message`` travel. Imports nothing of this package.
"""

from typing import ClassVar


class ServingError(Exception):
    """Base of every error this package raises on purpose."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(ServingError):
    """The caller's fault; the same request will fail again."""

    code = "invalid_request"
    http_status = 400


class InvalidRequest(RequestError):
    """A field has a wrong type, value or range."""


class TextTooLong(RequestError):
    """The text, or one segment of it, is longer than the model or the limits allow."""

    code = "text_too_long"
    http_status = 413


class UnsupportedLanguage(RequestError):
    """No frontend of this installation, or no symbol of this model, covers the language."""

    code = "unsupported_language"


class BadReferenceAudio(RequestError):
    """The reference audio cannot be read, or is too short, too long, silent or not finite."""

    code = "bad_reference_audio"


class CapacityError(ServingError):
    """The server cannot take the request now; another try later can succeed."""

    code = "overloaded"
    http_status = 503
    retryable = True


class QueueFull(CapacityError):
    """The bounded queue is full."""

    code = "queue_full"
    http_status = 429


class Draining(CapacityError):
    """The engine finishes what it has and takes nothing more."""

    code = "draining"


class EngineError(ServingError):
    """The engine failed; not the caller's fault."""

    code = "engine_error"


class SynthesisError(EngineError):
    """This one request failed in the engine; the engine lives."""

    code = "synthesis_failed"


class SetupError(ServingError):
    """Stops the start. Each subclass has its own process exit code."""

    code = "setup_error"
    exit_code: ClassVar[int] = 70


class ConfigError(SetupError):
    """A setting is unknown, out of range, or contradicts another."""

    code = "bad_config"
    exit_code = 78


class CheckpointError(SetupError):
    """A checkpoint file is missing, truncated, hostile, or not what it should be."""

    code = "bad_checkpoint"
    exit_code = 79


class StopCommand(Exception):
    """Ends a command of the CLI with a message and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
