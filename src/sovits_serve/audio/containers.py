"""Which kind of audio file a few bytes begin.

Decoders are never left to guess: FFmpeg also recognises playlists, and reading one opens the files
and addresses it names (measured: ``ffconcat`` bytes read a local file). A file is handed over only
with the name of one of these containers.
"""

from dataclasses import dataclass
from typing import Literal

DecoderName = Literal["libsndfile", "ffmpeg"]


@dataclass(frozen=True)
class Container:
    """A kind of file: its name for people, FFmpeg's name, and who may read it, in order."""

    name: str
    ffmpeg_format: str
    decoders: tuple[DecoderName, ...] = ("libsndfile", "ffmpeg")


_WAV = Container("wav", "wav")
_AIFF = Container("aiff", "aiff")
_FLAC = Container("flac", "flac")
_OGG = Container("ogg", "ogg")
_MP3 = Container("mp3", "mp3")
_CAF = Container("caf", "caf")
_AAC = Container("aac", "aac", ("ffmpeg",))
_MP4 = Container("mp4", "mov", ("ffmpeg",))
_WEBM = Container("webm", "matroska", ("ffmpeg",))

CONTAINERS = {item.name: item for item in (_WAV, _AIFF, _FLAC, _OGG, _MP3, _CAF, _AAC, _MP4, _WEBM)}

_BY_FIRST_FOUR = {
    b"fLaC": _FLAC,
    b"OggS": _OGG,
    b"caff": _CAF,
    b"\x1aE\xdf\xa3": _WEBM,
}


def find_container(data: bytes) -> Container | None:
    """Return the container that the first bytes announce, or None if it is none we read."""
    first, kind = data[:4], data[8:12]
    if first in (b"RIFF", b"RIFX", b"RF64") and kind == b"WAVE":
        return _WAV
    if first == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return _AIFF
    if data[4:8] == b"ftyp":
        return _MP4
    if first in _BY_FIRST_FOUR:
        return _BY_FIRST_FOUR[first]
    return _find_mpeg(data)


def _find_mpeg(data: bytes) -> Container | None:
    if data[:3] == b"ID3":
        return _MP3
    if len(data) < 2 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    # The layer bits of a frame header: 0 in AAC's ADTS, where MPEG audio never has 0.
    if data[1] & 0x06 == 0:
        return _AAC if data[1] & 0xF0 == 0xF0 else None
    return _MP3
