"""What a client of api_v2 sends, wherever it puts it: in the query, as JSON, as a form."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from sovits_serve.errors import InvalidRequest

_LISTS = ("aux_ref_audio_paths",)
_MAX_FIELDS = 200
_BOM = b"\xef\xbb\xbf"


async def read_given(request: Request) -> dict[str, object]:
    """Return all that a request gives; what the body says goes before the query.

    Raises:
        InvalidRequest: the body is neither JSON nor a form, or the query is too long a list.
    """
    given = _from_query(request.scope["query_string"])
    if request.method == "POST":
        given |= await _from_body(request)
    return given


def _from_query(query: bytes) -> dict[str, object]:
    try:
        return _last_or_all(
            parse_qsl(
                query.decode("utf-8", "replace"),
                keep_blank_values=True,
                max_num_fields=_MAX_FIELDS,
            )
        )
    except ValueError as error:
        raise InvalidRequest(f"more than {_MAX_FIELDS} parameters") from error


async def _from_body(request: Request) -> dict[str, object]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _from_form(request)
    body = (await request.body()).removeprefix(_BOM)
    if kind == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        return _from_query(body)
    # Some clients say nothing of what they send, or the wrong thing.
    return _from_json(body) if body.strip() else {}


async def _from_form(request: Request) -> dict[str, object]:
    try:
        async with request.form(max_files=0, max_fields=_MAX_FIELDS) as form:
            return _last_or_all((name, str(value)) for name, value in form.multi_items())
    except HTTPException as error:  # how starlette says it
        raise InvalidRequest(f"body: is no form: {error.detail}") from error


def _from_json(body: bytes) -> dict[str, object]:
    try:
        given: dict[str, object] = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"body: is no JSON object: {error}") from error
    except RecursionError as error:
        raise InvalidRequest("body: its JSON has more levels than are read") from error
    return given


def _last_or_all(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Return the last value of each name, of lists all values."""
    given: dict[str, object] = {}
    lists: dict[str, list[str]] = {name: [] for name in _LISTS}
    for name, value in pairs:
        given[name] = value
        if name in lists and value:
            lists[name].append(value)
    given.update({name: values for name, values in lists.items() if len(values) > 1})
    return given
