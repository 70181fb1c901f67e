"""Text to phonemes beside an event loop that must stay responsive.

Frontends are used by one thread at a time. Short texts are read at once, in about a millisecond;
long ones, and all while a language loads, in a thread, slice by slice, so that nobody waits for
somebody else's book. What was read lately is remembered.
"""

import asyncio
import contextlib
import gc
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Generic, TypeVar

from sovits_serve.config import FrontendConfig
from sovits_serve.errors import ServingError
from sovits_serve.protocol.messages import PhonemizedText

if TYPE_CHECKING:
    from sovits_serve.frontend.segment import Segment
    from sovits_serve.frontend.text_frontend import TextFrontend

_log = logging.getLogger(__name__)

# A text up to this long takes about a millisecond, less than handing it to a thread and back costs
# a busy loop.
_SHORT_CHARACTERS = 120
_CACHED_CHARACTERS = 400
_NUM_CACHED = 1024
_SLICE_S = 0.02
# Frontends look at the dictionary's file once a second, and readings may take a while themselves.
_SETTLE_S = 5.0
_NO_DICTIONARY = (0, 0)
# What is loaded before it is asked for; auto needs what the others load. Cantonese alone is half a
# second and 67 MB in every worker: it is loaded, beside the loop, by who first needs it.
_WARM_MODES = ("zh", "en", "ja", "ko", "auto")
_COLD_MODES = frozenset({"yue", "all_yue", "auto_yue"})

T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True)
class _Key:
    """What decides how a text is read."""

    symbol_version: str
    text: str
    language: str
    cut: str | None  # of texts to speak
    is_prompt: bool
    dictionary: tuple[int, int]  # the file's time of change and size


class Texts:
    """Reads texts for models of either symbol table."""

    def __init__(
        self, config: FrontendConfig, warm: "Mapping[str, TextFrontend] | None" = None
    ) -> None:
        """Read the dictionary, if one is configured; ``warm`` are frontends to begin with.

        Raises:
            ConfigError: the dictionary is bad.
        """
        self.config = config
        self._frontends: dict[str, TextFrontend] = dict(warm or {})
        self._warm: set[str] = set(self._frontends)
        self._cache: _Recent[_Key, tuple[PhonemizedText, ...]] = _Recent(_NUM_CACHED)
        self._stamp = _NO_DICTIONARY  # of the dictionary as it was seen last
        self._stamp_seen_s = 0.0
        self._thread = ThreadPoolExecutor(1, "frontend")
        self._num_jobs = 0  # in the thread; the loop reads texts itself only when there are none
        if config.dictionary:
            self._frontend("v2")  # else read beside the loop: it is a third of a worker's start

    def close(self) -> None:
        """Let the thread end; texts not read by then are not read."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def warm_up(self, symbol_version: str) -> None:
        """Load the languages of this installation, one after the other."""
        if symbol_version in self._warm:
            return
        frontend = await self._in_thread(lambda: self._frontend(symbol_version))
        for mode in _WARM_MODES:
            try:
                await self._in_thread(lambda mode=mode: frontend.warm_up([mode]))  # type: ignore[misc]  # mypy and defaults of lambdas
            except ServingError as error:
                # A language that is not installed; whoever needs it is told then.
                _log.debug("language not available: %s", error.message)
        # Dictionaries are a million objects that stay. The collector would look through them
        # again and again, for a tenth of a second each time, while everybody waits.
        gc.collect()
        gc.freeze()
        self._warm.add(symbol_version)

    async def segments(
        self, symbol_version: str, text: str, language: str, cut: str | None
    ) -> tuple[PhonemizedText, ...]:
        """Return what a text is read as, segment by segment.

        Raises:
            RequestError: something about text, language or cut is wrong.
        """
        key = _Key(symbol_version, text, language, cut, False, self._dictionary_stamp())
        found = self._cache.get(key)
        if found is not None:
            return found
        frontend = self._frontend(symbol_version)
        if self._is_quick(key):
            read = frontend.segments(text, language, cut=cut)
            segments = tuple([segment.phonemized() for segment in read])
        else:
            segments = await self._read_long(lambda: frontend.iterate(text, language, cut=cut))
        self._remember(key, segments)
        return segments

    async def prompt(self, symbol_version: str, text: str, language: str) -> PhonemizedText:
        """Return what the transcript of a reference is read as.

        Raises:
            RequestError: something about text or language is wrong.
        """
        key = _Key(symbol_version, text, language, None, True, self._dictionary_stamp())
        found = self._cache.get(key)
        if found is not None:
            return found[0]
        frontend = self._frontend(symbol_version)
        if self._is_quick(key):
            prompt = frontend.prompt(text, language).phonemized()
        else:
            prompt = await self._in_thread(lambda: frontend.prompt(text, language).phonemized())
        self._remember(key, (prompt,))
        return prompt

    def _is_quick(self, key: _Key) -> bool:
        is_short = len(key.text) <= _SHORT_CHARACTERS and key.language not in _COLD_MODES
        return is_short and self._num_jobs == 0 and key.symbol_version in self._warm

    async def _read_long(
        self, start: Callable[[], "Iterator[Segment]"]
    ) -> tuple[PhonemizedText, ...]:
        """Read a text in slices; others get the thread between them."""
        segments: list[PhonemizedText] = []
        iterator = await self._in_thread(start)
        while await self._in_thread(lambda: _read_slice(iterator, segments)):
            pass
        return tuple(segments)

    async def _in_thread(self, job: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._thread, job)
        self._num_jobs += 1
        future.add_done_callback(self._job_done)
        return await future

    def _job_done(self, future: "asyncio.Future[T]") -> None:
        # A job that was begun goes on when its waiter is gone: its future is done too early.
        # Queueing behind it keeps the count true.
        if future.cancelled():
            with contextlib.suppress(RuntimeError):  # closed
                again = asyncio.get_running_loop().run_in_executor(self._thread, _nothing)
                again.add_done_callback(self._job_done)
                return
        self._num_jobs -= 1

    def _frontend(self, symbol_version: str) -> "TextFrontend":
        from sovits_serve.frontend.text_frontend import TextFrontend

        if symbol_version not in self._frontends:
            self._frontends[symbol_version] = TextFrontend(symbol_version, self.config)
        return self._frontends[symbol_version]

    def _dictionary_stamp(self) -> tuple[int, int]:
        """Return what tells the dictionary's versions apart, and note when it is a new one."""
        if not self.config.dictionary:
            return _NO_DICTIONARY
        try:
            status = Path(self.config.dictionary).stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:  # the frontend goes on with what it has
            stamp = (-1, -1)
        if stamp != self._stamp:
            self._stamp, self._stamp_seen_s = stamp, monotonic()
        return stamp

    def _remember(self, key: _Key, segments: tuple[PhonemizedText, ...]) -> None:
        """Keep what was read, unless the frontend may not have seen the dictionary as it is."""
        is_settled = key.dictionary == self._stamp and (
            key.dictionary == _NO_DICTIONARY or monotonic() - self._stamp_seen_s > _SETTLE_S
        )
        if is_settled and len(key.text) <= _CACHED_CHARACTERS:
            self._cache.put(key, segments)


def _nothing() -> None:
    """Wait for one's turn in the thread."""


def _read_slice(iterator: "Iterator[Segment]", segments: list[PhonemizedText]) -> bool:
    """Read for a while; return whether there is more."""
    end_s = perf_counter() + _SLICE_S
    while perf_counter() < end_s:
        segment = next(iterator, None)
        if segment is None:
            return False
        segments.append(segment.phonemized())
    return True


class _Recent(Generic[T, V]):
    """The values used last, by key."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[T, V] = OrderedDict()

    def get(self, key: T) -> V | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: T, value: V) -> None:
        self._entries[key] = value
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
