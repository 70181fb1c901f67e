"""Pieces of audio to pieces of a file, beside an event loop.

wav and pcm are copied in the loop; what compresses computes in a thread, one piece of a stream
after the other.
"""

import asyncio
from concurrent.futures import Executor

import numpy as np

from sovits_serve.audio.encoding import AudioFormat, ByteSink, encode_file, make_writer
from sovits_serve.audio.resample import PcmResampler, resample_pcm
from sovits_serve.audio.sink import AudioSink, AudioWriter, PcmArray

_INLINE = frozenset({AudioFormat.WAV, AudioFormat.PCM})


class Encoder:
    """Encodes one stream of int16 mono; into ``file`` if there is one, else into what it returns."""

    def __init__(
        self,
        kind: AudioFormat,
        *,
        from_hz: int,
        to_hz: int,
        threads: Executor,
        file: AudioSink | None = None,
    ) -> None:
        self._kind = kind
        self._from_hz = from_hz
        self._to_hz = to_hz
        self._threads = threads
        self._sink = ByteSink()
        self._target: AudioSink = self._sink if file is None else file
        self._resampler = PcmResampler(from_hz, to_hz) if from_hz != to_hz else None
        self._writer: AudioWriter | None = None

    async def encode(self, pcm: bytes) -> bytes:
        """Take audio; return the bytes that are ready."""
        if self._kind in _INLINE:
            return self._encode(pcm)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._encode, pcm)

    async def finish(self) -> bytes:
        """Return the rest. Nothing may follow."""
        if self._kind in _INLINE:
            return self._finish()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._finish)

    def _encode(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, dtype="<i2")
        if self._resampler is not None:
            samples = self._resampler.process(samples)
        self._write(samples)
        return self._sink.take()

    def _finish(self) -> bytes:
        if self._resampler is not None:
            self._write(self._resampler.finish())
        if self._writer is not None:
            self._writer.close()
        return self._sink.take()

    def _write(self, samples: PcmArray) -> None:
        if self._writer is None:
            self._writer = make_writer(self._target, self._kind, self._to_hz)
        if len(samples):
            self._writer.write(samples)


class FilePerPiece(Encoder):
    """Makes one complete file of every piece; each of them can be played alone."""

    def _encode(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, dtype="<i2")
        if self._from_hz != self._to_hz:
            samples = resample_pcm(samples, self._from_hz, self._to_hz)
        return encode_file(samples, self._kind, self._to_hz) if len(samples) else b""

    def _finish(self) -> bytes:
        return b""
