import os
from pathlib import Path

import pytest

from sovits_serve.api import paths
from sovits_serve.api.paths import AllowedFiles
from sovits_serve.errors import BadReferenceAudio, ForbiddenPath

HOSTILE = [
    "",
    ".",
    "./",
    "/",
    "a\0b",
    "x" * 513,
    "../secret.wav",
    "sub/../../secret.wav",
    "sub/..",
    "file:alice.wav",
    "http://127.0.0.1:9/x.wav",
    "concat:alice.wav",
    "data:audio/wav;base64,AAAA",
    "subfile:alice.wav",
    "pipe:0",
    "//host/share/x.wav",
    "\\\\host\\share\\x.wav",
    "sub\\alice.wav",
    "C:/voices/alice.wav",
    "c:alice.wav",
    "\ud800.wav",
    "a" * 300,
    "sub",
    "alice.wav/x",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an allowed directory with two recordings, beside a file that is not allowed."""
    directory = tmp_path / "Voices"
    (directory / "Sub").mkdir(parents=True)
    (directory / "alice.wav").write_bytes(b"alice")
    (directory / "Sub" / "Bob.wav").write_bytes(b"bob")
    (tmp_path / "secret.wav").write_bytes(b"secret")
    return directory


@pytest.fixture
def files(root: Path) -> AllowedFiles:
    """Return the allowed directory as requests see it."""
    return AllowedFiles([root], described="these")


def read(files: AllowedFiles, name: str) -> bytes:
    """Read a file as a request would."""
    return files.read(name, field="ref_audio_path", max_bytes=100)


@pytest.mark.parametrize(
    "name", ["alice.wav", "./alice.wav", ".//alice.wav", "ALICE.wav", "Alice.WAV"]
)
def test_a_relative_name_is_found_in_any_case(files: AllowedFiles, name: str) -> None:
    """A name relative to an allowed directory is read, whatever its case."""
    assert read(files, name) == b"alice"


def test_an_absolute_name_is_found_though_lower_cased(files: AllowedFiles, root: Path) -> None:
    """Absolute names beneath an allowed directory are read, also all in lower case."""
    assert read(files, str(root / "Sub" / "Bob.wav")) == b"bob"
    assert read(files, str(root / "sub" / "bob.wav").lower()) == b"bob"


def test_a_name_relative_to_where_the_server_runs_is_found(
    files: AllowedFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upstream's clients name files from the server's own directory."""
    monkeypatch.chdir(root.parent)

    assert read(files, "./voices/alice.wav") == b"alice"
    with pytest.raises(ForbiddenPath):
        read(files, "secret.wav")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_the_directory_may_be_named_by_a_link_that_leads_to_it(root: Path) -> None:
    """An allowed directory that is a link works by both of its names."""
    link = root.parent / "link"
    link.symlink_to(root)
    files = AllowedFiles([link], described="these")

    assert read(files, str(link / "alice.wav")) == b"alice"
    assert read(files, str(root / "alice.wav")) == b"alice"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_give_the_error_of_a_missing_file(files: AllowedFiles, name: str) -> None:
    """No hostile name is read, and the error does not tell it from a missing file's."""
    with pytest.raises(ForbiddenPath) as hostile:
        read(files, name)
    with pytest.raises(ForbiddenPath) as missing:
        read(files, "missing.wav")

    _, _, told = str(hostile.value).partition(" is no file")
    assert told == str(missing.value).partition(" is no file")[2]


def test_forbidden_names_do_not_touch_the_disk(
    files: AllowedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused by its spelling is never opened (a UNC name would send a password hash)."""
    monkeypatch.setattr(paths, "_open_beneath", lambda *_: pytest.fail("opened"))

    for name in (name for name in HOSTILE if not paths._is_sane(name)):
        with pytest.raises(ForbiddenPath):
            read(files, name)
    with pytest.raises(ForbiddenPath):
        read(files, "/etc/passwd")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_are_not_followed(files: AllowedFiles, root: Path) -> None:
    """Links inside an allowed directory lead nowhere, be they files or directories."""
    (root / "link.wav").symlink_to(root.parent / "secret.wav")
    (root / "up").symlink_to(root.parent)

    for name in ("link.wav", "up/secret.wav", "LINK.wav"):
        with pytest.raises(ForbiddenPath):
            read(files, name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs there")
@pytest.mark.timeout(5)
def test_a_fifo_does_not_hold_the_server(files: AllowedFiles, root: Path) -> None:
    """A FIFO that nobody writes to is refused at once."""
    os.mkfifo(root / "fifo.wav")

    with pytest.raises(ForbiddenPath):
        read(files, "fifo.wav")


def test_a_name_that_fits_two_files_is_not_guessed(files: AllowedFiles, root: Path) -> None:
    """Two files that differ in case only are told apart by exact names alone."""
    (root / "ALICE.wav").write_bytes(b"other")
    if len(list(root.glob("[aA]*.wav"))) < 2:
        pytest.skip("this file system knows one case")

    assert read(files, "ALICE.wav") == b"other"
    with pytest.raises(ForbiddenPath):
        read(files, "Alice.wav")


def test_a_long_file_is_refused_and_the_limit_is_named(files: AllowedFiles, root: Path) -> None:
    """A file past the size limit is no recording."""
    (root / "long.wav").write_bytes(bytes(101))

    with pytest.raises(BadReferenceAudio, match="ref_audio_path.*100 bytes"):
        read(files, "long.wav")


def test_locate_returns_the_path_as_it_is_spelled_on_the_disk(
    files: AllowedFiles, root: Path
) -> None:
    """Weights are handed on by their true absolute path."""
    found = files.locate("sub/bob.WAV", field="weights_path")

    assert found == root / "Sub" / "Bob.wav"


def test_every_directory_is_tried(root: Path, tmp_path: Path) -> None:
    """A missing directory is no obstacle to the next one."""
    files = AllowedFiles([tmp_path / "missing", root], described="these")

    assert read(files, "alice.wav") == b"alice"


def test_no_descriptor_is_left_open(files: AllowedFiles, root: Path) -> None:
    """Thousands of refused names cost no file descriptor."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("the system does not list them")
    for _ in range(200):
        read(files, "sub/bob.wav")
        for name in ("sub", "sub/missing", "missing/bob.wav"):
            with pytest.raises(ForbiddenPath):
                read(files, name)

    # Only those below the root count: others of this process come and go.
    below = str(root.parent.resolve())
    assert not [path for path in descriptors.iterdir() if _target(path).startswith(below)]


def _target(descriptor: Path) -> str:
    """What a descriptor points to, or nothing if it was closed meanwhile."""
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def test_without_openat_links_out_are_refused_too(
    files: AllowedFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a system cannot open by component, the resolved path is checked."""
    monkeypatch.setattr(paths, "_HAS_OPENAT", False)
    (root / "up").symlink_to(root.parent)

    assert read(files, "alice.wav") == b"alice"
    with pytest.raises(ForbiddenPath):
        read(files, "up/secret.wav")
