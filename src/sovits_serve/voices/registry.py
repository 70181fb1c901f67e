"""Which voices there are: a directory, read again when something in it changes.

A voice that cannot be used is left out with a reason and takes no other down. Safe to use from
several threads: readers see one table or the next.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from sovits_serve.errors import UnknownVoice
from sovits_serve.voices.voice import Voice, list_some, name_key
from sovits_serve.voices.voice_file import (
    RECORDINGS,
    SETTINGS,
    BadVoice,
    VoiceFiles,
    read_voice,
)

_log = logging.getLogger(__name__)

MAX_VOICES = 1000
# Names that clients of OpenAI's API send because they know no other.
OPENAI_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
)
_DEFAULT = "default"
_MAX_FOLDER_ENTRIES = 100
_CHECK_INTERVAL_S = 1.0
_SHOWN = 80

_Stamp = tuple[str, int, int]  # name, time of change in ns, size in bytes


@dataclass(frozen=True)
class _Table:
    """The voices at one moment."""

    voices: tuple[Voice, ...] = ()  # by name
    by_key: Mapping[str, Voice] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """Files that seem to be a voice, and what tells whether they are still the same."""

    files: VoiceFiles
    stamps: tuple[_Stamp, ...]


class VoiceRegistry:
    """Voices by name. Reads the directory at once; without one there are no voices."""

    def __init__(
        self, directory: Path | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._checked_s = clock()
        self._found: dict[str, _Found] = {}
        self._read: dict[str, Voice | BadVoice] = {}
        self._table = _Table()
        self._seen: list[_Stamp] | None = None  # at the last look; None: look again
        self._reload()

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what could not be used, by file name, and why."""
        return self._table.problems

    @property
    def default(self) -> Voice | None:
        """Return the voice called "default", else the first by name, else None."""
        table = self._table
        named = table.by_key.get(_DEFAULT)
        return named or (table.voices[0] if table.voices else None)

    def voices(self) -> tuple[Voice, ...]:
        """Return all voices, by name."""
        return self._table.voices

    def get(self, name: str) -> Voice:
        """Return the voice of that name or alias, whatever the case of its letters.

        An empty name, "default" and the names of OpenAI's voices are the default voice, unless a
        voice here has that name.

        Raises:
            UnknownVoice: there is none; the message names some that there are.
        """
        key = name_key(name)
        found = self._table.by_key.get(key)
        if found is None and (key in OPENAI_VOICES or key in ("", _DEFAULT)):
            found = self.default
        if found is not None:
            return found
        if not self._table.voices:
            raise UnknownVoice(
                "voice: there is none; put a recording and its words into the directory of "
                "voices, as NAME.wav and NAME.txt"
            )
        known = list_some(voice.name for voice in self._table.voices)
        raise UnknownVoice(f"voice: {name[:_SHOWN]!r} is not known; there is {known}")

    def reload_if_changed(self) -> bool:
        """Look for changes, at most once a second; return whether there were any.

        Costs one look at each file, and reads what changed.
        """
        if not self._lock.acquire(blocking=False):
            return False  # another thread is at it
        try:
            now = self._clock()
            if now - self._checked_s < _CHECK_INTERVAL_S:
                return False
            self._checked_s = now
            return self._reload()
        finally:
            self._lock.release()

    def _reload(self) -> bool:
        if self.directory is None:
            return False
        try:
            seen = _look(self.directory)
            if seen == self._seen:
                return False
            found, problems = _scan(self.directory)
        except FileNotFoundError:
            seen, found, problems = None, {}, {str(self.directory): "no such directory"}
        except OSError as error:
            self._seen = None
            # Too many open files, a network drive away: what was known is still the best answer.
            self._publish(_with_problem(self._table, str(self.directory), error))
            return False
        self._seen = seen
        for key in self._read.keys() - found.keys():
            del self._read[key]
        for key, item in found.items():
            if self._found.get(key) != item or key not in self._read:
                self._read_again(key, item, problems)
        self._found = found
        return self._publish(self._make_table(found, problems))

    def _read_again(self, key: str, item: _Found, problems: dict[str, str]) -> None:
        self._read.pop(key, None)
        try:
            self._read[key] = read_voice(item.files)
        except BadVoice as error:
            self._read[key] = error
        except OSError as error:  # not kept: the next look tries again
            self._seen = None
            problems[key] = error.strerror or str(error)

    def _make_table(self, found: Mapping[str, _Found], problems: dict[str, str]) -> _Table:
        by_key: dict[str, Voice] = {}
        voices = []
        for key in sorted(found):
            voice = self._read.get(key)
            if isinstance(voice, BadVoice):
                problems[key] = str(voice)
            elif voice is not None and name_key(voice.name) in by_key:
                taken = by_key[name_key(voice.name)]
                problems[key] = f"has the name of another voice ({taken.name})"
            elif voice is not None:
                by_key[name_key(voice.name)] = voice
                voices.append(voice)
        voices.sort(key=lambda voice: (name_key(voice.name), voice.name))
        for voice in voices:
            for alias in voice.aliases:
                taken = by_key.setdefault(name_key(alias), voice)
                if taken is not voice:
                    problems[voice.name] = f"aliases: {alias!r} is a name of {taken.name}"
        return _Table(tuple(voices), by_key, problems)

    def _publish(self, table: _Table) -> bool:
        """Make a table the one in use; log what is newly wrong. Return whether it is another."""
        for name, reason in table.problems.items():
            if self._table.problems.get(name) != reason:
                _log.warning("voice left out or incomplete: %s: %s", name, reason)
        is_changed = table != self._table
        self._table = table
        return is_changed


def _with_problem(table: _Table, name: str, error: OSError) -> _Table:
    reason = error.strerror or str(error)
    return _Table(table.voices, table.by_key, {**table.problems, name: reason})


def _look(directory: str | Path) -> list[_Stamp]:
    """Return what tells whether anything has changed: quick, because it runs every second."""
    stamps = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            status = _status(entry)
            stamps.append(_stamp(entry.name, status))
            if status is not None and S_ISDIR(status.st_mode):
                with suppress(OSError), os.scandir(entry.path) as inner:
                    stamps += (_stamp(item.path, _status(item)) for item in inner)
    return stamps


def _scan(directory: Path) -> tuple[dict[str, _Found], dict[str, str]]:
    """Return what seems to be a voice, by its name in the directory, and what is wrong."""
    root = directory.resolve()
    files: dict[str, list[tuple[Path, _Stamp]]] = {}
    found: dict[str, _Found] = {}
    problems: dict[str, str] = {}
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            path = Path(entry.path)
            status = _status(entry)
            if status is not None and S_ISDIR(status.st_mode):
                _add_folder(path, root, found, problems)
            elif path.suffix.lower() in (*RECORDINGS, ".txt", ".toml"):
                # A link that leads nowhere is a file too: reading it says what is wrong.
                stamp = _stamp(entry.name, status)
                files.setdefault(path.stem, []).append((path, stamp))
    for name, parts in files.items():
        _add_file(name, sorted(parts), root, found, problems)
    for name in sorted(found)[MAX_VOICES:]:
        del found[name]
        problems[name] = f"there are more than {MAX_VOICES} voices"
    return found, problems


def _add_folder(path: Path, root: Path, found: dict[str, _Found], problems: dict[str, str]) -> None:
    try:
        with os.scandir(path) as entries:
            stamps = tuple(sorted(_stamp(entry.name, _status(entry)) for entry in entries))
    except OSError as error:
        problems[path.name] = error.strerror or str(error)
        return
    if len(stamps) > _MAX_FOLDER_ENTRIES:
        problems[path.name] = f"holds {len(stamps)} files; at most {_MAX_FOLDER_ENTRIES}"
    elif not any(name == SETTINGS for name, _, _ in stamps):
        problems[path.name] = f"has no {SETTINGS}"
    else:
        files = VoiceFiles(path.name, root, path, is_folder=True, settings=path / SETTINGS)
        found[path.name] = _Found(files, stamps)


def _add_file(
    name: str,
    parts: list[tuple[Path, _Stamp]],
    root: Path,
    found: dict[str, _Found],
    problems: dict[str, str],
) -> None:
    recordings = tuple(path.name for path, _ in parts if path.suffix.lower() in RECORDINGS)
    settings = [path for path, _ in parts if path.suffix.lower() == ".toml"]
    if not recordings and not settings:
        return  # a text of its own, such as a README
    if name in found:
        problems[parts[0][0].name] = f"there is a folder {name}, too"
        return
    files = VoiceFiles(
        name,
        root,
        folder=root,
        is_folder=False,
        settings=settings[0] if settings else None,
        recordings=recordings,
    )
    found[name] = _Found(files, tuple(stamp for _, stamp in parts))


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """Return the status of what an entry leads to, or None if it leads nowhere."""
    try:
        return entry.stat()
    except OSError:
        return None


def _stamp(name: str, status: os.stat_result | None) -> _Stamp:
    if status is None or not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
        return (name, -1, -1)
    return (name, status.st_mtime_ns, status.st_size)
