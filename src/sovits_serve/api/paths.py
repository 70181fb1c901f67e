"""Files that requests name: opened only beneath allowed directories, however the name is spelled.

A name is judged before the disk is touched. Then it is opened one component after the other,
without following links, beneath each allowed directory in turn; where a spelling is not there, one
that differs in upper and lower case only is taken (some clients lower-case what they send). What
is missing and what is forbidden give the same error, so nobody learns what else is on the disk.
Everything here blocks: call it in a thread. Sizes are in bytes.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from sovits_serve.errors import BadReferenceAudio, ForbiddenPath

MAX_NAME_CHARACTERS = 512
_NAME_IN_MESSAGE = 100
_URL = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # file: http: concat: data: pipe:
_DRIVE = re.compile(r"[a-z]:", re.IGNORECASE)
_IS_WINDOWS = os.name == "nt"
# Not there on every system; without them the path is resolved first and checked afterwards.
_HAS_OPENAT = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


class AllowedFiles:
    """The directories that requests may name files in."""

    def __init__(self, roots: Iterable[Path], *, described: str) -> None:
        """Take directories; those that do not exist now may do later.

        Args:
            roots: the directories.
            described: what they are, for messages to those who may not see where they lie.
        """
        self._roots = tuple(dict.fromkeys(root.absolute() for root in roots))
        self._described = described

    def read(self, name: str, *, field: str, max_bytes: int) -> bytes:
        """Return what a file holds.

        Raises:
            ForbiddenPath: it is not there, no regular file, or not beneath an allowed directory.
            BadReferenceAudio: it is longer than ``max_bytes``.
        """
        descriptor, _ = self._open(name, field)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise BadReferenceAudio(
                f"{field}: the file is more than {max_bytes} bytes, which is the limit"
            )
        return data

    def locate(self, name: str, *, field: str) -> Path:
        """Return the absolute path of a file.

        Raises:
            ForbiddenPath: as ``read``.
        """
        descriptor, path = self._open(name, field)
        os.close(descriptor)
        return path

    def _open(self, name: str, field: str) -> tuple[int, Path]:
        if _is_sane(name):
            for root, parts in self._candidates(name):
                try:
                    return _open_beneath(root, parts)
                except OSError:  # not there, a link, no permission, a directory: all the same
                    continue
        raise ForbiddenPath(
            f"{field}: {name[:_NAME_IN_MESSAGE]!r} is no file in a directory that requests may name "
            f"({self._described})"
        )

    def _candidates(self, name: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """Yield each allowed directory with the components to open beneath it."""
        path = PurePath(name)
        absolute = path if path.is_absolute() else Path.cwd() / path
        for root in self._roots:
            if not path.is_absolute():
                yield root, path.parts
            # A client may know the directory as it is or by the link that leads there.
            for spelling in dict.fromkeys((root, Path(os.path.realpath(root)))):
                parts = _parts_below(spelling, absolute)
                if parts:
                    yield root, parts


def _is_sane(name: str) -> bool:
    """Return whether a name may be looked up at all."""
    if not name or len(name) > MAX_NAME_CHARACTERS or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    if _URL.match(name) or name.startswith(("//", "\\\\", "/\\", "\\/")):
        return False
    if _IS_WINDOWS:
        if ":" in _DRIVE.sub("", name, count=1):  # streams of a file
            return False
    elif "\\" in name or _DRIVE.match(name):
        return False
    return ".." not in PurePath(name).parts and bool(PurePath(name).name)


def _parts_below(root: Path, path: PurePath) -> tuple[str, ...]:
    """Return the components of ``path`` below ``root``; none when it is not beneath it."""
    num_parts = len(root.parts)
    above = [part.lower() for part in path.parts[:num_parts]]
    if above != [part.lower() for part in root.parts]:
        return ()
    return path.parts[num_parts:]


def _open_beneath(root: Path, parts: tuple[str, ...]) -> tuple[int, Path]:
    """Open a regular file beneath ``root`` for reading; return descriptor and true path."""
    descriptor, path = (
        _open_by_component(root, parts) if _HAS_OPENAT else _open_resolved(root, parts)
    )
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(str(path))
    return descriptor, path


def _open_by_component(root: Path, parts: tuple[str, ...]) -> tuple[int, Path]:
    path = root
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for index, part in enumerate(parts):
        # A FIFO without a writer would hold the thread for ever.
        kind = os.O_NONBLOCK if index == len(parts) - 1 else os.O_DIRECTORY
        try:
            entry, following = _open_entry(current, part, kind)
        finally:
            os.close(current)
        current, path = following, path / entry
    return current, path


def _open_entry(directory: int, name: str, kind: int) -> tuple[str, int]:
    """Open one entry of a directory; return how it is really spelled, and its descriptor."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind
    try:
        return name, os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        entry = _other_spelling(os.listdir(directory), name)
        return entry, os.open(entry, flags, dir_fd=directory)


def _other_spelling(entries: Iterable[str], name: str) -> str:
    """Return the one entry that differs from ``name`` in case only."""
    matches = [entry for entry in entries if entry.lower() == name.lower()]
    if len(matches) != 1:
        raise FileNotFoundError(name)
    return matches[0]


def _open_resolved(root: Path, parts: tuple[str, ...]) -> tuple[int, Path]:
    true_root = Path(os.path.realpath(root, strict=True))
    path = Path(os.path.realpath(true_root.joinpath(*parts), strict=True))
    if not path.is_relative_to(true_root):
        raise FileNotFoundError(str(path))
    # The Windows flag is a plain number elsewhere not known to the type checker.
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), path
