"""OpenAI's speech API, and the lists of voices and models that its clients ask for."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sovits_serve.api.context import ApiContext, get_context
from sovits_serve.api.direct_route import DirectRoute
from sovits_serve.api.schemas import (
    OpenAISpeech,
    VoiceId,
    audio_format,
    audio_responses,
    decode_openai,
    from_base64,
    json_body,
)
from sovits_serve.api.speech import SpeechInput
from sovits_serve.api.streaming import speak
from sovits_serve.audio.encoding import AudioFormat, check_available
from sovits_serve.errors import RequestError, UnknownModel

# What OpenAI's pcm is; clients play it at this rate without asking.
_PCM_RATE_HZ = 24_000
_EXAMPLE = {"model": "tts-1", "input": "Hello, nice to meet you.", "voice": "alloy"}
_JSON = "application/json"
_MODEL_NAME = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}

router = APIRouter(tags=["OpenAI"], route_class=DirectRoute)


@router.post(
    "/v1/audio/speech",
    summary="Speak a text",
    response_class=Response,
    responses=audio_responses(400, 401, 404, 413, 429, 503),
    openapi_extra={
        "requestBody": {"required": True, "content": json_body("OpenAISpeech", _EXAMPLE)}
    },
)
@router.post("/audio/speech", include_in_schema=False, response_class=Response)
async def create_speech(request: Request) -> Response:
    """Speak ``input``. Audio is sent as it is made; ``stream_format: sse`` wraps it in events.

    With ``stream: false``, and of flac unless ``stream`` is true, the whole file comes at once, with
    its length.
    """
    context = get_context(request)
    body = decode_openai(await request.body())
    kind = audio_format(body.response_format or "mp3")
    check_available(kind)
    rate_hz = body.sample_rate
    if kind is AudioFormat.PCM and rate_hz is None:
        rate_hz = _PCM_RATE_HZ
    is_sse = body.stream_format == "sse"
    # libsndfile cannot read a flac of unknown length to its end: a stream only for who wants one.
    streams_unasked = kind is not AudioFormat.FLAC
    is_streaming = is_sse or (streams_unasked if body.stream is None else body.stream)
    asked = _speech_input(body, context, is_streaming=is_streaming)
    try:
        prepared = await context.builder.build(asked, new_request_id(request))
    except RequestError as error:
        raise _in_openai_words(error) from error
    return await speak(
        request,
        prepared,
        format=kind,
        is_streaming=is_streaming,
        sample_rate_hz=rate_hz,
        framing="sse" if is_sse else "bytes",
    )


@router.get("/v1/audio/voices", summary="List the voices")
@router.get("/audio/voices", include_in_schema=False)
async def list_voices(request: Request) -> Response:
    """Return the voices, under ``voices`` and under ``data``, for either kind of client."""
    voices = [
        {
            "id": voice.name,
            "name": voice.name,
            "object": "audio.voice",
            "description": voice.description,
            "language": voice.defaults.language or "auto",
            "aliases": list(voice.aliases),
            "is_default": voice is get_context(request).voices.default,
        }
        for voice in get_context(request).voices.voices()
    ]
    return _json({"object": "list", "voices": voices, "data": voices})


@router.get("/v1/models", summary="List the models")
@router.get("/v1/audio/models", include_in_schema=False)
@router.get("/audio/models", include_in_schema=False)
async def list_models(request: Request) -> Response:
    """Return the loaded models, under ``models`` and under ``data``, for either kind of client."""
    models = _models(get_context(request))
    return _json({"object": "list", "data": models, "models": models})


@router.get(
    "/v1/models/{model}", summary="Describe a model", openapi_extra={"parameters": [_MODEL_NAME]}
)
async def get_model(request: Request) -> Response:
    """Return one loaded model."""
    model = request.path_params["model"]
    for known in _models(get_context(request)):
        if known["id"] == model:
            return _json(known)
    raise UnknownModel(f"model: {model[:80]!r} is not loaded")


def new_request_id(request: Request) -> str:
    """Return the id that the engines know a request by: the client's, made unique."""
    given = request.scope.get("state", {}).get("request_id", "request")
    return f"{given}-{secrets.token_hex(4)}"


def decode_recordings(name: str, items: Sequence[str] | None) -> tuple[bytes, ...]:
    """Return recordings that came as base64.

    Raises:
        InvalidRequest: one of them is no base64.
    """
    return tuple(from_base64(f"{name}[{i}]", item) for i, item in enumerate(items or ()))


def _speech_input(body: OpenAISpeech, context: ApiContext, *, is_streaming: bool) -> SpeechInput:
    loaded = {model.name for model in context.client.status.models}
    voice = body.voice.id if isinstance(body.voice, VoiceId) else body.voice
    return SpeechInput(
        text=body.input,
        language=body.language,
        cut=body.text_split_method,
        voice=voice,
        reference=None if body.reference is None else from_base64("reference", body.reference),
        prompt_text=body.prompt_text,
        prompt_language=body.prompt_language,
        auxiliary=decode_recordings("auxiliary", body.auxiliary),
        seed=body.seed,
        top_k=body.top_k,
        top_p=body.top_p,
        temperature=body.temperature,
        repetition_penalty=body.repetition_penalty,
        max_tokens=body.max_tokens,
        speed=body.speed,
        segment_pause_s=body.segment_pause_s,
        is_streaming=is_streaming,
        early_tokens=body.early_tokens,
        priority=body.priority or "interactive",
        timeout_s=body.timeout_s,
        # Clients send tts-1 and whatever else is in their lists.
        model=body.model if body.model in loaded else "",
    )


def _in_openai_words(error: RequestError) -> RequestError:
    """Return an error about the text that calls it what the client called it."""
    if not error.message.startswith("text: "):
        return error
    renamed = type(error)("input: " + error.message.removeprefix("text: "))
    renamed.retry_after_s = error.retry_after_s
    return renamed


def _models(context: ApiContext) -> list[dict[str, Any]]:
    status = context.client.status
    return [
        {
            "id": model.name,
            "name": model.name,
            "object": "model",
            "created": 0,
            "owned_by": "sovits-serve",
            "version": model.version,
            "sample_rate": model.sample_rate_hz,
            "is_default": model.name == (status.defaults.model or status.models[0].name),
        }
        for model in status.models
    ]


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type=_JSON)
