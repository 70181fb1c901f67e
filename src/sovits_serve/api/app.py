"""The ASGI app: parts, routes, middleware, errors.

``create_app`` is for whoever has a configuration (our workers, tests); ``app`` is for any ASGI
server (``uvicorn sovits_serve.api.app:app``) and is made from the environment when it is first
used, so that importing this module costs little and starts nothing. Requests are logged and
counted by ``request_log.py``; ``speak`` does not do it again.
"""

import asyncio
import logging
import os
import re
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from sovits_serve import __version__
from sovits_serve.api import admin, gptsovits, native, openai, security, switching
from sovits_serve.api.context import ApiContext
from sovits_serve.api.engine_client import EngineClient
from sovits_serve.api.errors import HttpError, error_response
from sovits_serve.api.schemas import components
from sovits_serve.api.speech import SpeechBuilder
from sovits_serve.builtin import voices_directory
from sovits_serve.config import ApiConfig, FrontendConfig, ModelConfig
from sovits_serve.errors import InvalidRequest, ServingError, SetupError
from sovits_serve.voices.registry import VoiceRegistry

_log = logging.getLogger(__name__)

_MODULES = (openai, native, gptsovits, switching, admin)
_SUMMARY = "Serves GPT-SoVITS voices to many people at once."
_NO_WORD = re.compile(r"\W+")
_CODES = {404: "not_found", 405: "method_not_allowed"}


def create_app(
    config: ApiConfig,
    frontend: FrontendConfig,
    model: ModelConfig,
    endpoint: str,
    token: str = "",
    *,
    name: str = "",
) -> FastAPI:
    """Return the app. Nothing is connected before its lifespan begins.

    Raises:
        ConfigError: the endpoint is none, or the dictionary is bad.
    """
    client = EngineClient(
        endpoint, name or f"worker-{os.getpid()}", token, max_buffer_bytes=config.max_buffer_bytes
    )
    voices = VoiceRegistry(voices_directory(model))
    builder = SpeechBuilder(client, voices, config, frontend)
    context = ApiContext(config, client, builder, voices)
    app = FastAPI(
        title="sovits-serve",
        summary=_SUMMARY,
        version=__version__,
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
    )
    app.state.context = context
    app.state.first_status_s = 0.0  # how long to wait for the dispatcher before requests are taken
    app.state.frontend_config = frontend
    app.state.model_config = model
    for module in _MODULES:
        app.include_router(module.router)
    security.install(app, config)
    _handle_errors(app)
    _describe_bodies(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: ApiContext = app.state.context
    await context.client.start()
    # Who shares a socket with others would refuse what these could serve, for want of a word.
    with suppress(TimeoutError):
        await asyncio.wait_for(context.client.wait_connected(), app.state.first_status_s)
    await context.builder.start()
    try:
        yield
    finally:
        await context.builder.stop()
        await context.client.stop()
        context.encoders.shutdown(wait=False, cancel_futures=True)


def _handle_errors(app: FastAPI) -> None:
    """Answer every error in the shape of its path's dialect."""

    @app.exception_handler(ServingError)
    async def on_serving_error(request: Request, error: ServingError) -> Response:
        return error_response(request.scope["path"], error)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "http_error")
        shown = HttpError(_http_message(request, error), error.status_code, code)
        response = error_response(request.scope["path"], shown)
        response.headers.update(error.headers or {})
        if error.status_code == 405:
            response.headers["allow"] = ", ".join(_allowed_methods(request.scope))
        return response

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "request"
        shown = InvalidRequest(f"{place}: {first['msg']}")
        return error_response(request.scope["path"], shown)

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> Response:
        # The server logs the traceback; clients learn nothing of the inside.
        del error
        shown = ServingError("this is a bug of the server; its log says more")
        return error_response(request.scope["path"], shown)


def _http_message(request: Request, error: HTTPException) -> str:
    path = request.scope["path"][:200]
    if error.status_code == 404:
        return f"{path}: there is no such route; GET /docs lists them"
    if error.status_code == 405:
        return f"{path}: is not for {request.method}"
    return str(error.detail)


def _allowed_methods(scope: Scope) -> list[str]:
    """Return all methods that a path is for; Starlette names those of one route alone."""
    routes = [route for module in _MODULES for route in module.router.routes]
    fitting = [route for route in routes if route.matches(scope)[0] is not Match.NONE]
    return sorted({method for route in fitting for method in getattr(route, "methods", ())})


def _operation_id(route: APIRoute) -> str:
    """Return a name that does not depend on which of its methods a set gives first."""
    return f"{route.name}{_NO_WORD.sub('_', route.path_format)}".rstrip("_")


def _describe_bodies(app: FastAPI) -> None:
    """Complete the OpenAPI document: the bodies that FastAPI does not decode; HEAD is GET."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        with warnings.catch_warnings():
            # GET and HEAD of one route have one id; a test looks that no others do.
            warnings.filterwarnings("ignore", "Duplicate Operation ID")
            document = make()
        document.setdefault("components", {}).setdefault("schemas", {}).update(components())
        for operations in document["paths"].values():
            if "get" in operations:
                operations.pop("head", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


@cache
def _app_from_environment() -> FastAPI:
    from sovits_serve.config_sources import default_endpoint, load_config

    config = load_config()
    endpoint = config.endpoint or default_endpoint()
    return create_app(config.api, config.frontend, config.model, endpoint, config.token)


class _AppFromEnvironment:
    """The app, made when it is first used.

    No module ``__getattr__``: hypercorn looks into the module's dictionary. And what is wrong with
    the settings is said as a failed start-up, upon which servers stop; after an exception at import
    uvicorn starts worker after worker.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            made = _app_from_environment()
        except SetupError as error:
            if scope["type"] != "lifespan":
                raise
            _log.error("%s", error.message)
            await receive()
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await made(scope, receive, send)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # servers ask for what other kinds of apps have
            raise AttributeError(name)
        return getattr(_app_from_environment(), name)


app = _AppFromEnvironment()
