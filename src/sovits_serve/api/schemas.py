"""The bodies of speech requests, field by field, and their part of the OpenAPI document.

Decoding says which field is wrong; ranges are checked by ``SpeechBuilder``, once for all dialects.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from sovits_serve.audio.encoding import AudioFormat
from sovits_serve.errors import InvalidRequest

B = TypeVar("B", bound=msgspec.Struct)

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm", "ogg"]
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "response_format": get_args(Format),
    "format": get_args(Format),
    "stream_format": ("audio", "sse"),
    "priority": ("interactive", "batch"),
}
_EXAMPLE_TEXT = "Hello, nice to meet you."


class VoiceId(msgspec.Struct, frozen=True):
    """A voice as OpenAI's custom voices are named."""

    id: str


_Language = Annotated[
    str | None,
    Meta(
        description="zh, yue, en, ja, ko (with English in between), all_zh, all_yue, all_ja, "
        "all_ko (alone), auto, auto_yue (Han is Cantonese); null: the voice's, else auto",
        examples=["auto"],
    ),
]
_Cut = Annotated[
    str | None,
    Meta(description="how text is cut: auto, or cut0 to cut5 as GPT-SoVITS does; null: as set"),
]
_Seed = Annotated[
    int | None, Meta(description="the same seed gives the same speech; null: drawn, see X-Seed")
]
_TopK = Annotated[int | None, Meta(description="draw from this many tokens; 0: from all")]
_TopP = Annotated[float | None, Meta(description="above 0, at most 1")]
_Temperature = Annotated[float | None, Meta(description="0 to 100; 0: always the likeliest")]
_Penalty = Annotated[float | None, Meta(description="0.01 to 100")]
_MaxTokens = Annotated[int | None, Meta(description="tokens per segment, 25 are a second")]
_EarlyTokens = Annotated[
    int | None,
    Meta(
        description="of a stream: tokens that its first audio is made of, 8 to 1000; sooner heard, "
        "and not sample for sample the whole; 0: all; null: as the server is set",
        examples=[16],
    ),
]
_Speed = Annotated[float | None, Meta(description="0.25 to 4", examples=[1.0])]
_Pause = Annotated[float | None, Meta(description="seconds of silence after a segment, 0 to 10")]
_Rate = Annotated[
    int | None,
    Meta(description="sample rate of the audio, 8000 to 192000 Hz; null: the model's own"),
]
_Priority = Annotated[
    Literal["interactive", "batch"] | None, Meta(description="batch waits for interactive")
]
_Timeout = Annotated[
    float | None, Meta(description="seconds until the request fails; null: the server's limit")
]
_Reference = Annotated[
    str | None,
    Meta(description="base64 of a recording of the voice, 3 to 10 s (wav, flac, mp3, ogg, ...)"),
]
_PromptText = Annotated[
    str | None, Meta(description='what the reference says; "": nothing is known of it')
]
_Auxiliary = Annotated[
    list[str] | None, Meta(description="base64 of further recordings, averaged into the style")
]


class OpenAISpeech(msgspec.Struct, frozen=True):
    """The body of ``POST /v1/audio/speech``: OpenAI's fields, and ours after them.

    Fields that it does not know are left alone, because clients send all kinds of them.
    """

    input: Annotated[str, Meta(description="the text to speak", examples=[_EXAMPLE_TEXT])]
    model: Annotated[
        str | None,
        Meta(
            description="a model of GET /v1/models; any other name is the default",
            examples=["tts-1"],
        ),
    ] = None
    voice: Annotated[
        str | VoiceId | None,
        Meta(
            description="a voice of GET /v1/audio/voices; OpenAI's names are known, too",
            examples=["alloy"],
        ),
    ] = None
    instructions: Annotated[
        str | None, Meta(description="accepted and ignored: these models take no instructions")
    ] = None
    response_format: Annotated[
        Format | None, Meta(description="null: mp3; pcm is int16 mono at 24000 Hz")
    ] = None
    speed: _Speed = None
    stream_format: Annotated[
        Literal["audio", "sse"] | None, Meta(description="sse: events with base64 in them")
    ] = None
    stream: Annotated[
        bool | None,
        Meta(description="false: one body with Content-Length; null: true, but for flac"),
    ] = None
    language: _Language = None
    text_split_method: _Cut = None
    seed: _Seed = None
    top_k: _TopK = None
    top_p: _TopP = None
    temperature: _Temperature = None
    repetition_penalty: _Penalty = None
    max_tokens: _MaxTokens = None
    segment_pause_s: _Pause = None
    sample_rate: _Rate = None
    early_tokens: _EarlyTokens = None
    priority: _Priority = None
    timeout_s: _Timeout = None
    reference: _Reference = None
    prompt_text: _PromptText = None
    prompt_language: _Language = None
    auxiliary: _Auxiliary = None


class NativeSpeech(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/speech``, as JSON or as the fields of a form."""

    text: Annotated[str, Meta(description="the text to speak", examples=[_EXAMPLE_TEXT])]
    voice: Annotated[
        str | None, Meta(description="a voice of GET /v1/audio/voices; null: the default")
    ] = None
    language: _Language = None
    text_split_method: _Cut = None
    model: Annotated[str | None, Meta(description="a model of GET /v1/models")] = None
    reference: _Reference = None
    prompt_text: _PromptText = None
    prompt_language: _Language = None
    auxiliary: _Auxiliary = None
    format: Annotated[
        Format | None, Meta(description="null: as the Accept header says, else wav")
    ] = None
    sample_rate: _Rate = None
    stream: Annotated[
        bool | None, Meta(description="true: audio as it comes; null: false, one body")
    ] = None
    stream_format: Annotated[
        Literal["audio", "sse"] | None, Meta(description="sse: events with base64 in them")
    ] = None
    seed: _Seed = None
    top_k: _TopK = None
    top_p: _TopP = None
    temperature: _Temperature = None
    repetition_penalty: _Penalty = None
    max_tokens: _MaxTokens = None
    speed: _Speed = None
    segment_pause_s: _Pause = None
    early_tokens: _EarlyTokens = None
    priority: _Priority = None
    timeout_s: _Timeout = None


_openai_decoder = msgspec.json.Decoder(OpenAISpeech)
_native_decoder = msgspec.json.Decoder(NativeSpeech)


def decode_openai(body: bytes) -> OpenAISpeech:
    """Return the fields of a body.

    Raises:
        InvalidRequest: it is no JSON, or names the field and what it must be.
    """
    return _decode(_openai_decoder, body)


def decode_native(body: bytes) -> NativeSpeech:
    """Return the fields of a JSON body.

    Raises:
        InvalidRequest: as ``decode_openai``; also for fields that there are not.
    """
    return _decode(_native_decoder, body)


def convert_native(fields: Mapping[str, object]) -> NativeSpeech:
    """Return the fields of a form, whose values are text.

    Raises:
        InvalidRequest: as ``decode_native``.
    """
    try:
        return msgspec.convert(dict(fields), NativeSpeech, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error


def _decode(decoder: "msgspec.json.Decoder[B]", body: bytes) -> B:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from error
    except RecursionError as error:
        raise InvalidRequest("the body is no JSON of ours: it is nested too deep") from error


def _invalid(error: msgspec.ValidationError) -> InvalidRequest:
    """Put the field in front, as in all our messages, and say what it may be."""
    reason, _, place = str(error).partition(" - at ")
    name = place.strip("`").removeprefix("$").removeprefix(".")
    if "required field `" in reason or "unknown field `" in reason:
        field = reason.partition("`")[2].rstrip("`")
        what = "is missing" if "required" in reason else "there is no such field"
        return InvalidRequest(f"{name}.{field}: {what}".removeprefix("."))
    if "enum value" in reason and name in _CHOICES:
        value = reason.removeprefix("Invalid enum value ")
        return InvalidRequest(f"{name}: {value} is not one of {', '.join(_CHOICES[name])}")
    return InvalidRequest(f"{name or 'body'}: {reason[:1].lower()}{reason[1:]}")


def from_base64(name: str, text: str) -> bytes:
    """Return what base64 stands for, with or without ``data:...;base64,`` in front.

    Raises:
        InvalidRequest: it is none.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{name}: is not base64: {error}") from error


def components() -> dict[str, Any]:
    """Return the schemas of the bodies, for the OpenAPI document."""
    _, schemas = msgspec.json.schema_components(
        [OpenAISpeech, NativeSpeech, VoiceId], ref_template="#/components/schemas/{name}"
    )
    return schemas


def json_body(name: str, example: Mapping[str, object]) -> dict[str, Any]:
    """Return the OpenAPI entry of a JSON body."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"application/json": {"schema": schema, "example": dict(example)}}


def audio_responses(*errors: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of a route that answers with audio."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    types = ("audio/mpeg", "audio/wav", "audio/ogg", "audio/aac", "audio/flac", "audio/pcm")
    content: dict[str, Any] = dict.fromkeys(types, binary)
    content["text/event-stream"] = {"schema": {"type": "string"}}
    headers = {
        "X-Sample-Rate": {"schema": {"type": "integer"}, "description": "of the audio, in Hz"},
        "X-Seed": {"schema": {"type": "integer"}, "description": "gives the same speech again"},
    }
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": "the speech", "content": content, "headers": headers}
    }
    for status in errors:
        answers[status] = error_response_doc(status)
    return answers


def error_response_doc(status: int) -> dict[str, Any]:
    """Return the OpenAPI entry of an error."""
    example = {
        "error": {
            "message": "speed: 9.0 is not between 0.25 and 4.0",
            "type": "invalid_request_error",
            "param": "speed",
            "code": "invalid_request",
        }
    }
    what = {
        400: "something about the request is wrong",
        401: "the key is missing or wrong",
        404: "no such voice or model",
        413: "the text or the body is too long",
        429: "the queue is full, or too many requests of this client; see Retry-After",
        503: "no engine is ready; see Retry-After",
    }[status]
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if status == 400:
        content["application/json"]["example"] = example
    return {"description": what, "content": content}


def audio_format(name: str) -> AudioFormat:
    """Return the format of that name; the schema has let no other in."""
    return AudioFormat(name)
