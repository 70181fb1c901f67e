"""The audio of one request on its way from the dispatcher to a response."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Self

from sovits_serve.api.errors import SlowReader, StreamAborted
from sovits_serve.errors import EngineError, ServingError
from sovits_serve.protocol.messages import AudioChunk, Finished, ReferenceAudio, Submit


class SpeechStream:
    """The audio of one request, in order. Made by ``EngineClient.submit``.

    Iterating gives ``AudioChunk``s and ends once ``finished`` is set; it raises the
    ``ServingError`` that the request ended in otherwise, after all audio that came before.
    """

    def __init__(
        self,
        submit: Submit,
        recordings: Mapping[str, ReferenceAudio],
        max_buffer_bytes: int,
        deadline_s: float,
        on_abort: Callable[["SpeechStream"], None],
    ) -> None:
        self.request_id = submit.request_id
        self.submit = submit
        self.recordings = recordings
        self.deadline_s = deadline_s  # by the loop's clock
        self.finished: Finished | None = None
        self.error: ServingError | None = None
        self.has_audio = False
        self.is_sent_again = False
        self.buffered_bytes = 0
        self.on_overflow: Callable[[], None] | None = None  # the reader is too slow
        self._max_buffer_bytes = max_buffer_bytes
        self._on_abort = on_abort
        self._chunks: deque[AudioChunk] = deque()
        self._num_chunks = 0
        self._num_samples = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_over(self) -> bool:
        """Return whether the request has ended; audio may still wait to be taken."""
        return self.finished is not None or self.error is not None

    def abort(self) -> None:
        """End the request on demand; nothing if it has ended."""
        self.cancel(StreamAborted("the request was aborted: its client has left"))

    def cancel(self, error: ServingError) -> None:
        """End the request here and at the engines; audio not yet taken is dropped."""
        if self.is_over:
            return
        self._chunks.clear()
        self.buffered_bytes = 0
        self.end(error)
        self._on_abort(self)

    def end(self, error: ServingError) -> None:
        """Take the request's end, unless it has ended."""
        if not self.is_over:
            self.error = error
            self._wake()

    def finish(self, message: Finished) -> None:
        """Take the request's good end."""
        if message.num_samples != self._num_samples:
            self.end(
                EngineError(
                    f"audio was lost: {self._num_samples} samples of {message.num_samples} came"
                )
            )
        elif not self.is_over:
            self.finished = message
            self._wake()

    def put(self, chunk: AudioChunk) -> None:
        """Take audio, in order; too much of it unread ends the request."""
        if self.is_over:
            return
        if chunk.index != self._num_chunks:
            self.cancel(EngineError(f"chunk {chunk.index} came where {self._num_chunks} was due"))
            return
        if chunk.sample_rate_hz <= 0 or len(chunk.pcm) % 2:
            self.cancel(
                EngineError(
                    f"chunk {chunk.index} is no 16-bit sound: {len(chunk.pcm)} bytes at "
                    f"{chunk.sample_rate_hz} Hz"
                )
            )
            return
        self.has_audio = True
        self.recordings = {}
        self._num_chunks += 1
        self._num_samples += len(chunk.pcm) // 2
        self.buffered_bytes += len(chunk.pcm)
        if self.buffered_bytes > self._max_buffer_bytes:
            self.cancel(
                SlowReader(
                    f"the client does not read: {self.buffered_bytes} bytes of audio wait for it; "
                    f"at most {self._max_buffer_bytes} may"
                )
            )
            if self.on_overflow is not None:
                self.on_overflow()
            return
        self._chunks.append(chunk)
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioChunk:
        while True:
            if self._chunks:
                chunk = self._chunks.popleft()
                self.buffered_bytes -= len(chunk.pcm)
                return chunk
            if self.error is not None:
                raise self.error
            if self.finished is not None:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
