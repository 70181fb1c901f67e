"""What a voice is: a recording, what it says, and how the voice speaks unless told otherwise.

Only names and paths; nobody reads the recording here. Knows no torch.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from sovits_serve.errors import InvalidRequest

MAX_NAME_CHARACTERS = 64
MAX_AUXILIARY = 4
MAX_ALIASES = 32
_SIGNS = frozenset("-_ ")
_SHOWN = 80

# The ranges of a request's fields (engine/request.py); a test compares them.
_Speed = Annotated[float, msgspec.Meta(ge=0.25, le=4.0)]
_TopK = Annotated[int, msgspec.Meta(ge=1)]
_TopP = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
_Temperature = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
_RepetitionPenalty = Annotated[float, msgspec.Meta(ge=0.01, le=100.0)]
_Seed = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Pause = Annotated[float, msgspec.Meta(ge=0.0, le=10.0)]


class VoiceDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What requests with this voice get that do not say; None: what all requests get."""

    language: str | None = None  # of the texts to speak
    speed: _Speed | None = None
    top_k: _TopK | None = None
    top_p: _TopP | None = None
    temperature: _Temperature | None = None
    repetition_penalty: _RepetitionPenalty | None = None
    seed: _Seed | None = None
    segment_pause_s: _Pause | None = None


@dataclass(frozen=True)
class Voice:
    """A voice that requests can name. Paths are absolute."""

    name: str
    reference: Path
    prompt_text: str | None = None  # what the reference says
    prompt_language: str = "auto"
    auxiliary: tuple[Path, ...] = ()  # further recordings, averaged into the style
    model: str = ""  # name of the model it speaks with; "": the default
    aliases: tuple[str, ...] = ()
    description: str = ""
    defaults: VoiceDefaults = field(default_factory=VoiceDefaults)


def check_name(name: str) -> str:
    """Return a voice's name in its one spelling (Unicode's composed form).

    Raises:
        InvalidRequest: it is too long, or holds other signs than it may.
    """
    composed = unicodedata.normalize("NFC", name)
    if not 0 < len(composed) <= MAX_NAME_CHARACTERS:
        raise InvalidRequest(
            f"voice name: {composed[:_SHOWN]!r} has {len(composed)} characters, must be 1 to "
            f"{MAX_NAME_CHARACTERS}"
        )
    is_plain = all(_is_word(character) or character in _SIGNS for character in composed)
    if not is_plain or not _is_word(composed[0]) or composed[-1] == " ":
        raise InvalidRequest(
            f"voice name: {composed!r} may hold letters, digits, blanks, - and _, and must begin "
            "with a letter or digit and not end in a blank"
        )
    return composed


def name_key(name: str) -> str:
    """Return what two spellings of one name have in common: the case does not matter."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.strip()).casefold())


def list_some(names: Iterable[str], shown: int = 8) -> str:
    """Return a few of the names, and how many more there are."""
    known = list(names)
    more = f" and {len(known) - shown} more" if len(known) > shown else ""
    return ", ".join(known[:shown]) + more


def _is_word(character: str) -> bool:
    """Return whether it is a letter or digit, or a mark that belongs to one (as in Hindi)."""
    return unicodedata.category(character)[0] in "LMN"
