import pytest

from sovits_serve.audio.containers import find_container


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"RIFF\0\0\0\0WAVE", "wav"),
        (b"RF64\xff\xff\xff\xffWAVE", "wav"),
        (b"FORM\0\0\0\0AIFF", "aiff"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90", "mp3"),
        (b"\xff\xf1\x50", "aac"),
        (b"\0\0\0\x1cftypM4A ", "mp4"),
        (b"\x1aE\xdf\xa3", "webm"),
    ],
)
def test_first_bytes_name_the_container(data: bytes, name: str) -> None:
    """Every format we read is known by its first bytes."""
    container = find_container(data)

    assert container is not None
    assert container.name == name


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\xff\xe1", b"RIFF\0\0\0\0AVI ", b"<!doctype html>", b"#EXTM3U", b"ffconcat"],
)
def test_anything_else_is_unknown(data: bytes) -> None:
    """Other data, playlists first of all, is no container."""
    assert find_container(data) is None
