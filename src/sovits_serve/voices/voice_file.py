"""Reading one voice from a directory: NAME.wav with NAME.txt and NAME.toml, or NAME/voice.toml.

Names in these files stay inside the directory of voices, whatever they say. Text is UTF-8.
"""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sovits_serve.audio.waveform import AudioLimits
from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.registry import check_mode
from sovits_serve.voices.voice import (
    MAX_ALIASES,
    MAX_AUXILIARY,
    Voice,
    VoiceDefaults,
    check_name,
)

RECORDINGS = (".wav", ".flac", ".mp3", ".ogg", ".m4a")
SETTINGS = "voice.toml"
_MAX_TEXT_BYTES = 8 << 10  # ten seconds of speech are a few hundred
_MAX_SETTINGS_BYTES = 64 << 10
_MAX_DESCRIPTION_CHARACTERS = 1000


class BadVoice(Exception):
    """A voice cannot be used; the message says which file or setting is wrong, and how."""


class _Settings(msgspec.Struct, forbid_unknown_fields=True):
    """What a voice.toml, or the NAME.toml beside a recording, may say."""

    reference: str = ""
    text: str | None = None
    language: str = "auto"
    auxiliary: list[str] = []
    model: str = ""
    aliases: list[str] = []
    description: str = ""
    defaults: VoiceDefaults = msgspec.field(default_factory=VoiceDefaults)


@dataclass(frozen=True)
class VoiceFiles:
    """The files that make up one voice; ``root`` is what they may not lead out of."""

    name: str
    root: Path  # resolved
    folder: Path  # where the names in the settings are looked up
    is_folder: bool
    settings: Path | None = None
    recordings: tuple[str, ...] = ()  # those that are named like the voice


def read_voice(files: VoiceFiles) -> Voice:
    """Return the voice that the files describe.

    Raises:
        BadVoice: something about it is wrong.
        OSError: a file cannot be read.
    """
    try:
        name = check_name(files.name)
        settings = _read_settings(files)
        reference = _find_reference(files, settings)
        return Voice(
            name=name,
            reference=reference,
            prompt_text=_find_text(files, settings, reference),
            prompt_language=check_mode(settings.language, "v2"),
            auxiliary=_find_auxiliary(files, settings),
            model=settings.model,
            aliases=_check_aliases(settings.aliases),
            description=_check_description(settings.description),
            defaults=_check_defaults(settings.defaults),
        )
    except InvalidRequest as error:
        raise BadVoice(error.message) from error


def _read_settings(files: VoiceFiles) -> _Settings:
    if files.settings is None:
        return _Settings()
    path = files.settings
    text = _read_text(_inside(files, path.name, path), _MAX_SETTINGS_BYTES)
    try:
        return msgspec.convert(tomllib.loads(text), _Settings)
    except tomllib.TOMLDecodeError as error:
        raise BadVoice(f"{path.name}: {error}") from error
    except RecursionError as error:
        raise BadVoice(f"{path.name}: is nested too deeply") from error
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at ")
        setting = place.strip("`").removeprefix("$").removeprefix(".")
        raise BadVoice(f"{path.name}: {f'{setting}: ' if setting else ''}{reason}") from error


def _read_text(path: Path, max_bytes: int) -> str:
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BadVoice(f"{path.name}: is longer than {max_bytes} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadVoice(f"{path.name}: not UTF-8 at byte {error.start}") from error


def _find_reference(files: VoiceFiles, settings: _Settings) -> Path:
    """Return the recording that a folder's settings name, or the one that gave its name."""
    if files.is_folder:
        if not settings.reference:
            raise BadVoice(f'{SETTINGS}: reference = "FILE" is missing')
        return _check_recording(files, "reference", settings.reference)
    if settings.reference:
        raise BadVoice(f"reference: is for {SETTINGS} in a folder; here it is {files.name}.wav")
    if not files.recordings:
        raise BadVoice(f"has no recording; add {files.name}.wav")
    if len(files.recordings) > 1:
        raise BadVoice(f"has several recordings ({', '.join(files.recordings)}); keep one")
    return _check_recording(files, "reference", files.recordings[0])


def _find_text(files: VoiceFiles, settings: _Settings, reference: Path) -> str | None:
    """Return what the reference says: as set, or from the .txt beside it."""
    text = settings.text
    if text is None:
        path = reference.with_suffix(".txt")
        if not path.exists():
            return None
        text = _read_text(_inside(files, "text", path), _MAX_TEXT_BYTES)
    elif len(text.encode()) > _MAX_TEXT_BYTES:
        raise BadVoice(f"text: is longer than {_MAX_TEXT_BYTES} bytes")
    return " ".join(text.split()) or None


def _find_auxiliary(files: VoiceFiles, settings: _Settings) -> tuple[Path, ...]:
    if len(settings.auxiliary) > MAX_AUXILIARY:
        raise BadVoice(f"auxiliary: {len(settings.auxiliary)} recordings; at most {MAX_AUXILIARY}")
    return tuple(
        _check_recording(files, f"auxiliary[{index}]", name)
        for index, name in enumerate(settings.auxiliary)
    )


def _check_recording(files: VoiceFiles, setting: str, name: str) -> Path:
    """Return a recording's resolved path; what it holds is checked when it is first used."""
    path = Path(name)
    if path.name != name:
        raise BadVoice(f"{setting}: {name!r} must be the name of a file in the same folder")
    if path.suffix.lower() not in RECORDINGS:
        raise BadVoice(f"{setting}: {name!r} must end in one of {', '.join(RECORDINGS)}")
    found = _inside(files, setting, files.folder / path)
    size_bytes, limit = found.stat().st_size, AudioLimits().max_bytes
    if not 0 < size_bytes <= limit:
        raise BadVoice(
            f"{setting}: {name!r} is {size_bytes} bytes, must be more than 0 and at most {limit}"
        )
    return found


def _inside(files: VoiceFiles, setting: str, path: Path) -> Path:
    """Return where a path leads, if that is a file inside the directory of voices."""
    try:
        found = path.resolve()
        is_file = found.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, too long, or a NUL
        raise BadVoice(f"{setting}: {path.name!r} is no file name") from error
    if not found.is_relative_to(files.root):
        raise BadVoice(f"{setting}: {path.name!r} is outside of the directory of voices")
    if not is_file:
        raise BadVoice(f"{setting}: {path.name!r}: no such file")
    return found


def _check_aliases(aliases: list[str]) -> tuple[str, ...]:
    if len(aliases) > MAX_ALIASES:
        raise BadVoice(f"aliases: {len(aliases)} given; at most {MAX_ALIASES}")
    return tuple(check_name(alias) for alias in aliases)


def _check_description(description: str) -> str:
    if len(description) > _MAX_DESCRIPTION_CHARACTERS:
        raise BadVoice(f"description: is longer than {_MAX_DESCRIPTION_CHARACTERS} characters")
    return description


def _check_defaults(defaults: VoiceDefaults) -> VoiceDefaults:
    """Check what ranges do not: TOML knows nan, which is in none and past none."""
    for name in defaults.__struct_fields__:
        value = getattr(defaults, name)
        if isinstance(value, float) and math.isnan(value):
            raise BadVoice(f"defaults.{name}: is nan")
    if defaults.language is None:
        return defaults
    return msgspec.structs.replace(defaults, language=check_mode(defaults.language, "v2"))
