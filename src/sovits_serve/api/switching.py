"""api_v2's routes that change the server: weights, the default reference, restart and exit.

Unlike upstream, what is switched applies to later requests only, on all engines or on none. Errors
that routes raise become upstream's bodies outside (``errors.py``); where upstream has other words
than those of the path, they are here.
"""

import logging
import os
import signal
from pathlib import PurePath

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sovits_serve.api.context import get_context
from sovits_serve.api.errors import HttpError, api_v2_error
from sovits_serve.api.server_files import locate_weights, read_recording_or_voice
from sovits_serve.errors import InvalidRequest
from sovits_serve.voices.voice import Voice

_log = logging.getLogger(__name__)

router = APIRouter(tags=["GPT-SoVITS api_v2"])

_DONE = {"message": "success"}


@router.get("/set_gpt_weights", summary="Switch the GPT weights", response_class=Response)
async def set_gpt_weights(request: Request, weights_path: str = "") -> Response:
    """Make other T2S (GPT) weights the default of later requests, on all engines or on none."""
    if not weights_path:
        return _missing("gpt weight path is required", "weights_path: is missing")
    context = get_context(request)
    found = await locate_weights(context, request.app.state.model_config, weights_path)
    await context.client.switch_model(t2s=str(found))
    return JSONResponse(_DONE)


@router.get("/set_sovits_weights", summary="Switch the SoVITS weights", response_class=Response)
async def set_sovits_weights(request: Request, weights_path: str = "") -> Response:
    """Make other SoVITS weights the default of later requests, on all engines or on none."""
    if not weights_path:
        return _missing("sovits weight path is required", "weights_path: is missing")
    context = get_context(request)
    found = await locate_weights(context, request.app.state.model_config, weights_path)
    await context.client.switch_model(sovits=str(found))
    return JSONResponse(_DONE)


@router.get("/set_refer_audio", summary="Switch the default reference", response_class=Response)
async def set_refer_audio(request: Request, refer_audio_path: str = "") -> Response:
    """Make a recording the reference of later requests that bring none."""
    field = "refer_audio_path"
    context = get_context(request)
    recordings = context.builder.recordings
    found = await read_recording_or_voice(context, refer_audio_path, field)
    if isinstance(found, Voice):
        audio = await recordings.from_file(found.reference, field)
    else:
        audio = await recordings.from_bytes(found, field)
    await context.client.switch_reference(audio.key, audio, PurePath(refer_audio_path).name)
    return JSONResponse(_DONE)


@router.get("/control", summary="Restart or stop the server", response_class=Response)
async def control(request: Request, command: str = "") -> Response:
    """``restart`` replaces the HTTP workers one by one, ``exit`` stops all; off unless configured."""
    if not get_context(request).config.control:
        what = "the setting control (SOVITS_SERVE_API_CONTROL) turns it on"
        return api_v2_error("control is off", HttpError(what, 404, "not_found"))
    if not command:
        return _missing("command is required", "command: is restart or exit")
    signals = {"restart": getattr(signal, "SIGHUP", None), "exit": signal.SIGTERM}
    number = signals.get(command)
    if number is None:
        raise InvalidRequest(f"command: {command[:40]!r} is unknown; it is restart or exit")
    pid = getattr(request.app.state, "supervisor_pid", None)
    if pid is None:
        reason = "it works where `sovits-serve serve` has started the server"
        raise HttpError(reason, 501, "not_implemented")
    _log.warning("control command=%s", command)
    return JSONResponse(_DONE, background=BackgroundTask(os.kill, pid, number))


def _missing(message: str, reason: str) -> Response:
    return api_v2_error(message, InvalidRequest(reason))
