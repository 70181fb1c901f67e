"""A file of words and how to say them, read again when it changes.

UTF-8, one entry a line: the word, then a tab, two or more blanks or "=", then the reading. "#"
starts a comment. A line ``[zh]``, ``[yue]``, ``[en]``, ``[ja]`` or ``[ko]`` sets the language of
the lines after it; before the first such line the notation of the reading tells. Knows no phonemes.
"""

import logging
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from sovits_serve.errors import ConfigError, InvalidRequest
from sovits_serve.frontend.markup import MarkedReading
from sovits_serve.frontend.notations import (
    EXAMPLES,
    LANGUAGES,
    TONES,
    canonical,
    is_well_formed,
    notation_of,
)
from sovits_serve.frontend.segmentation.weight import is_east_asian, is_hangul

_log = logging.getLogger(__name__)

MAX_BYTES = 10 << 20
MAX_ENTRIES = 100_000
# Also bounds how far ``find`` looks ahead at one place.
MAX_WORD_CHARACTERS = 100
_MAX_LINE_CHARACTERS = 1000
_CHECK_INTERVAL_S = 1.0

Check = Callable[[str, str, str], None]
_NOTATIONS: Mapping[str, str] = {language: notation for notation, language in LANGUAGES.items()}
_SEPARATOR = re.compile(r"\s*+=\s*+|\s{2,}")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_SHOWN = 40


class _BadLine(Exception):
    """What is wrong with a line of the file."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"line {number}: {problem}")


@dataclass(frozen=True, slots=True)
class _Entry:
    word: str
    notation: str
    reading: str


@dataclass(frozen=True, slots=True)
class _Table:
    """Entries by word, and the lengths of words by what they begin with, longest first.

    ``folded`` has those that are not in lower case, by their lower case.
    """

    exact: dict[str, _Entry] = field(default_factory=dict)
    folded: dict[str, _Entry] = field(default_factory=dict)
    lengths: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: list[_Entry]) -> "_Table":
        table = cls()
        lengths: dict[str, set[int]] = {}
        for entry in entries:
            folded = _folded(entry.word)
            table.exact[entry.word] = entry
            if entry.word != folded:
                table.folded[folded] = entry
            lengths.setdefault(folded[:2], set()).add(len(folded))
        for beginning, found in lengths.items():
            table.lengths[beginning] = tuple(sorted(found, reverse=True))
        return table

    def longest(self, text: str, folded: str, start: int) -> _Entry | None:
        """Return the longest entry that begins at a place."""
        sizes = (
            *self.lengths.get(folded[start : start + 2], ()),
            *self.lengths.get(folded[start], ()),
        )
        if not sizes or not _begins(text, start):
            return None
        for size in sizes:
            end = start + size
            entry = self._entry(text[start:end], folded[start:end])
            if entry is not None and end <= len(text) and _ends(text, end):
                return entry
        return None

    def _entry(self, word: str, folded: str) -> _Entry | None:
        return self.exact.get(word) or self.exact.get(folded) or self.folded.get(folded)


class UserDictionary:
    """The words of one file.

    Args:
        path: the file. It is looked at again when the dictionary is used, at most once a second.
        check: raises ``InvalidRequest`` if a reading (third) cannot be one of a word (second) in a
            language (first); None: only the form of readings counts.
        clock: what tells the seconds; another one in tests.

    Raises:
        ConfigError: the file cannot be read, or a line is wrong; later this is only reported in
            ``problem``, and the last good entries stay.
    """

    def __init__(
        self,
        path: Path,
        check: Check | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._check = check
        self._clock = clock
        self._lock = threading.Lock()
        self._problem: str | None = None
        self._checked_at = clock()
        try:
            self._stamp = _stamp(path)
            self._tables = _load(path, check)
        except (OSError, ValueError, _BadLine) as error:
            raise ConfigError(f"dictionary {_reason(path, error)}") from error

    @property
    def problem(self) -> str | None:
        """Return what is wrong with the file as it is now, with its name and the line."""
        self._refresh()
        return self._problem

    def __len__(self) -> int:
        return len(self._tables[""].exact)

    def find(self, text: str, language: str | None = None) -> list[MarkedReading]:
        """Find words from left to right, the longest first; ranges do not overlap.

        Words of letters are found whole only, in any case; an entry in the text's own case wins.

        Args:
            text: where to look. Positions are indices of its characters.
            language: zh, yue, en, ja or ko: look only for entries that can be of that language.
                None: for all; where a word has several entries, the last one counts.
        """
        self._refresh()
        table = self._tables.get(language or "")
        if table is None or not table.exact:
            return []
        folded = _folded(text)
        found = []
        position = 0
        while position < len(text):
            entry = table.longest(text, folded, position)
            if entry is None:
                position += 1
                continue
            end = position + len(entry.word)
            found.append(MarkedReading(position, end, entry.notation, entry.reading))
            position = end
        return found

    def _refresh(self) -> None:
        """Read the file again if it has changed; one thread does, the others go on meanwhile."""
        if self._clock() - self._checked_at < _CHECK_INTERVAL_S:
            return
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._checked_at = self._clock()
            self._reload()
        finally:
            self._lock.release()

    def _reload(self) -> None:
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._tables = _load(self._path, self._check)
            self._problem = None
        except (OSError, ValueError, _BadLine) as error:
            if not isinstance(error, _BadLine):
                self._stamp = None  # look again next time, even if nothing changes
            self._problem = _reason(self._path, error)
            _log.warning("dictionary not read again, the last good entries stay: %s", self._problem)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when the file does."""
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise ValueError("is no file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size} bytes; the limit is {MAX_BYTES}")
    return status.st_mtime_ns, status.st_size, status.st_ino


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}"
    return f"{path}: {error}"


def _load(path: Path, check: Check | None) -> dict[str, _Table]:
    """Return the entries of a file: all under "", and those of each language."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"over {MAX_BYTES} bytes")
    entries = list(_entries(_decoded(data), check))
    tables = {"": _Table.of(entries)}
    for language, notation in _NOTATIONS.items():
        wanted = {notation, TONES} if language in {"zh", "yue"} else {notation}
        chosen = [entry for entry in entries if entry.notation in wanted]
        # Most files are of one language: one table is enough then.
        tables[language] = tables[""] if len(chosen) == len(entries) else _Table.of(chosen)
    return tables


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise _BadLine(number, f"byte {data[error.start]:#04x} is no UTF-8") from error


def _entries(text: str, check: Check | None) -> Iterator[_Entry]:
    notation = None
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        if len(line) > _MAX_LINE_CHARACTERS:
            raise _BadLine(number, f"{len(line)} characters; the limit is {_MAX_LINE_CHARACTERS}")
        if content[0] == "[" and content[-1] == "]":
            notation = _section(content, number)
            continue
        entry = _entry(content, notation, number)
        if check is not None:
            _checked(entry, check, number)
        yield entry
        count += 1
        if count > MAX_ENTRIES:
            raise _BadLine(number, f"more than {MAX_ENTRIES} entries")


def _checked(entry: _Entry, check: Check, number: int) -> None:
    """Raise unless a language of the entry's notation can read the word so."""
    problem = ""
    for language in _languages(entry.notation):
        try:
            check(language, entry.word, entry.reading)
        except InvalidRequest as error:
            problem = problem or error.message
        else:
            return
    raise _BadLine(number, problem)


def _languages(notation: str) -> tuple[str, ...]:
    return ("zh", "yue") if notation == TONES else (LANGUAGES[notation],)


def _section(content: str, number: int) -> str:
    name = content[1:-1].strip().lower()
    if name not in _NOTATIONS:
        allowed = ", ".join(f"[{language}]" for language in _NOTATIONS)
        raise _BadLine(number, f"{content[:_SHOWN]!r} is no language; write one of {allowed}")
    return _NOTATIONS[name]


def _entry(content: str, notation: str | None, number: int) -> _Entry:
    word, reading = _divided(unicodedata.normalize("NFC", content))
    if not word or not reading:
        raise _BadLine(
            number,
            f"{content[:_SHOWN]!r} is no entry; write a word, a tab, two blanks or '=', and its reading",
        )
    if len(word) > MAX_WORD_CHARACTERS:
        raise _BadLine(
            number, f"a word of {len(word)} characters; the limit is {MAX_WORD_CHARACTERS}"
        )
    reading = canonical(word, reading)
    if notation is None:
        notation = notation_of(reading)
    elif not is_well_formed(reading, notation):
        example = EXAMPLES[notation]
        raise _BadLine(
            number, f"{reading[:_SHOWN]!r} is no {notation}; it is written like {example!r}"
        )
    if notation is None:
        examples = ", ".join(repr(example) for example in dict.fromkeys(EXAMPLES.values()))
        raise _BadLine(number, f"{reading[:_SHOWN]!r} is in none of the notations: {examples}")
    return _Entry(word, notation, reading)


def _divided(content: str) -> tuple[str, str]:
    """Return the word and the reading of a line."""
    word, tab, rest = content.partition("\t")
    if not tab:
        match = _SEPARATOR.search(content)
        if match is None:
            return content, ""
        word, rest = content[: match.start()], content[match.end() :]
    return word.strip(), " ".join(_COMMENT.sub("", rest).split())


def _folded(text: str) -> str:
    """Return a text in lower case, with as many characters: the dotted I alone would become two."""
    return text.replace("\u0130", "i").lower()


def _begins(text: str, start: int) -> bool:
    """Return whether a word can begin here: not in the middle of letters, nor after "O'"."""
    if start == 0 or not _is_letter(text[start]):
        return True
    before = text[start - 1]
    return not _is_letter(before) and not (
        before in "'’" and _is_letter(text[start - 2 : start - 1])
    )


def _ends(text: str, end: int) -> bool:
    """Return whether a word can end here: not in the middle of letters, but before "'s"."""
    if not _is_letter(text[end - 1]):
        return True
    if text[end : end + 1] not in {"'", "’"}:
        return not _is_letter(text[end : end + 1])
    following = text[end + 1 : end + 2]
    return not _is_letter(following) or (
        following in "sS" and not _is_letter(text[end + 2 : end + 3])
    )


def _is_letter(character: str) -> bool:
    """Return whether a character is a letter or digit of a script with blanks between words."""
    return character.isalnum() and not is_east_asian(character) and not is_hangul(character)
