"""The server's files that api_v2's requests name: recordings, or voices in their place; weights.

What may be named follows from the settings; how a name is opened is in ``paths.py``.
"""

import asyncio
import os
from pathlib import Path, PurePath

from sovits_serve.api.context import ApiContext
from sovits_serve.api.paths import AllowedFiles
from sovits_serve.audio.decode import AudioLimits
from sovits_serve.config import ModelConfig
from sovits_serve.errors import ForbiddenPath, UnknownVoice
from sovits_serve.voices.voice import Voice, list_some, name_key


async def read_recording(context: ApiContext, path: str, field: str) -> bytes:
    """Return what a file holds.

    Raises:
        ForbiddenPath: it is not there, or may not be named.
        BadReferenceAudio: it is too long.
    """
    roots = _allowed_directories(context)
    if context.voices.directory is not None:
        roots.append(context.voices.directory)
    files = AllowedFiles(roots, described="the setting allowed_paths, and the voices directory")
    max_bytes = AudioLimits().max_bytes
    return await asyncio.to_thread(files.read, path, field=field, max_bytes=max_bytes)


async def read_recording_or_voice(context: ApiContext, path: str, field: str) -> bytes | Voice:
    """Return what a file holds; where there is none, the voice that has the file's name.

    SillyTavern makes ``./参考音频/NAME.wav`` of a voice's name, and scripts written for another
    machine name files that are voices here.

    Raises:
        ForbiddenPath, BadReferenceAudio: as ``read_recording``.
    """
    try:
        return await read_recording(context, path, field)
    except ForbiddenPath as error:
        voice = _voice_called(context, PurePath(path.replace("\\", "/")).stem)
        if voice is None:
            known = list_some(voice.name for voice in context.voices.voices()) or "none yet"
            raise ForbiddenPath(
                f"{error.message}; a file of another machine cannot be read here: copy it into such "
                f"a directory, or send the name of a voice in its place ({known})"
            ) from error
        return voice


async def locate_weights(context: ApiContext, model: ModelConfig, path: str) -> Path:
    """Return the absolute path of weights: where recordings may not lie, beside the model, too.

    Raises:
        ForbiddenPath: as ``read_recording``.
    """
    roots = _allowed_directories(context)
    roots += [Path(model.model)] if model.model else []
    roots += [Path(file).parent for file in (model.t2s, model.sovits) if file]
    described = "the setting allowed_paths, and the model's own directories"
    files = AllowedFiles(roots, described=described)
    return await asyncio.to_thread(files.locate, path, field="weights_path")


def _allowed_directories(context: ApiContext) -> list[Path]:
    return [Path(part) for part in context.config.allowed_paths.split(os.pathsep) if part]


def _voice_called(context: ApiContext, name: str) -> Voice | None:
    """Return the voice of that very name or alias; not the default, whatever it is called."""
    try:
        voice = context.voices.get(name)
    except UnknownVoice:
        return None
    names = {name_key(known) for known in (voice.name, *voice.aliases)}
    return voice if name_key(name) in names else None
