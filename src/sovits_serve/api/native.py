"""``POST /v1/speech``: everything there is, as JSON or as a form with files."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sovits_serve.api.context import get_context
from sovits_serve.api.direct_route import DirectRoute
from sovits_serve.api.openai import decode_recordings, new_request_id
from sovits_serve.api.schemas import (
    NativeSpeech,
    audio_format,
    audio_responses,
    convert_native,
    decode_native,
    from_base64,
    json_body,
)
from sovits_serve.api.speech import SpeechInput
from sovits_serve.api.streaming import speak
from sovits_serve.audio.encoding import AudioFormat, check_available
from sovits_serve.errors import InvalidRequest

router = APIRouter(tags=["Native"], route_class=DirectRoute)

_EXAMPLE = {"text": "Hello, nice to meet you.", "voice": "default", "format": "wav"}
_FORMS = frozenset({"multipart/form-data", "application/x-www-form-urlencoded"})
_PEEK_BYTES = 64
_MAX_FILES = 65
_MAX_FIELDS = 100
_BY_MEDIA_TYPE: Mapping[str, AudioFormat] = {
    "audio/wav": AudioFormat.WAV,
    "audio/wave": AudioFormat.WAV,
    "audio/x-wav": AudioFormat.WAV,
    "audio/vnd.wave": AudioFormat.WAV,
    "audio/mpeg": AudioFormat.MP3,
    "audio/mp3": AudioFormat.MP3,
    "audio/opus": AudioFormat.OPUS,
    "audio/ogg": AudioFormat.OGG,
    "audio/aac": AudioFormat.AAC,
    "audio/flac": AudioFormat.FLAC,
    "audio/x-flac": AudioFormat.FLAC,
    "audio/pcm": AudioFormat.PCM,
    "audio/l16": AudioFormat.PCM,
}
_EVENT_STREAM = "text/event-stream"
_FORM_SCHEMA: dict[str, Any] = {
    "schema": {
        "type": "object",
        "description": "the fields of the JSON body; recordings as files",
        "required": ["text"],
        "properties": {
            "text": {"type": "string"},
            "prompt_text": {"type": "string"},
            "reference": {"type": "string", "format": "binary"},
            "auxiliary": {"type": "array", "items": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(
    "/v1/speech",
    summary="Speak a text, with everything there is to say about it",
    response_class=Response,
    responses=audio_responses(400, 401, 404, 413, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                **json_body("NativeSpeech", _EXAMPLE),
                "multipart/form-data": _FORM_SCHEMA,
            },
        }
    },
)
async def create_speech(request: Request) -> Response:
    """Speak ``text`` with a voice of the server, or with a recording sent along.

    The format is ``format``, else what the Accept header names, else wav. The body is whole, with
    its length, unless ``stream`` is true.
    """
    context = get_context(request)
    body, reference, auxiliary = await _read(request)
    accepted = _accepted(request)
    kind = audio_format(body.format) if body.format else _first_format(accepted)
    check_available(kind)
    wants_events = body.format is None and body.stream_format is None and _EVENT_STREAM in accepted
    is_sse = body.stream_format == "sse" or wants_events
    is_streaming = is_sse or body.stream is True
    asked = _speech_input(body, reference, auxiliary, is_streaming=is_streaming)
    prepared = await context.builder.build(asked, new_request_id(request))
    return await speak(
        request,
        prepared,
        format=kind,
        is_streaming=is_streaming,
        sample_rate_hz=body.sample_rate,
        framing="sse" if is_sse else "bytes",
    )


async def _read(request: Request) -> tuple[NativeSpeech, bytes | None, tuple[bytes, ...]]:
    """Return the fields, the reference and the further recordings of either kind of body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    data = await request.body()
    # curl calls every body a form, unless it is told.
    is_json = kind not in _FORMS or data[:_PEEK_BYTES].lstrip().startswith(b"{")
    if not is_json:
        return await _read_form(request)
    body = decode_native(data)
    reference = None if body.reference is None else from_base64("reference", body.reference)
    return body, reference, decode_recordings("auxiliary", body.auxiliary)


async def _read_form(request: Request) -> tuple[NativeSpeech, bytes | None, tuple[bytes, ...]]:
    max_bytes = get_context(request).config.max_body_bytes
    try:
        form = await request.form(
            max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=max_bytes
        )
    except HTTPException as error:  # what Starlette makes of a bad form
        raise InvalidRequest(f"the form cannot be read: {error.detail}") from error
    try:
        references = await _recordings(form, "reference")
        auxiliary = await _recordings(form, "auxiliary")
        fields = _fields(form)
    finally:
        await form.close()
    if len(references) > 1:
        raise InvalidRequest(f"reference: {len(references)} files; send one, more as auxiliary")
    return convert_native(fields), references[0] if references else None, auxiliary


async def _recordings(form: FormData, name: str) -> tuple[bytes, ...]:
    """Return the recordings of one name, files or base64."""
    found = []
    for value in form.getlist(name):
        if isinstance(value, UploadFile):
            found.append(await value.read())
        elif value:
            found.append(from_base64(name, value))
    return tuple(found)


def _fields(form: FormData) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in form.multi_items():
        if name in {"reference", "auxiliary"}:
            continue
        if isinstance(value, UploadFile):
            raise InvalidRequest(f"{name}: is a file; only reference and auxiliary may be")
        if name in fields:
            raise InvalidRequest(f"{name}: given twice")
        fields[name] = value
    return fields


def _accepted(request: Request) -> list[str]:
    """Return the media types of the Accept header, in order, but those refused."""
    types = []
    for item in request.headers.get("accept", "").split(","):
        name, *parameters = [part.strip().lower() for part in item.split(";")]
        if name and not any(parameter in {"q=0", "q=0.0"} for parameter in parameters):
            types.append(
                "audio/opus" if name == "audio/ogg" and "codecs=opus" in parameters else name
            )
    return types


def _first_format(accepted: list[str]) -> AudioFormat:
    known = (_BY_MEDIA_TYPE[name] for name in accepted if name in _BY_MEDIA_TYPE)
    return next(known, AudioFormat.WAV)


def _speech_input(
    body: NativeSpeech, reference: bytes | None, auxiliary: tuple[bytes, ...], *, is_streaming: bool
) -> SpeechInput:
    return SpeechInput(
        text=body.text,
        language=body.language,
        cut=body.text_split_method,
        voice=body.voice,
        reference=reference,
        prompt_text=body.prompt_text,
        prompt_language=body.prompt_language,
        auxiliary=auxiliary,
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
        model=body.model or "",
    )
