"""GPT-SoVITS's own api_v2, for the clients that exist, and what its forks added for SillyTavern.

Bodies of errors are upstream's: ``message`` and ``Exception``. A request's own mistakes are 400, as
there; a full queue or missing engines keep 429, 503 and Retry-After. Paths lead nowhere but into
allowed directories. The routes that change the server are in ``switching.py``.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sovits_serve import __version__
from sovits_serve.api.context import ApiContext, get_context
from sovits_serve.api.errors import api_v2_error
from sovits_serve.api.openai import new_request_id
from sovits_serve.api.server_files import read_recording, read_recording_or_voice
from sovits_serve.api.speech import SpeechInput, check_num_auxiliary
from sovits_serve.api.streaming import speak
from sovits_serve.api.tts_body import read_given
from sovits_serve.api.tts_params import (
    MEDIA_TYPES,
    TtsParams,
    body_schema,
    query_parameters,
    read_tts_params,
)
from sovits_serve.audio.encoding import AudioFormat
from sovits_serve.config import LEAST_EARLY_TOKENS, MAX_EARLY_TOKENS
from sovits_serve.errors import InvalidRequest, RequestError
from sovits_serve.voices.voice import Voice

router = APIRouter(tags=["GPT-SoVITS api_v2"])

_V1_NAMES = frozenset({"refer_wav_path", "text_language", "prompt_language"})
# How other servers' clients (GSVI, SillyTavern's adapter) name a voice; not served yet.
_FOREIGN_VOICE_NAMES = ("cha_name", "target_voice")
# How call_me names weights for one request.
_WEIGHTS = ("gpt_weights", "sovits_weights")
_EARLY_MODE = 2  # and above: streaming modes that give up some quality
# Formats of which upstream's clients expect a complete file in every chunk of a stream.
_FILE_PER_PIECE = frozenset({"ogg", "aac"})
_AUDIO = {"schema": {"type": "string", "format": "binary"}}
_FAILED = {
    "schema": {"type": "object"},
    "example": {"message": "tts failed", "Exception": "the queue is full", "code": "queue_full"},
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Audio.", "content": dict.fromkeys(MEDIA_TYPES.values(), _AUDIO)},
    400: {"description": "A parameter is wrong.", "content": {"application/json": _FAILED}},
    429: {"description": "The queue is full.", "content": {"application/json": _FAILED}},
    503: {"description": "No engine is ready.", "content": {"application/json": _FAILED}},
}
_EXAMPLE = {"text": "Hello, and welcome.", "text_lang": "en", "ref_audio_path": "alice.wav"}
_TTS_BODY = {
    "required": True,
    "content": {"application/json": {"schema": body_schema(), "example": _EXAMPLE}},
}


@router.get(
    "/tts",
    summary="Speak a text (api_v2)",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra={"parameters": query_parameters()},
)
async def tts_get(request: Request) -> Response:
    """Speak; parameters are in the query."""
    return await _speak_as_asked(request)


@router.post(
    "/tts",
    summary="Speak a text (api_v2)",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra={"requestBody": _TTS_BODY},
)
async def tts_post(request: Request) -> Response:
    """Speak; parameters are a JSON object or a form."""
    return await _speak_as_asked(request)


@router.post("/", include_in_schema=False, response_class=Response)
async def tts_root(request: Request) -> Response:
    """Speak; the path of older clients, of which SillyTavern's sends the names of api_v2.

    A browser sees no chunks: it plays the body as one file, of several in a row only the first.
    """
    return await _speak_as_asked(request, is_one_file=True)


@router.get("/speakers", summary="List the voices for SillyTavern", response_class=Response)
async def speakers(request: Request) -> Response:
    """Return names as SillyTavern's GPT-SoVITS extension wants them."""
    voices = get_context(request).voices.voices()
    return JSONResponse([{"name": voice.name, "voice_id": voice.name} for voice in voices])


@router.api_route("/ping", methods=["GET", "HEAD"], response_class=Response)
async def ping() -> Response:
    """Answer 200; what VideoLingo waits for."""
    return JSONResponse({"message": "pong"})


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False, response_class=Response)
async def root(request: Request) -> Response:
    """Say what this is; to a client that asks for speech, as api (v1) does here, speak or refuse."""
    if request.method == "GET" and "text" in request.query_params:
        return await _speak_as_asked(request, is_one_file=True)
    return JSONResponse({"name": "sovits-serve", "version": __version__, "docs": "/docs"})


async def _speak_as_asked(request: Request, *, is_one_file: bool = False) -> Response:
    context = get_context(request)
    try:
        given = await read_given(request)
        _check_names(given)
        params = read_tts_params(given)
    except RequestError as error:
        return api_v2_error(error.message, error)  # as upstream does it
    is_streaming = params.streaming_mode > 0
    has_files = is_streaming and params.media_type in _FILE_PER_PIECE and not is_one_file
    # Complete files want whole sentences in them, unless the client asks for more speed.
    wants_sentences = has_files and params.streaming_mode == 1
    asked = await _speech_input(context, params, is_streaming=is_streaming and not wants_sentences)
    prepared = await context.builder.build(asked, new_request_id(request))
    return await speak(
        request,
        prepared,
        format=_format(params.media_type),
        is_streaming=is_streaming,
        framing="ogg_files" if has_files else "bytes",
        headers={"content-type": MEDIA_TYPES[params.media_type]},
    )


def _check_names(given: Mapping[str, object]) -> None:
    """Refuse what says who is to speak, and would be ignored: somebody else would.

    Raises:
        InvalidRequest: names the parameter.
    """
    if given.keys() & _V1_NAMES and "text_lang" not in given:
        raise InvalidRequest("these are names of api (v1); use those of api_v2: text_lang, ...")
    for name in _FOREIGN_VOICE_NAMES:
        if given.get(name):
            raise InvalidRequest(f"{name}: is not served; name the voice in ref_audio_path")
    for name in _WEIGHTS:
        if given.get(name):
            raise InvalidRequest(
                f"{name}: weights are not switched for one request; GET /set_{name} switches them "
                "for all later ones, and a voice (ref_audio_path) can have a model of its own"
            )


def _format(media_type: str) -> AudioFormat:
    return AudioFormat.PCM if media_type == "raw" else AudioFormat(media_type)


def _early_tokens(params: TtsParams) -> int | None:
    """Return what modes 2 and 3 are for: audio before all tokens of a sentence are known."""
    if params.streaming_mode < _EARLY_MODE:
        return None
    return min(max(params.min_chunk_length, LEAST_EARLY_TOKENS), MAX_EARLY_TOKENS)


async def _speech_input(
    context: ApiContext, params: TtsParams, *, is_streaming: bool
) -> SpeechInput:
    """Return what is asked for, with the files it names."""
    reference: bytes | Voice | None = None
    if params.ref_audio_path:
        reference = await read_recording_or_voice(context, params.ref_audio_path, "ref_audio_path")
    auxiliary = []
    if not isinstance(reference, Voice):
        check_num_auxiliary("aux_ref_audio_paths", len(params.aux_ref_audio_paths))
        for path in params.aux_ref_audio_paths:
            auxiliary.append(await read_recording(context, path, "aux_ref_audio_paths"))  # noqa: PERF401
    # Of a voice the words are known; what SillyTavern sends as prompt_text is the voice's name.
    own_prompt = None if isinstance(reference, Voice) else params.prompt_text or None
    return SpeechInput(
        text=params.text,
        language=params.text_lang,
        cut=params.text_split_method,
        voice=reference.name if isinstance(reference, Voice) else None,
        reference=reference if isinstance(reference, bytes) else None,
        reference_name="ref_audio_path",
        prompt_text=own_prompt,
        prompt_language=params.prompt_lang or None,
        auxiliary=tuple(auxiliary),
        seed=params.seed,
        top_k=params.top_k,
        top_p=params.top_p,
        temperature=params.temperature,
        repetition_penalty=params.repetition_penalty,
        speed=params.speed_factor,
        segment_pause_s=params.fragment_interval,
        is_streaming=is_streaming,
        early_tokens=_early_tokens(params),
    )
