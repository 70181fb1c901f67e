"""Reference recordings: decoded once per content, in a process of their own, and remembered.

Keys are SHA-256 of the files' contents. Memory is bounded in bytes of decoded audio.
"""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from sovits_serve.audio.decode import AudioLimits, Waveform
from sovits_serve.audio.sandbox import decode_audio_sandboxed
from sovits_serve.errors import BadReferenceAudio
from sovits_serve.protocol.messages import ReferenceAudio
from sovits_serve.voices.reference_cache import BoundedCache

_MAX_CACHE_BYTES = 128 << 20
_MAX_DECODED_BYTES = 32 << 20  # of one recording: a minute of stereo at 48 kHz is 23 MB
_MAX_HASHED_ON_LOOP = 256 << 10  # more would hold the loop up for milliseconds
_MAX_KNOWN_FILES = 4096
T = TypeVar("T")
K = TypeVar("K")
_Stamp = tuple[int, int]  # time of change in ns, size in bytes


class Recordings:
    """Decoded recordings, by content; and which content a voice's file has."""

    def __init__(
        self,
        decode: Callable[[bytes, AudioLimits], Waveform] = decode_audio_sandboxed,
        max_cache_bytes: int = _MAX_CACHE_BYTES,
    ) -> None:
        self._decode = decode
        self._limits = AudioLimits()
        self._cache: BoundedCache[ReferenceAudio] = BoundedCache(max_cache_bytes)
        self._files: dict[Path, tuple[_Stamp, str]] = {}
        self._decoding: dict[str, asyncio.Future[ReferenceAudio]] = {}
        self._reading: dict[tuple[Path, _Stamp], asyncio.Future[tuple[bytes, str]]] = {}
        self._threads = ThreadPoolExecutor(2, "decoder")

    def close(self) -> None:
        """Let the threads end; nothing more is decoded."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def from_bytes(self, data: bytes, name: str) -> ReferenceAudio:
        """Return the recording that a file's content holds.

        Raises:
            BadReferenceAudio: it holds none; the message begins with ``name``.
        """
        if len(data) > _MAX_HASHED_ON_LOOP:  # not behind what is being decoded
            key = await asyncio.to_thread(_key, data)
        else:
            key = _key(data)
        return self._cache.get(key) or await self._decode_once(key, data, name)

    async def from_file(self, path: Path, name: str) -> ReferenceAudio:
        """Return the recording of a file; read again only when the file has changed.

        Raises:
            BadReferenceAudio: the file cannot be read, or holds no recording.
        """
        try:
            stamp = _stamp(path)
            known = self._files.get(path)
            if known is not None and known[0] == stamp:
                found = self._cache.get(known[1])
                if found is not None:
                    return found
            data, key = await self._read_once(path, stamp)
        except OSError as error:
            raise BadReferenceAudio(f"{name}: cannot be read: {error.strerror}") from error
        audio = self._cache.get(key) or await self._decode_once(key, data, name)
        if len(self._files) >= _MAX_KNOWN_FILES:
            self._files.clear()
        self._files[path] = (stamp, audio.key)
        return audio

    async def _read_once(self, path: Path, stamp: _Stamp) -> tuple[bytes, str]:
        """Read, or wait for whoever reads the same already: a crowd must not hold copies of it."""
        future = self._reading.get((path, stamp))
        if future is None:
            future = asyncio.ensure_future(self._in_thread(lambda: self._read(path)))
            self._reading[path, stamp] = future
            future.add_done_callback(lambda done: _forget(self._reading, (path, stamp), done))
        return await asyncio.shield(future)

    def _read(self, path: Path) -> tuple[bytes, str]:
        """Return a file's content and its key."""
        with path.open("rb") as file:
            data = file.read(self._limits.max_bytes + 1)  # one more tells that it is too long
        return data, _key(data)

    async def _decode_once(self, key: str, data: bytes, name: str) -> ReferenceAudio:
        """Decode, or wait for whoever decodes the same already."""
        future = self._decoding.get(key)
        if future is None:
            future = asyncio.ensure_future(self._decode_now(key, data))
            self._decoding[key] = future
            future.add_done_callback(lambda done: _forget(self._decoding, key, done))
        try:
            # Who waits may be cancelled; the others still want it.
            return await asyncio.shield(future)
        except BadReferenceAudio as error:
            reason = error.message.removeprefix("reference audio: ")
            raise BadReferenceAudio(f"{name}: {reason}") from error

    async def _decode_now(self, key: str, data: bytes) -> ReferenceAudio:
        audio = await self._in_thread(lambda: self._decoded(key, data))
        self._cache.put(key, audio, len(audio.samples))
        return audio

    def _decoded(self, key: str, data: bytes) -> ReferenceAudio:
        """Decode; in a thread."""
        waveform = self._decode(data, self._limits)
        num_bytes = 4 * waveform.samples.size
        if num_bytes > _MAX_DECODED_BYTES:
            raise BadReferenceAudio(
                f"reference audio: is {num_bytes} bytes of decoded sound "
                f"({waveform.duration_s:.3g} s at {waveform.rate_hz} Hz), must be at most "
                f"{_MAX_DECODED_BYTES}; 3 to 10 s are enough"
            )
        samples = np.ascontiguousarray(waveform.samples, dtype="<f4").tobytes()
        return ReferenceAudio(samples, waveform.rate_hz, waveform.num_channels, key)

    async def _in_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, job)


def _key(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _forget(running: dict[K, asyncio.Future[T]], key: K, done: asyncio.Future[T]) -> None:
    del running[key]
    if not done.cancelled():
        done.exception()  # seen, even if nobody waits any more


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
