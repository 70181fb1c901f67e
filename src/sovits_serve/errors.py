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
    retry_after_s: float | None = None  # when another try makes sense, if that is known

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(ServingError):
    """The caller's fault; the same request will fail again."""

    code = "invalid_request"
    http_status = 400


class InvalidRequest(RequestError):
    """A field has a wrong type, value or range."""


class UnsupportedFormat(InvalidRequest):
    """This installation cannot write that audio format."""

    code = "unsupported_format"


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


class UnknownVoice(RequestError):
    """No voice has that name."""

    code = "unknown_voice"
    http_status = 404


class UnknownRecording(RequestError):
    """The dispatcher does not have a recording that a request names; the worker sends it again."""

    code = "unknown_recording"


class UnknownModel(RequestError):
    """No model has that name, or its files cannot be loaded."""

    code = "unknown_model"
    http_status = 404


class ForbiddenPath(RequestError):
    """A file that is not there, or that requests may not name; which of them is not told."""

    code = "file_not_found"
    http_status = 404


class Quarantined(RequestError):
    """The same request brought down two engines a short time ago."""

    code = "quarantined"
    http_status = 422


class CapacityError(ServingError):
    """The server cannot take the request now; another try later can succeed."""

    code = "overloaded"
    http_status = 503
    retryable = True


class NotReady(CapacityError):
    """No engine takes work yet, or none any more."""

    code = "not_ready"


class DeadlineExceeded(CapacityError):
    """The request's time was over before it was finished."""

    code = "deadline_exceeded"
    http_status = 504


class TooManyForKey(CapacityError):
    """One API key or address has too many unfinished requests."""

    code = "too_many_requests"
    http_status = 429


class OutOfMemory(CapacityError):
    """The device has no memory for this request now; the engine lives."""

    code = "out_of_memory"


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


class EngineDead(EngineError):
    """The engine's process died under the request, and it may not be run again."""

    code = "engine_crash"
    http_status = 500
    retryable = True


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
