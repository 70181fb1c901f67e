"""The scheduler against a fake runner: order, fairness, endings, under random schedules."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.engine.batch import Batch, DrawnTokens, StepResults
from sovits_serve.engine.scheduler import (
    EARLY_MARGIN_FRAMES,
    AudioGeometry,
    Scheduler,
    SchedulerLimits,
)
from sovits_serve.errors import InvalidRequest, QueueFull, SynthesisError
from sovits_serve.protocol.messages import (
    TERMINAL,
    Aborted,
    AudioChunk,
    Failed,
    Finished,
    Message,
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SynthesisRequest,
)

LIMITS = SchedulerLimits(
    max_running=3,
    max_waiting=50,
    max_prefill_rows=2,
    max_audio_rows=2,
    max_audio_frames=40,
    first_window_frames=4,
    max_window_frames=16,
    max_tokens=20,
)
GEOMETRY = AudioGeometry(frames_per_token=2, samples_per_frame=5, sample_rate_hz=100)


class FakeClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class FastClock(FakeClock):
    """A clock by which everybody has heard all there is."""

    def __call__(self) -> float:
        """Return a time long after the one before."""
        self.now_s += 100.0
        return self.now_s


class FakeRunner:
    """Draws ``phone_ids[0]`` tokens per segment; audio says which frames of what it is."""

    def __init__(self) -> None:
        self.drawn: dict[tuple[str, int], int] = {}

    def execute(self, batch: Batch) -> StepResults:
        """Compute a step."""
        results = StepResults()
        for sequence in (*batch.prefill, *batch.decode):
            drawn = self.drawn.get(sequence.key, 0)
            is_eos = drawn == sequence.text.phone_ids[0]
            results.tokens[sequence.key] = DrawnTokens(() if is_eos else (drawn,), is_eos)
            self.drawn[sequence.key] = drawn + 1
        for window in batch.windows:
            frames = range(window.start, window.start + window.num_frames)
            results.pcm[window.sequence.key] = b"".join(
                bytes([window.sequence.index, frame]) * GEOMETRY.samples_per_frame
                for frame in frames
            )
        return results


def make_request(
    request_id: str, lengths: list[int], *, is_streaming: bool = False, pause_s: float = 0.0
) -> SynthesisRequest:
    """Make a request whose segments end after the given numbers of tokens."""
    return SynthesisRequest(
        request_id,
        segments=tuple(PhonemizedText((length,)) for length in lengths),
        reference=Reference(ReferenceAudio(b"", 16000)),
        segment_pause_s=pause_s,
        is_streaming=is_streaming,
    )


def expected_pcm(lengths: list[int]) -> bytes:
    """Return the whole audio that FakeRunner makes for a request."""
    return b"".join(
        bytes([index, frame]) * GEOMETRY.samples_per_frame
        for index, length in enumerate(lengths)
        for frame in range(2 * length)
    )


def step(scheduler: Scheduler, runner: FakeRunner) -> list[Message]:
    """Run one step and check the scheduler's own invariants."""
    batch = scheduler.schedule()
    messages = scheduler.update(batch, runner.execute(batch))
    scheduler.check_integrity()
    return messages


def drain(scheduler: Scheduler, runner: FakeRunner) -> list[Message]:
    """Step until nothing is left."""
    messages: list[Message] = []
    for _ in range(10_000):
        if not scheduler.has_work():
            return messages
        messages += step(scheduler, runner)
    raise AssertionError("the scheduler does not come to an end")


def pcm_of(messages: list[Message], request_id: str) -> bytes:
    """Return the joined audio of one request, checking that chunks are numbered in order."""
    chunks = [m for m in messages if isinstance(m, AudioChunk) and m.request_id == request_id]
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    return b"".join(chunk.pcm for chunk in chunks)


@pytest.mark.parametrize("is_streaming", [False, True])
def test_audio_of_all_segments_leaves_in_order(is_streaming: bool) -> None:
    """Segments that finish out of order still leave in order, followed by one Finished."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    lengths = [18, 2, 9, 1, 15]
    scheduler.add(make_request("a", lengths, is_streaming=is_streaming))

    messages = drain(scheduler, FakeRunner())

    assert pcm_of(messages, "a") == expected_pcm(lengths)
    assert messages[-1] == Finished("a", len(expected_pcm(lengths)) // 2, tuple(lengths))
    assert sum(isinstance(m, TERMINAL) for m in messages) == 1


def test_a_segment_can_have_pauses_of_its_own() -> None:
    """A segment's own pauses stand before and after it, in place of the request's."""
    scheduler, runner = Scheduler(LIMITS, GEOMETRY), FakeRunner()
    request = make_request("a", [1, 1], pause_s=0.039)
    first, second = request.segments
    paused = msgspec.structs.replace(first, lead_pause_s=0.5, pause_s=0.25)
    scheduler.add(msgspec.structs.replace(request, segments=(paused, second)))

    pcm = b"".join(m.pcm for m in drain(scheduler, runner) if isinstance(m, AudioChunk))

    rate, audio = GEOMETRY.sample_rate_hz, expected_pcm([1, 1])
    half = len(audio) // 2
    silences = [bytes(2 * int(rate * seconds)) for seconds in (0.5, 0.25, 0.039)]
    assert pcm == silences[0] + audio[:half] + silences[1] + audio[half:] + silences[2]


def test_every_segment_is_followed_by_its_pause() -> None:
    """The pause follows every segment, also the last, as whole samples of silence."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    scheduler.add(make_request("a", [1, 1], pause_s=0.039))

    messages = drain(scheduler, FakeRunner())

    chunks = [m.pcm for m in messages if isinstance(m, AudioChunk)]
    assert chunks[1] == chunks[3] == bytes(2 * 3)
    assert len(chunks) == 4


def test_token_limit_ends_a_segment() -> None:
    """A segment that never draws EOS ends at max_tokens."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    scheduler.add(make_request("a", [255]))

    messages = drain(scheduler, FakeRunner())

    assert messages[-1] == Finished("a", 2 * 20 * 5, (20,))


def test_a_book_does_not_starve_a_sentence() -> None:
    """A short request gets a slot while a long one still has segments waiting."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    scheduler.add(make_request("book", [20] * 30))
    runner = FakeRunner()
    for _ in range(3):
        step(scheduler, runner)
    scheduler.add(make_request("sentence", [1]))

    messages = drain(scheduler, runner)

    ends = [m.request_id for m in messages if isinstance(m, Finished)]
    assert ends == ["sentence", "book"]


def test_abort_frees_the_slot_at_once_and_ends_with_one_message() -> None:
    """Abort ends a request with Aborted, releases its slots and says nothing more of it."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    runner = FakeRunner()
    scheduler.add(make_request("a", [20, 20, 20]))
    for _ in range(3):
        step(scheduler, runner)
    assert len(scheduler.running) == 3

    scheduler.abort("a")
    scheduler.abort("a")

    assert scheduler.running == []
    assert len(scheduler.take_released()) == 3
    assert drain(scheduler, runner) == [Aborted("a")]


def test_a_failure_ends_only_its_own_request() -> None:
    """A failed request ends with Failed; the other one is complete."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    runner = FakeRunner()
    scheduler.add(make_request("bad", [9]))
    scheduler.add(make_request("good", [9]))
    step(scheduler, runner)
    batch = scheduler.schedule()
    results = runner.execute(batch)
    del results.tokens["bad", 0]
    results.failures["bad"] = SynthesisError("not finite")
    messages = scheduler.update(batch, results)

    messages += drain(scheduler, runner)

    assert Failed("bad", "synthesis_failed", "not finite") in messages
    assert pcm_of(messages, "good") == expected_pcm([9])
    assert sum(isinstance(m, TERMINAL) for m in messages) == 2


def test_a_full_queue_refuses() -> None:
    """The request past max_waiting is refused before any work."""
    scheduler = Scheduler(dataclasses.replace(LIMITS, max_waiting=1), GEOMETRY)
    scheduler.add(make_request("a", [1]))

    with pytest.raises(QueueFull, match="1 requests wait"):
        scheduler.add(make_request("b", [1]))


def test_an_id_in_use_is_refused() -> None:
    """Two live requests cannot share an id."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    scheduler.add(make_request("a", [1]))

    with pytest.raises(InvalidRequest, match="in use"):
        scheduler.add(make_request("a", [1]))


def test_a_new_listener_goes_before_one_with_audio_in_hand() -> None:
    """Windows are decoded in the order in which listeners run dry."""
    clock = FakeClock()
    limits = dataclasses.replace(LIMITS, max_audio_rows=1)
    scheduler = Scheduler(limits, GEOMETRY, clock)
    runner = FakeRunner()
    scheduler.add(make_request("early", [20], is_streaming=True))
    while not any(isinstance(m, AudioChunk) for m in step(scheduler, runner)):
        clock.now_s += 0.01
    scheduler.add(make_request("late", [1], is_streaming=True))
    clock.now_s += 0.01
    while not any(sequence.key == ("late", 0) for sequence in scheduler.decoding):
        step(scheduler, runner)

    batch = scheduler.schedule()

    assert [window.sequence.key[0] for window in batch.windows] == ["late"]


def test_streaming_windows_start_small_and_grow() -> None:
    """The first window of a stream is short, the next ones grow up to the limit."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    scheduler.add(make_request("a", [20], is_streaming=True))

    messages = drain(scheduler, FakeRunner())

    sizes = [len(m.pcm) // 2 // 5 for m in messages if isinstance(m, AudioChunk)]
    assert sizes == [4, 4, 8, 16, 8]


Action = tuple[str, int]


@settings(max_examples=150, deadline=None)
@given(
    actions=st.lists(
        st.tuples(
            st.sampled_from(["add", "stream", "abort", "step", "step", "fail"]), st.integers(0, 7)
        ),
        max_size=60,
    ),
    lengths=st.lists(st.lists(st.integers(1, 22), min_size=1, max_size=6), min_size=8, max_size=8),
)
def test_random_schedules_lose_nothing(actions: list[Action], lengths: list[list[int]]) -> None:
    """Whatever joins, leaves or fails: one terminal message each, whole audio for the rest."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    runner = FakeRunner()
    accepted: set[int] = set()
    messages: list[Message] = []
    released = 0
    for action, number in actions:
        if action in ("add", "stream") and number not in accepted:
            accepted.add(number)
            request = make_request(str(number), lengths[number], is_streaming=action == "stream")
            scheduler.add(request)
        elif action == "abort":
            scheduler.abort(str(number))
        elif action == "step":
            messages += step(scheduler, runner)
        elif action == "fail":
            batch = scheduler.schedule()
            results = runner.execute(batch)
            results.failures[str(number)] = SynthesisError("x")
            messages += scheduler.update(batch, results)
        scheduler.check_integrity()
        released += len(scheduler.take_released())

    messages += drain(scheduler, runner)

    ends = [m.request_id for m in messages if isinstance(m, TERMINAL)]
    assert sorted(ends) == sorted(str(number) for number in accepted)
    for message in messages:
        if isinstance(message, Finished):
            wanted = [min(n, LIMITS.max_tokens) for n in lengths[int(message.request_id)]]
            assert pcm_of(messages, message.request_id) == expected_pcm(wanted)
    assert len(scheduler.take_closed()) == len(accepted)


def with_timeout(request: SynthesisRequest, timeout_s: float) -> SynthesisRequest:
    """Return a request that is to be finished in time."""
    return msgspec.structs.replace(request, timeout_s=timeout_s)


def test_a_request_past_its_deadline_fails_and_frees_its_slots() -> None:
    """Running or waiting, a late request gets deadline_exceeded before another step is spent."""
    clock = FakeClock()
    scheduler, runner = Scheduler(LIMITS, GEOMETRY, clock), FakeRunner()
    scheduler.add(with_timeout(make_request("late", [15, 15, 15]), 5.0))
    scheduler.add(make_request("patient", [5]))
    for _ in range(4):
        step(scheduler, runner)
    clock.now_s = 5.0
    batch = scheduler.schedule()

    assert all(sequence.key[0] == "patient" for sequence in (*batch.prefill, *batch.decode))
    messages = scheduler.update(batch, runner.execute(batch))
    failed = next(message for message in messages if isinstance(message, Failed))
    assert (failed.request_id, failed.code) == ("late", "deadline_exceeded")
    assert "5 s" in failed.message
    assert {sequence.key[0] for sequence in scheduler.take_released()} == {"late"}
    ends = [m for m in drain(scheduler, runner) if isinstance(m, TERMINAL)]
    assert [type(end) for end in ends] == [Finished]


def test_a_request_that_ends_before_its_deadline_is_left_alone() -> None:
    """A deadline that does not come changes nothing."""
    clock = FakeClock()
    scheduler, runner = Scheduler(LIMITS, GEOMETRY, clock), FakeRunner()
    scheduler.add(with_timeout(make_request("quick", [4]), 5.0))
    clock.now_s = 4.9
    messages = drain(scheduler, runner)

    assert pcm_of(messages, "quick") == expected_pcm([4])
    assert isinstance(messages[-1], Finished)


class SilentRunner(FakeRunner):
    """Decodes chosen segments to zeros."""

    def __init__(self, *silent: int) -> None:
        super().__init__()
        self.silent = silent

    def execute(self, batch: Batch) -> StepResults:
        """Compute a step."""
        results = super().execute(batch)
        for key, pcm in results.pcm.items():
            if key[1] in self.silent:
                results.pcm[key] = bytes(len(pcm))
        return results


@pytest.mark.parametrize("is_streaming", [False, True])
def test_a_silent_segment_fails_the_request(is_streaming: bool) -> None:
    """Silence is never sent as a success, also when only one segment of several is silent."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    scheduler.add(make_request("mute", [8, 8, 8], is_streaming=is_streaming, pause_s=0.5))
    messages = drain(scheduler, SilentRunner(1))
    ends = [message for message in messages if isinstance(message, TERMINAL)]

    assert len(ends) == 1
    assert isinstance(ends[0], Failed)
    assert ends[0].code == "synthesis_failed"
    assert "segment 1" in ends[0].message
    assert "silence" in ends[0].message


def test_a_segment_without_tokens_fails_the_request() -> None:
    """A model that ends a segment at once has not spoken it."""
    scheduler, runner = Scheduler(LIMITS, GEOMETRY), FakeRunner()
    scheduler.add(make_request("empty", [5, 0]))
    messages = drain(scheduler, runner)
    ends = [message for message in messages if isinstance(message, TERMINAL)]

    assert [type(end) for end in ends] == [Failed]
    assert "segment 1: the model ended it at once" in str(ends[0])


def test_pauses_are_no_silence() -> None:
    """Long pauses around short speech are what was asked for."""
    scheduler, runner = Scheduler(LIMITS, GEOMETRY), FakeRunner()
    scheduler.add(make_request("calm", [1], pause_s=10.0))

    assert isinstance(drain(scheduler, runner)[-1], Finished)


EARLY = dataclasses.replace(LIMITS, early_tokens=8)


@pytest.mark.parametrize("lengths", [[20], [9, 20, 17], [3, 20]])
def test_an_early_stream_is_heard_before_its_tokens_are_there(lengths: list[int]) -> None:
    """Audio leaves while tokens are drawn, every frame once and in order."""
    scheduler, runner = Scheduler(EARLY, GEOMETRY, FastClock()), FakeRunner()
    scheduler.add(make_request("a", lengths, is_streaming=True))
    messages: list[Message] = []
    was_early = False
    while scheduler.has_work():
        new = step(scheduler, runner)
        is_heard = any(isinstance(message, AudioChunk) for message in new)
        was_early = was_early or (is_heard and bool(scheduler.running))
        messages += new

    assert was_early
    assert pcm_of(messages, "a") == expected_pcm(lengths)
    assert messages[-1] == Finished("a", len(expected_pcm(lengths)) // 2, tuple(lengths))


def test_only_a_stream_at_normal_speed_is_early() -> None:
    """Whole answers, other speeds and segments that are not due wait for their tokens."""
    for is_streaming, speed, lengths in (
        (False, 1.0, [20]),
        (True, 1.5, [20]),
        (True, 1.0, [20, 20]),
    ):
        scheduler, runner = Scheduler(EARLY, GEOMETRY), FakeRunner()
        request = make_request("a", lengths, is_streaming=is_streaming)
        scheduler.add(msgspec.structs.replace(request, speed=speed))
        for _ in range(19):
            batch = scheduler.schedule()
            early = [window for window in batch.windows if window.sequence in scheduler.running]
            assert all(window.sequence.index == 0 for window in early)
            assert not early or (is_streaming and speed == 1.0)
            scheduler.update(batch, runner.execute(batch))


@pytest.mark.parametrize(("setting", "asked"), [(0, 8), (16, 8), (8, 0), (8, 16)])
def test_a_request_says_itself_how_early_it_is(setting: int, asked: int) -> None:
    """Its own number goes before the engine's; beside it, others have the engine's."""
    limits = dataclasses.replace(LIMITS, early_tokens=setting)
    scheduler, runner = Scheduler(limits, GEOMETRY), FakeRunner()
    own = make_request("own", [20], is_streaming=True)
    scheduler.add(msgspec.structs.replace(own, early_tokens=asked))
    scheduler.add(make_request("other", [20], is_streaming=True))
    first: dict[str, int] = {}
    while scheduler.has_work():
        batch = scheduler.schedule()
        for window in batch.windows:
            first.setdefault(window.sequence.key[0], window.num_tokens)
        scheduler.update(batch, runner.execute(batch))

    assert first == {"own": asked or 20, "other": setting or 20}


def early_passes(clock: Callable[[], float]) -> list[int]:
    """Return of how many tokens the audio of a long early stream was made, one time after another."""
    limits = dataclasses.replace(
        EARLY, max_tokens=200, max_audio_frames=1000, max_window_frames=400
    )
    scheduler, runner = Scheduler(limits, GEOMETRY, clock), FakeRunner()
    scheduler.add(make_request("a", [120], is_streaming=True))
    made: list[int] = []
    messages: list[Message] = []
    while scheduler.has_work():
        batch = scheduler.schedule()
        made += [window.num_tokens for window in batch.windows]
        messages += scheduler.update(batch, runner.execute(batch))
    assert pcm_of(messages, "a") == expected_pcm([120])
    return list(dict.fromkeys(made))


def test_a_stream_with_enough_to_play_waits_for_all_tokens() -> None:
    """With half a second still to be heard, audio is made once more: of the whole."""
    assert early_passes(FakeClock()) == [8, 120]


def test_a_stream_that_runs_dry_gets_what_there_is() -> None:
    """More is made each time, a quarter at least, so that passes stay few."""
    sizes = early_passes(FastClock())

    assert sizes[0] == 8
    assert sizes[-1] == 120
    assert len(sizes) > 4
    sent = [2 * size - EARLY_MARGIN_FRAMES for size in sizes[:-1]]
    assert all(later >= frames + frames // 4 for frames, later in pairwise(sent))


def test_an_early_stream_that_is_aborted_leaves_nothing() -> None:
    """An abort between its windows ends it, and what was asked for is dropped."""
    scheduler, runner = Scheduler(EARLY, GEOMETRY), FakeRunner()
    scheduler.add(make_request("a", [20], is_streaming=True))
    for _ in range(12):
        step(scheduler, runner)
    batch = scheduler.schedule()
    scheduler.abort("a")

    messages = scheduler.update(batch, runner.execute(batch))

    assert messages == [Aborted("a")]
    assert not scheduler.running
    assert not scheduler.decoding
    assert not scheduler.has_work()


class FullRunner(FakeRunner):
    """Has no memory now and then: returns sequences, whose tokens then begin again."""

    def __init__(self, returns: list[int]) -> None:
        super().__init__()
        self.returns = list(returns)
        self.num_returned = 0

    def execute(self, batch: Batch) -> StepResults:
        """Compute a step without the sequence whose turn it is to return."""
        turn = self.returns.pop(0) if self.returns else 99
        rows = [*batch.decode, *batch.prefill]
        gone = rows[turn : turn + 1]
        self.num_returned += len(gone)
        rest = dataclasses.replace(
            batch,
            prefill=tuple(s for s in batch.prefill if s not in gone),
            decode=tuple(s for s in batch.decode if s not in gone),
        )
        results = super().execute(rest)
        for sequence in gone:
            results.returned.add(sequence.key)
            self.drawn.pop(sequence.key, None)
        return results


@settings(max_examples=150)
@given(
    lengths=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=4), min_size=1, max_size=4),
    returns=st.lists(st.integers(0, 4), max_size=60),
    early_tokens=st.sampled_from([0, 8]),
)
def test_what_returns_is_as_if_it_had_not(
    lengths: list[list[int]], returns: list[int], early_tokens: int
) -> None:
    """Sequences that run again from their first token end with the same tokens and audio."""
    limits = dataclasses.replace(LIMITS, early_tokens=early_tokens)
    scheduler, runner = Scheduler(limits, GEOMETRY, FastClock()), FullRunner(returns)
    for number, own in enumerate(lengths):
        scheduler.add(make_request(str(number), own, is_streaming=number % 2 == 0))

    messages = drain(scheduler, runner)

    for number, own in enumerate(lengths):
        assert pcm_of(messages, str(number)) == expected_pcm(own)
        [end] = [m for m in messages if isinstance(m, TERMINAL) and m.request_id == str(number)]
        assert end == Finished(str(number), len(expected_pcm(own)) // 2, tuple(own))


@pytest.mark.parametrize("redraws", [[7, 1], [0]])
def test_other_tokens_than_before_are_an_error(redraws: list[int]) -> None:
    """A sequence that runs again and draws others, or ends sooner, fails instead of mixing them."""
    scheduler = Scheduler(LIMITS, GEOMETRY)
    scheduler.add(make_request("a", [20]))
    runner = FullRunner([99, 99, 99, 99, 0])
    for _ in range(5):
        step(scheduler, runner)
    assert scheduler.requests["a"].returned[0].num_to_redraw == 3
    batch = scheduler.schedule()
    (key,) = [sequence.key for sequence in batch.prefill]

    drawn = DrawnTokens(tuple(redraws), is_eos=redraws == [0])
    messages = scheduler.update(batch, StepResults(tokens={key: drawn}))

    [failed] = messages
    assert isinstance(failed, Failed)
    assert "other tokens than before" in failed.message
    scheduler.check_integrity()


def test_what_returned_can_be_aborted() -> None:
    """A request that waits for a slot again ends at once, and nothing comes of it any more."""
    scheduler, runner = Scheduler(LIMITS, GEOMETRY), FullRunner([99, 99, 99, 0, 0])
    scheduler.add(make_request("a", [20]))
    for _ in range(4):
        step(scheduler, runner)
    assert runner.num_returned == 1
    assert not scheduler.running

    scheduler.abort("a")

    assert drain(scheduler, runner) == [Aborted("a")]
    assert scheduler.take_released() == []
    scheduler.check_integrity()


@pytest.mark.parametrize(
    ("early_tokens", "slack_s", "frames"),
    [(8, 5.0, 64), (8, 0.5, 40), (8, 0.02, 16), (0, 0.02, 64)],
)
def test_windows_of_an_early_stream_are_made_in_time(
    early_tokens: int, slack_s: float, frames: int
) -> None:
    """The less a listener has left to hear, the shorter the next window; 20 frames are a second."""
    limits = dataclasses.replace(
        LIMITS, max_tokens=100, max_audio_frames=1000, max_window_frames=64
    )
    clock = FakeClock()
    scheduler, runner = Scheduler(limits, GEOMETRY, clock), FakeRunner()
    request = make_request("a", [100], is_streaming=True)
    scheduler.add(msgspec.structs.replace(request, early_tokens=early_tokens))
    while not scheduler.decoding or scheduler.decoding[0].num_frames_decoded < 64:
        step(scheduler, runner)
    done = scheduler.decoding[0].num_frames_decoded
    clock.now_s = done / 20 - slack_s

    [window] = scheduler.schedule().windows

    assert done in {64, 72}
    assert window.num_frames == max(frames, done // 4)
