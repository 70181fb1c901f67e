"""The parameters of api_v2's /tts, read the way its many clients write them.

Values come from a query, a form or JSON; strings stand for numbers and booleans, ``null`` and ""
for "not given", and a popular typo for true. Values that mean nothing are refused; fields that
nobody knows are ignored. Names are upstream's, times in seconds.
"""

import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from sovits_serve.engine.request import SPEED_RANGE
from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.registry import MODES

_log = logging.getLogger(__name__)

MAX_AUXILIARY = 4
CUTS = ("cut0", "cut1", "cut2", "cut3", "cut4", "cut5")
# As clients name them; the values are content types. The first four are upstream's.
MEDIA_TYPES = {
    "wav": "audio/wav",
    "raw": "audio/raw",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "opus": "audio/ogg",
}
# "ture" is the default of Open-LLM-VTuber's setting.
_TRUE = frozenset({"true", "ture", "1", "yes", "on"})
_FALSE = frozenset({"false", "flase", "0", "no", "off"})
_WHOLE = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_SHOWN = 80
_WITHOUT_EFFECT = "accepted, without effect: requests are batched with one another anyway"
_OTHER_MODELS = "accepted, without effect on v1, v2 and v2Pro models"


@dataclass(frozen=True)
class TtsParams:
    """What a client of api_v2 asks for, checked; None: not given, the voice's or else upstream's."""

    text: str
    text_lang: str
    ref_audio_path: str
    aux_ref_audio_paths: tuple[str, ...]
    prompt_text: str
    prompt_lang: str
    top_k: int | None
    top_p: float | None
    temperature: float | None
    text_split_method: str
    speed_factor: float | None
    fragment_interval: float | None
    seed: int | None  # None: drawn
    media_type: str
    streaming_mode: int  # 0 to 3
    repetition_penalty: float | None
    min_chunk_length: int


@dataclass(frozen=True)
class Field:
    """One parameter: how it is read, its default, what is allowed and what it does."""

    name: str
    read: Callable[["Field", object], object]
    default: object
    description: str
    low: float | None = None
    high: float | None = None
    example: object = None

    @property
    def schema(self) -> dict[str, object]:
        """Return its JSON schema."""
        schema: dict[str, object] = {"type": _JSON_TYPES[self.read]}
        if self.read is _read_list:
            schema["items"] = {"type": "string"}
        if self.default not in (None, "", ()):
            schema["default"] = self.default
        bounds = (("minimum", self.low), ("maximum", self.high))
        schema.update({name: bound for name, bound in bounds if bound is not None})
        if self.example is not None:
            schema["examples"] = [self.example]
        return schema


def _read_text(declared: Field, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _bad(declared, value, "a text")
    return str(value)


def _read_bool(declared: Field, value: object) -> bool:
    word = str(value).strip().lower()
    if isinstance(value, str | int | float) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise _bad(declared, value, "true or false")


def _read_float(declared: Field, value: object) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _bad(declared, value, "a number")
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise _bad(declared, value, "a number") from error
    if not math.isfinite(number):
        raise _bad(declared, value, "a finite number")
    _check_range(declared, number)
    return number


def _read_int(declared: Field, value: object) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        number = _read_float(declared, value)
        if number != int(number):
            raise _bad(declared, value, "a whole number")
        value = int(number)
    _check_range(declared, value)
    return value


def _read_mode(declared: Field, value: object) -> int:
    """Read streaming_mode: a boolean, or one of upstream's four modes."""
    word = str(value).strip().lower()
    if isinstance(value, str | int | float):
        if word in _TRUE | _FALSE:
            return int(word in _TRUE)
        if word in {"2", "3"}:
            return int(word)
    # Upstream's words; some clients show them.
    raise InvalidRequest(
        f"the value of {declared.name} must be 0, 1, 2, 3(int) or true/false(bool); "
        f"it is {_shown(value)}"
    )


def _read_list(declared: Field, value: object) -> tuple[str, ...]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = msgspec.json.decode(value.encode(), type=list[str])
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeEncodeError) as error:
            raise _bad(declared, value, "a list of paths") from error
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(one, str | None) for one in value):
        raise _bad(declared, value, "a list of paths")
    paths = tuple(one for one in value if one)
    if len(paths) > MAX_AUXILIARY:
        raise InvalidRequest(f"{declared.name}: {len(paths)} paths; at most {MAX_AUXILIARY}")
    return paths


def _check_range(declared: Field, number: float) -> None:
    low, high = declared.low, declared.high
    if (low is not None and number < low) or (high is not None and number > high):
        allowed = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise InvalidRequest(f"{declared.name}: {_shown(number)} is not {allowed}")


def _bad(declared: Field, value: object, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"{declared.name}: {_shown(value)} is not {wanted}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


_JSON_TYPES: Mapping[Callable[[Field, object], object], str] = {
    _read_text: "string",
    _read_bool: "boolean",
    _read_float: "number",
    _read_int: "integer",
    _read_mode: "integer",
    _read_list: "array",
}

FIELDS = (
    Field("text", _read_text, "", "What to say.", example="Hello, and welcome."),
    Field("text_lang", _read_text, "", f"Its language: {', '.join(MODES)}.", example="en"),
    Field(
        "ref_audio_path",
        _read_text,
        "",
        "A recording of the voice on the server, or a voice's name; without it the default voice.",
        example="alice.wav",
    ),
    Field("aux_ref_audio_paths", _read_list, (), "Up to 4 more recordings of the voice."),
    Field("prompt_text", _read_text, "", "What the recording says.", example="This is my voice."),
    Field("prompt_lang", _read_text, "", "The language of prompt_text.", example="en"),
    Field("top_k", _read_int, 15, "Draw from the k likeliest tokens; 0: from all.", 0, 1_000_000),
    Field("top_p", _read_float, 1.0, "Draw from the likeliest tokens up to this share.", 0, 1),
    Field("temperature", _read_float, 1.0, "More is livelier, less is steadier.", 0, 100),
    Field("text_split_method", _read_text, "cut5", f"One of {', '.join(CUTS)}."),
    Field("batch_size", _read_int, 1, _WITHOUT_EFFECT, 0),
    Field("batch_threshold", _read_float, 0.75, _WITHOUT_EFFECT, 0),
    Field("split_bucket", _read_bool, True, _WITHOUT_EFFECT),
    Field("speed_factor", _read_float, 1.0, "How fast; 2 is twice as fast.", *SPEED_RANGE),
    Field("fragment_interval", _read_float, 0.3, "Seconds of silence after each segment.", 0, 10),
    Field("seed", _read_int, -1, "The same seed gives the same audio; -1: random.", -1, 2**63 - 1),
    Field("media_type", _read_text, "wav", f"One of {', '.join(MEDIA_TYPES)}."),
    Field(
        "streaming_mode",
        _read_mode,
        0,
        "0 or false: all at once; 1 or true, 2, 3: as it is made. With ogg and aac each HTTP chunk is "
        "a complete file, one a sentence with 1, smaller ones with 2 and 3. 2 and 3 are sooner heard, "
        "and not sample for sample what 0 and 1 make.",
        0,
        3,
    ),
    Field("parallel_infer", _read_bool, True, _WITHOUT_EFFECT),
    Field("repetition_penalty", _read_float, 1.35, "More repeats less.", 0.01, 100),
    Field("sample_steps", _read_int, 32, _OTHER_MODELS, 1, 128),
    Field("super_sampling", _read_bool, False, _OTHER_MODELS),
    Field("overlap_length", _read_int, 2, _WITHOUT_EFFECT, 0),
    Field(
        "min_chunk_length",
        _read_int,
        16,
        "With streaming_mode 2 and 3: tokens (25 a second) of the first piece; 8 to 1000, what is "
        "outside counts as the nearest.",
        0,
    ),
)
_REQUIRED = ("text", "text_lang")
# What a voice may have its own defaults for; ours are shown, but do not go before them.
_OF_VOICE = frozenset(
    {
        "fragment_interval",
        "repetition_penalty",
        "seed",
        "speed_factor",
        "temperature",
        "top_k",
        "top_p",
    }
)
_NAMES = frozenset(declared.name for declared in FIELDS) | {"return_fragment"}


def read_tts_params(given: Mapping[str, object]) -> TtsParams:
    """Return the parameters of a request, from what its query, form or JSON says.

    Raises:
        InvalidRequest: names the parameter, its value and what is allowed.
    """
    unknown = given.keys() - _NAMES
    if unknown:
        _log.debug("ignored what /tts does not know: %s", ", ".join(sorted(unknown))[:500])
    for name in _REQUIRED:  # first, whatever else is wrong: probes look for it
        if _is_missing(given.get(name)):
            raise InvalidRequest(f"{name} is required")
    values = {declared.name: _read(declared, given.get(declared.name)) for declared in FIELDS}
    params = msgspec.convert(values, TtsParams)
    params = replace(
        params,
        text_lang=_language("text_lang", params.text_lang),
        prompt_lang=_language("prompt_lang", params.prompt_lang),
        seed=None if params.seed == -1 else params.seed,
        media_type=params.media_type.strip().lower(),
        text_split_method=params.text_split_method.strip(),
    )
    _check(params)
    return params


def _read(declared: Field, value: object) -> object:
    if not _is_missing(value):
        return declared.read(declared, value)
    return None if declared.name in _OF_VOICE else declared.default


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _language(name: str, value: str) -> str:
    mode = value.strip().lower()
    if mode and mode not in MODES:
        raise InvalidRequest(
            f"{name}: {_shown(value)} is not supported; it is one of {', '.join(MODES)}"
        )
    return mode


def _check(params: TtsParams) -> None:
    """Check what depends on more than one parameter, and the words.

    Raises:
        InvalidRequest: names the parameter.
    """
    if params.prompt_text and params.ref_audio_path and not params.prompt_lang:
        raise InvalidRequest("prompt_lang is required")
    if params.aux_ref_audio_paths and not params.ref_audio_path:
        raise InvalidRequest("ref_audio_path is required: aux_ref_audio_paths are given")
    if params.media_type not in MEDIA_TYPES:
        raise InvalidRequest(
            f"media_type: {_shown(params.media_type)} is not supported; it is one of "
            f"{', '.join(MEDIA_TYPES)}"
        )
    if params.text_split_method not in CUTS:
        raise InvalidRequest(
            f"text_split_method: {_shown(params.text_split_method)} is not supported; it is one of "
            f"{', '.join(CUTS)}"
        )


def query_parameters() -> list[dict[str, object]]:
    """Return the parameters as OpenAPI describes a query."""
    return [
        {
            "name": declared.name,
            "in": "query",
            "required": declared.name in _REQUIRED,
            "description": declared.description,
            "schema": declared.schema,
        }
        for declared in FIELDS
    ]


def body_schema() -> dict[str, object]:
    """Return the parameters as OpenAPI describes a JSON body."""
    properties = {
        declared.name: {**declared.schema, "description": declared.description}
        for declared in FIELDS
    }
    return {"type": "object", "properties": properties, "required": list(_REQUIRED)}
