"""Who runs next. Plain Python: counts rows and frames, holds no tensors.

A request's life: waiting for its reference to be encoded, then its segments one after the other
get a slot (the request with the fewest running segments first, so that a book does not starve a
sentence), run in the T2S batch, and have their audio decoded in windows, most urgent first.
Audio leaves in order. Every accepted request ends in exactly one terminal message.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from sovits_serve.engine.batch import AudioWindow, Batch, DrawnTokens, StepResults
from sovits_serve.engine.request import MIN_TOKENS, Request, Sequence, SequenceState, num_frames
from sovits_serve.errors import (
    DeadlineExceeded,
    InvalidRequest,
    QueueFull,
    ServingError,
    SynthesisError,
)
from sovits_serve.protocol.messages import (
    Aborted,
    AudioChunk,
    Failed,
    Finished,
    Message,
    PhonemizedText,
    SynthesisRequest,
)

# A request that does not stream is as urgent as a stream that runs dry this much later.
_BATCH_SLACK_S = 30.0
# With ``early_tokens``: what is made of the last frames before more tokens are known is not sent.
EARLY_MARGIN_FRAMES = 8
# As long before a listener runs dry, more is made of the tokens that there are.
_EARLY_SLACK_S = 0.3
# A window is made in time if it takes no more than a quarter as long as it plays.
_WINDOW_PER_SLACK = 4.0
# How many segments past the one whose audio is due a request may have begun, per slot.
_AHEAD_PER_SLOT = 2


@dataclass(frozen=True)
class SchedulerLimits:
    """How much one step may take on."""

    max_running: int
    max_waiting: int
    max_prefill_rows: int
    max_audio_rows: int
    max_audio_frames: int
    first_window_frames: int
    max_window_frames: int
    max_tokens: int
    early_tokens: int = 0  # of streams that do not say how many they want
    tokens_per_phoneme: int = 0  # not 0: decides the length of a segment, whatever is drawn


@dataclass(frozen=True)
class AudioGeometry:
    """How tokens, frames and samples relate in the loaded model."""

    frames_per_token: int
    samples_per_frame: int
    sample_rate_hz: int


class Scheduler:
    """Queues, admission, order of audio and terminal messages.

    ``take_released`` names sequences that no longer need what the runner holds for them.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        geometry: AudioGeometry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.geometry = geometry
        self.requests: dict[str, Request] = {}
        self.running: list[Sequence] = []
        self.decoding: list[Sequence] = []
        self._clock = clock
        self._messages: list[Message] = []
        self._released: list[Sequence] = []
        self._closed: list[Request] = []

    def has_work(self) -> bool:
        """Return whether a step would do or say anything."""
        return bool(self.requests or self._messages)

    def add(self, message: SynthesisRequest) -> None:
        """Accept a request: from here on it gets exactly one terminal message.

        Raises:
            InvalidRequest: its id is in use.
            QueueFull: ``max_waiting`` requests are unfinished.
        """
        if message.request_id in self.requests:
            raise InvalidRequest(f"request_id: {message.request_id!r} is in use")
        if len(self.requests) >= self.limits.max_waiting:
            raise QueueFull(f"{len(self.requests)} requests wait; the limit is the same")
        asked = message.sampling.max_tokens
        max_tokens = self.limits.max_tokens if asked is None else asked
        now = self._clock()
        deadline_s = None if message.timeout_s is None else now + message.timeout_s
        early_tokens = self._early_tokens(message)
        request = Request(message, now, early_tokens=early_tokens, deadline_s=deadline_s)
        request.sequences = [
            Sequence(request, index, text, *self._token_bounds(text, max_tokens))
            for index, text in enumerate(message.segments)
        ]
        self.requests[message.request_id] = request

    def _early_tokens(self, message: SynthesisRequest) -> int:
        """Return how many tokens a request's first audio is made of; 0: all of its segment's."""
        if not message.is_streaming or message.speed != 1:
            return 0
        asked = message.early_tokens
        return self.limits.early_tokens if asked is None else asked

    def _token_bounds(self, text: PhonemizedText, max_tokens: int) -> tuple[int, int]:
        """Return how many tokens a segment may have at most, and must have before it may end."""
        per_phoneme = self.limits.tokens_per_phoneme
        if not per_phoneme:
            return max_tokens, MIN_TOKENS
        length = min(max_tokens, max(1, per_phoneme * len(text.phone_ids)))
        return length, length

    def abort(self, request_id: str) -> None:
        """End a request on demand; one that has ended already is left alone."""
        if request_id in self.requests:
            self._close(self.requests[request_id], Aborted(request_id))

    def schedule(self) -> Batch:
        """Decide the work of the next step. Running sequences always decode."""
        self._expire()
        decode = tuple(self.running)
        unprepared = (r for r in self.requests.values() if not r.is_prepared)
        return Batch(
            prepare=tuple(islice(unprepared, self.limits.max_prefill_rows)),
            prefill=tuple(self._admit()),
            decode=decode,
            windows=tuple(self._pick_windows()),
        )

    def update(self, batch: Batch, results: StepResults) -> list[Message]:
        """Take in a step's results and return the messages they lead to, in order."""
        for request_id, error in results.failures.items():
            self._fail(request_id, error)
        for request in batch.prepare:
            request.is_prepared = True
        for sequence in self.running.copy():
            if sequence.key in results.returned:
                self._return(sequence)
        for sequence in self.running.copy():
            if sequence.key in results.tokens and not sequence.request.is_closed:
                self._take_tokens(sequence, results.tokens[sequence.key])
        for sequence in self._voiced():
            if sequence.key in results.pcm and not sequence.request.is_closed:
                self._take_audio(sequence, results.pcm[sequence.key])
        return self.take_messages()

    def fail(self, batch: Batch, error: ServingError) -> None:
        """End every request of a batch whose results are lost."""
        asked = [sequence for sequence in self._voiced() if sequence.num_frames_asked]
        sequences = *batch.prefill, *batch.decode, *asked
        for request in (*batch.prepare, *(sequence.request for sequence in sequences)):
            self._fail(request.request_id, error)

    def take_messages(self) -> list[Message]:
        """Return the messages not yet taken."""
        messages, self._messages = self._messages, []
        return messages

    def take_released(self) -> list[Sequence]:
        """Return sequences that left the T2S batch; each exactly once."""
        released, self._released = self._released, []
        return released

    def take_closed(self) -> list[Request]:
        """Return requests that ended; each exactly once."""
        closed, self._closed = self._closed, []
        return closed

    def check_integrity(self) -> None:
        """Assert that lists, states and counters agree."""
        assert len(self.running) <= self.limits.max_running
        assert len(set(map(id, self.running))) == len(self.running)
        for sequence in self.running:
            assert sequence.state is SequenceState.RUNNING
            assert self._is_live(sequence)
        for sequence in self.decoding:
            assert sequence.state is SequenceState.DECODING
            assert 0 <= sequence.num_frames_decoded < sequence.num_frames
            assert self._is_live(sequence)
        for request in self.requests.values():
            waiting = [*request.sequences[request.next_waiting :], *request.returned]
            assert all(s.state is SequenceState.WAITING for s in waiting)
            assert request.next_segment <= request.next_waiting <= len(request.sequences)

    # Admission.

    def _expire(self) -> None:
        """Fail what is not finished by its deadline; its slots are free for this very step."""
        now = self._clock()
        late = [
            request
            for request in self.requests.values()
            if request.deadline_s is not None and request.deadline_s <= now
        ]
        for request in late:
            error = DeadlineExceeded(
                f"not finished within timeout_s ({request.message.timeout_s:g} s)"
            )
            self._fail(request.request_id, error)

    def _admit(self) -> list[Sequence]:
        free = self.limits.max_running - len(self.running)
        # The fewest running segments first; of equals the one that came first.
        candidates = [
            (request.num_running, place, request)
            for place, request in enumerate(self.requests.values())
            if free and self._can_begin(request)
        ]
        heapq.heapify(candidates)
        admitted: list[Sequence] = []
        while candidates and len(admitted) < min(free, self.limits.max_prefill_rows):
            num_running, place, request = heapq.heappop(candidates)
            if request.returned:
                sequence = request.returned.pop(0)
            else:
                sequence = request.sequences[request.next_waiting]
                request.next_waiting += 1
            sequence.state = SequenceState.RUNNING
            admitted.append(sequence)
            if self._can_begin(request):
                heapq.heappush(candidates, (num_running + 1, place, request))
        self.running.extend(admitted)
        return admitted

    def _can_begin(self, request: Request) -> bool:
        if request.returned:
            return True
        ahead = request.next_waiting - request.next_segment
        return (
            request.is_prepared
            and request.next_waiting < len(request.sequences)
            and ahead < _AHEAD_PER_SLOT * self.limits.max_running
        )

    def _return(self, sequence: Sequence) -> None:
        """Let a sequence wait for a slot again, before those of its request that had none."""
        self.running.remove(sequence)
        sequence.state = SequenceState.WAITING
        sequence.num_to_redraw = len(sequence.tokens)
        sequence.request.returned.append(sequence)
        sequence.request.returned.sort(key=lambda one: one.index)

    # Tokens.

    def _take_tokens(self, sequence: Sequence, drawn: DrawnTokens) -> None:
        if not self._takes_again(sequence, drawn):
            error = SynthesisError(
                f"segment {sequence.index}: it ran again, and drew other tokens than before"
            )
            self._fail(sequence.request.request_id, error)
            return
        assert len(sequence.tokens) <= sequence.max_tokens
        if drawn.is_eos and not sequence.tokens:
            error = SynthesisError(f"segment {sequence.index}: the model ended it at once")
            self._fail(sequence.request.request_id, error)
        elif drawn.is_eos or len(sequence.tokens) == sequence.max_tokens:
            self._release(sequence)
            sequence.state = SequenceState.DECODING
            sequence.num_frames = num_frames(
                len(sequence.tokens),
                sequence.request.message.speed,
                self.geometry.frames_per_token,
            )
            self.decoding.append(sequence)

    def _takes_again(self, sequence: Sequence, drawn: DrawnTokens) -> bool:
        """Take tokens in, those that are known already only to compare them."""
        begin = len(sequence.tokens) - sequence.num_to_redraw
        known = min(sequence.num_to_redraw, len(drawn.tokens))
        sequence.num_to_redraw -= known
        if sequence.tokens[begin : begin + known] != list(drawn.tokens[:known]):
            return False
        sequence.tokens.extend(drawn.tokens[known:])
        return not (drawn.is_eos and sequence.num_to_redraw)

    def _release(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._released.append(sequence)

    # Audio.

    def _pick_windows(self) -> list[AudioWindow]:
        picked: list[AudioWindow] = []
        frames = 0
        voiced = self._voiced()
        idle = [sequence for sequence in voiced if not sequence.num_frames_asked]
        if len(voiced) - len(idle) > self.limits.max_audio_rows:
            return []  # what waits meanwhile makes a fuller batch
        for sequence in sorted(idle, key=self._urgency):
            window = self._next_window(sequence)
            if window is None:
                continue
            if picked and not self._fits(window, picked, frames):
                continue
            picked.append(window)
            sequence.num_frames_asked = window.num_frames
            frames += window.num_frames
            if len(picked) == self.limits.max_audio_rows:
                break
        return picked

    def _fits(self, window: AudioWindow, picked: list[AudioWindow], frames: int) -> bool:
        """Return whether a window joins the batch: rows of like length waste little padding."""
        length = picked[0].num_frames
        is_alike = length <= 2 * window.num_frames and window.num_frames <= 2 * length
        return is_alike and frames + window.num_frames <= self.limits.max_audio_frames

    def _urgency(self, sequence: Sequence) -> tuple[float, int]:
        """Return when the listener runs dry, then the segment's place in its request."""
        request = sequence.request
        if not request.message.is_streaming:
            return request.arrival_s + _BATCH_SLACK_S, sequence.index
        if request.first_audio_s is None:
            return request.arrival_s, sequence.index
        played = request.num_samples / self.geometry.sample_rate_hz
        return request.first_audio_s + played, sequence.index

    def _voiced(self) -> list[Sequence]:
        """Return sequences whose audio can be made: all tokens known, or enough for a listener."""
        early = [one for one in self.running if one.request.early_tokens]
        for request in self.requests.values():
            if request.returned and request.early_tokens:
                early += request.returned
        return [*self.decoding, *filter(self._can_be_early, early)]

    def _can_be_early(self, sequence: Sequence) -> bool:
        request = sequence.request
        is_next = sequence.index == request.next_segment
        return is_next and len(sequence.tokens) >= request.early_tokens

    def _next_window(self, sequence: Sequence) -> AudioWindow | None:
        done, frames, num_tokens = sequence.num_frames_decoded, sequence.num_frames, 0
        end = frames
        if sequence.state is not SequenceState.DECODING:
            # Frames near the end change most with the tokens that follow: they wait.
            per_token = self.geometry.frames_per_token
            num_tokens = sequence.num_tokens_voiced
            if num_tokens * per_token - EARLY_MARGIN_FRAMES <= done:
                num_tokens = len(sequence.tokens)
                gained = num_tokens * per_token - EARLY_MARGIN_FRAMES - done
                if not self._pays(sequence, gained):
                    return None
            frames = num_tokens * per_token
            end = frames - EARLY_MARGIN_FRAMES
        limit = self._longest_window(sequence, end - done)
        num_tokens = num_tokens or len(sequence.tokens)
        sequence.num_tokens_voiced = num_tokens
        return AudioWindow(sequence, done, min(limit, end - done), num_tokens, frames)

    def _longest_window(self, sequence: Sequence, left: int) -> int:
        """Return how many frames of those that are left to decode at once, at most."""
        limit, done = self.limits.max_window_frames, sequence.num_frames_decoded
        request = sequence.request
        if not request.message.is_streaming:
            return limit
        # Small while the listener waits, then as long as what is already there; of a few tokens
        # all, for the next tokens wait for each window.
        soon = left if done and sequence.state is not SequenceState.DECODING else done
        if request.early_tokens and request.first_audio_s is not None:
            # Such a stream is hardly ahead of its listener: what is ready in time, but no crumbs.
            frames_per_s = self.geometry.sample_rate_hz / self.geometry.samples_per_frame
            in_time = int(_WINDOW_PER_SLACK * self._slack_s(sequence) * frames_per_s)
            soon = min(soon, max(in_time, done // 4))
        return min(limit, max(self.limits.first_window_frames, soon))

    def _slack_s(self, sequence: Sequence) -> float:
        """Return how long a listener still has something to hear; 0 before the first audio."""
        if sequence.request.first_audio_s is None:
            return 0.0
        return self._urgency(sequence)[0] - self._clock()

    def _pays(self, sequence: Sequence, gained: int) -> bool:
        """Return whether audio is made anew for so many frames more: a pass over all tokens.

        Only for who would soon hear nothing: soon all tokens may be there.
        """
        if self._slack_s(sequence) > _EARLY_SLACK_S:
            return False
        done = sequence.num_frames_decoded
        return not done or gained >= max(self.limits.first_window_frames, done // 4)

    def _take_audio(self, sequence: Sequence, pcm: bytes) -> None:
        sequence.pending_pcm.append(pcm)
        sequence.num_frames_decoded += sequence.num_frames_asked
        sequence.num_frames_asked = 0
        sequence.is_silent = sequence.is_silent and pcm == bytes(len(pcm))
        if sequence.num_frames_decoded == sequence.num_frames:  # 0 while tokens are missing
            if sequence.is_silent:  # pauses are added later: this was to be speech
                error = SynthesisError(f"segment {sequence.index}: the model made only silence")
                self._fail(sequence.request.request_id, error)
                return
            sequence.state = SequenceState.FINISHED
            self.decoding.remove(sequence)
        self._flush(sequence.request)

    def _flush(self, request: Request) -> None:
        """Send what is due, in order; end the request after its last segment."""
        while request.next_segment < len(request.sequences):
            sequence = request.sequences[request.next_segment]
            if sequence.pending_pcm and not sequence.is_heard:
                self._send_silence(request, sequence.text.lead_pause_s)
                sequence.is_heard = True
            for pcm in sequence.pending_pcm:
                self._send(request, pcm)
            sequence.pending_pcm.clear()
            if sequence.state is not SequenceState.FINISHED:
                return
            pause_s = sequence.text.pause_s
            self._send_silence(
                request, request.message.segment_pause_s if pause_s is None else pause_s
            )
            request.next_segment += 1
        counts = tuple(len(sequence.tokens) for sequence in request.sequences)
        self._close(request, Finished(request.request_id, request.num_samples, counts))

    def _send_silence(self, request: Request, duration_s: float) -> None:
        num_samples = int(self.geometry.sample_rate_hz * duration_s)
        if num_samples:
            self._send(request, bytes(2 * num_samples))

    def _send(self, request: Request, pcm: bytes) -> None:
        if request.first_audio_s is None:
            request.first_audio_s = self._clock()
        chunk = AudioChunk(
            request.request_id,
            request.num_chunks,
            request.next_segment,
            self.geometry.sample_rate_hz,
            pcm,
        )
        request.num_chunks += 1
        request.num_samples += len(pcm) // 2
        self._messages.append(chunk)

    # Endings.

    def _fail(self, request_id: str, error: ServingError) -> None:
        if request_id in self.requests:
            failed = Failed(request_id, error.code, error.message, error.retry_after_s)
            self._close(self.requests[request_id], failed)

    def _close(self, request: Request, message: Message) -> None:
        del self.requests[request.request_id]
        request.is_closed = True
        for sequence in request.sequences[request.next_segment : request.next_waiting]:
            if sequence.state is SequenceState.RUNNING:
                self._release(sequence)
            elif sequence.state is SequenceState.DECODING:
                self.decoding.remove(sequence)
            sequence.state = SequenceState.FINISHED
        self._closed.append(request)
        self._messages.append(message)

    def _is_live(self, sequence: Sequence) -> bool:
        return self.requests.get(sequence.request.request_id) is sequence.request
