"""Questions that machines ask about the server: alive, ready, started, how it goes, metrics.

All answers come from the latest status that the dispatcher sent, so they take no time and are
there while everything else is down. Details (paths, log lines) are for those with a key, where
keys are set.
"""

import logging
import math
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sovits_serve.api.context import get_context
from sovits_serve.errors import ServingError
from sovits_serve.protocol.messages import EngineStatus, Status

_log = logging.getLogger(__name__)

router = APIRouter(tags=["Operations"])

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NO_DISPATCHER = (
    b"# HELP sovits_serve_dispatcher_up Whether the dispatcher answers this worker.\n"
    b"# TYPE sovits_serve_dispatcher_up gauge\n"
    b"sovits_serve_dispatcher_up 0\n"
)
_METHODS = ["GET", "HEAD"]
_READY = {"state": "ready", "reason": "", "engines": [{"name": "cuda:0", "state": "ready"}]}
_LOADING = {
    "state": "starting",
    "reason": "cuda:0 is loading",
    "engines": [{"name": "cuda:0", "state": "loading", "progress": 0.4, "detail": "T2S"}],
}


def _described(good: object, bad: object, when: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"description": "Yes.", "content": {"application/json": {"example": good}}},
        503: {"description": when, "content": {"application/json": {"example": bad}}},
    }


@router.api_route(
    "/livez",
    methods=_METHODS,
    summary="Is it alive?",
    response_class=Response,
    responses=_described({"alive": True}, {"alive": False}, "It has given up; start it anew."),
)
async def livez(request: Request) -> Response:
    """Answer 200 unless the server has given up; loading, however long, is no reason."""
    status = get_context(request).client.status
    if status.state != "failed":
        return _json({"alive": True})
    reason = status.reason if _sees_details(request) else "the server has given up"
    return _json({"alive": False, "reason": reason}, 503)


@router.api_route(
    "/readyz",
    methods=_METHODS,
    summary="Does it take requests?",
    response_class=Response,
    responses=_described(_READY, _LOADING, "Not yet, or not any more; says how far it is."),
)
async def readyz(request: Request) -> Response:
    """Answer 200 while requests are taken, else 503 with what is missing."""
    status = get_context(request).client.status
    body: dict[str, object] = {"state": status.state}
    body["reason"] = status.reason if _sees_details(request) else ""
    body["engines"] = [_brief(engine, request) for engine in status.engines]
    if status.state == "ready":
        return _json(body)
    return _json(body, 503, retry_after_s=status.retry_after_s)


@router.api_route(
    "/startupz",
    methods=_METHODS,
    summary="Has it ever been ready?",
    response_class=Response,
    responses=_described({"started": True}, {"started": False}, "It still starts."),
)
async def startupz(request: Request) -> Response:
    """Answer 200 once this worker has seen the server ready, and ever after."""
    state = request.app.state
    status = get_context(request).client.status
    if status.state == "ready":
        state.has_been_ready = True
    if getattr(state, "has_been_ready", False):
        return _json({"started": True})
    return _json({"started": False, "state": status.state}, 503, retry_after_s=status.retry_after_s)


@router.api_route("/health", methods=_METHODS, summary="How does it go?", response_class=Response)
async def health(request: Request) -> Response:
    """Return everything that is known: engines, memory, queue, models, defaults."""
    return _json(get_context(request).client.status)


@router.api_route("/metrics", methods=_METHODS, summary="Metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return metrics in the Prometheus text format, in every state of the server."""
    try:
        text = await get_context(request).client.metrics()
    except ServingError as error:
        _log.debug("no metrics: %s", error.message)
        text = _NO_DISPATCHER
    return Response(text, media_type=_METRICS_TYPE)


def _brief(engine: EngineStatus, request: Request) -> dict[str, object]:
    """Return what a probe is told of an engine."""
    brief: dict[str, object] = {
        "name": engine.name,
        "state": engine.state,
        "progress": round(engine.progress, 3),
    }
    if _sees_details(request):
        brief["detail"] = engine.detail
    return brief


def _sees_details(request: Request) -> bool:
    return bool(getattr(request.state, "is_trusted", False))


def _json(
    body: dict[str, object] | Status, status_code: int = 200, *, retry_after_s: float | None = None
) -> Response:
    headers = {"cache-control": "no-store"}
    if retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(max(retry_after_s, 1.0)))
    return Response(msgspec.json.encode(body), status_code, headers, media_type="application/json")
