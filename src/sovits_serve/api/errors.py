"""Errors as responses, each path in its dialect's shape; and codes from the wire as errors again.

api_v2's shape is upstream's ``message`` and ``Exception`` and, beside them, our ``code``: what has
failed, why, and a word for programs. All other paths have OpenAI's envelope.
"""

import math
import re
from collections.abc import Iterator, Mapping

import msgspec
from starlette.responses import Response

from sovits_serve.errors import CapacityError, EngineError, RequestError, ServingError

# The paths of api_v2, and what has failed there; in upstream's words where it has any.
_FAILED_THERE: Mapping[str, str] = {
    "/": "tts failed",
    "/control": "control failed",
    "/set_gpt_weights": "change gpt weight failed",
    "/set_refer_audio": "set refer audio failed",
    "/set_sovits_weights": "change sovits weight failed",
    "/tts": "tts failed",
}
# Statuses after which another try is right; their answers say when.
_TRY_AGAIN = frozenset({429, 503})
# A field as messages name it: input, sampling.top_k, auxiliary[1].
_FIELD = re.compile(r"([A-Za-z_][\w.\[\]]*): ")


class StreamAborted(ServingError):
    """The request was aborted from here: the client has left, or does not read."""

    code = "aborted"
    http_status = 499


class SlowReader(ServingError):
    """The client does not read its audio; what waits for it is past the limit."""

    code = "slow_reader"
    http_status = 503


class UnknownFailure(EngineError):
    """An engine or dispatcher failed with a code that this version does not know."""


class HttpError(ServingError):
    """A refusal of the HTTP layer itself (404, 405, 413, 401, ...)."""

    code = "http_error"

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.own_code = code


def error_response(path: str, error: ServingError) -> Response:
    """Return an error as a response in the shape of the path's dialect."""
    failed = _FAILED_THERE.get(path.rstrip("/") or "/")
    if failed is not None:
        return api_v2_error(failed, error)
    return _response(error, _status(error), {"error": openai_error(error)})


def api_v2_error(message: str, error: ServingError) -> Response:
    """Return an error in api_v2's shape; ``message`` says what has failed.

    What is the request's own fault is 400, as upstream answers; all else keeps its status.
    """
    status = 400 if isinstance(error, RequestError) else _status(error)
    body = {"message": message, "Exception": error.message, "code": _code(error)}
    return _response(error, status, body)


def _response(error: ServingError, status: int, body: Mapping[str, object]) -> Response:
    headers = {}
    if error.retry_after_s is not None or _status(error) in _TRY_AGAIN:
        headers["retry-after"] = str(math.ceil(max(error.retry_after_s or 0.0, 1.0)))
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def openai_error(error: ServingError) -> dict[str, object]:
    """Return the inner object of OpenAI's envelope."""
    return {
        "message": error.message,
        "type": _openai_type(error),
        "param": _param(error),
        "code": _code(error),
    }


def error_from_code(code: str, message: str, retry_after_s: float | None = None) -> ServingError:
    """Return the error that a ``Failed`` stands for; an unknown code stays in the message."""
    kind = _BY_CODE.get(code)
    error: ServingError
    error = kind(message) if kind is not None else UnknownFailure(f"{message} ({code})")
    error.retry_after_s = retry_after_s
    return error


def _code(error: ServingError) -> str:
    return error.own_code if isinstance(error, HttpError) else error.code


def _status(error: ServingError) -> int:
    return error.status if isinstance(error, HttpError) else error.http_status


def _openai_type(error: ServingError) -> str:
    status = _status(error)
    if status == 401:
        return "authentication_error"
    if status == 403:
        return "permission_error"
    if status == 429:
        return "rate_limit_error"
    if isinstance(error, RequestError) or 400 <= status < 500:
        return "invalid_request_error"
    return "overloaded_error" if isinstance(error, CapacityError) else "server_error"


def _param(error: ServingError) -> str | None:
    """Return the field that a message begins with, as ours do: ``speed: 9 is not between ...``."""
    found = _FIELD.match(error.message) if isinstance(error, RequestError) else None
    return found[1] if found is not None else None


def _leaves(kind: type[ServingError]) -> Iterator[type[ServingError]]:
    """Yield a class and all below it, the most general first."""
    yield kind
    for child in kind.__subclasses__():
        yield from _leaves(child)


def _by_code() -> dict[str, type[ServingError]]:
    """Return the most specific class of each code that is made from a message alone."""
    kinds: dict[str, type[ServingError]] = {}
    for kind in _leaves(ServingError):
        if kind.__module__ == ServingError.__module__:
            kinds[kind.code] = kind
    return kinds


_BY_CODE: dict[str, type[ServingError]] = _by_code()
