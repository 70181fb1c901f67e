"""The whole engine on a tiny model: neighbours, streaming, joins, aborts, failures.

Audio is compared in int16. Rows of one batch go through differently shaped matrix products than
rows alone, so float32 samples differ in the last bits; after rounding that is at most one step.
"""

from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Rows
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.loader import load_models
from sovits_serve.engine.model_runner import ModelRunner
from sovits_serve.engine.request import Sequence
from sovits_serve.errors import InvalidRequest
from sovits_serve.models.bundle import Models
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.protocol.messages import (
    Abort,
    Aborted,
    AudioChunk,
    Drain,
    Failed,
    Finished,
    Message,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)
from tests.fakes import (
    Outcome,
    add,
    make_engine,
    make_recording,
    make_request,
    outcomes,
    run_alone,
    run_together,
)

ONE_STEP = 1
Alone = Callable[[int], Outcome]


def assert_same(outcome: Outcome, wanted: Outcome) -> None:
    """Assert equal tokens, equal length and audio within one int16 step."""
    assert outcome.tokens == wanted.tokens
    assert outcome.samples.shape == wanted.samples.shape
    difference = np.abs(outcome.samples.astype(int) - wanted.samples)
    assert difference.max(initial=0) <= ONE_STEP


def varied_request(number: int) -> SynthesisRequest:
    """Make one of ten requests that differ in everything."""
    return make_request(
        number,
        num_segments=1 + number % 3,
        max_tokens=14 + 5 * (number % 4),
        voice=number % 2,
        is_streaming=number % 3 == 0,
        speed=(1.0, 1.3, 0.8)[number % 3],
        has_prompt=number % 5 != 4,
        sampling=SamplingParams(
            seed=number * 1_000_003,
            max_tokens=14 + 5 * (number % 4),
            top_k=(15, None, 1, 5)[number % 4],
            top_p=(1.0, 0.8)[number % 2],
            temperature=(1.0, 0.6, 1.5)[number % 3],
            repetition_penalty=(1.35, 1.0)[number % 2],
        ),
    )


@pytest.fixture(scope="session")
def alone(tiny: Models) -> Alone:
    """Return a function that gives the outcome of ``varied_request(n)`` run alone."""

    @cache
    def run(number: int) -> Outcome:
        return run_alone(tiny, varied_request(number))

    return run


def test_ten_strangers_in_one_batch_equal_each_alone(tiny: Models, alone: Alone) -> None:
    """A request's tokens and audio do not depend on who else is in the batch."""
    together = run_together(tiny, [varied_request(number) for number in range(10)])

    for number in range(10):
        assert_same(together[f"request-{number}"], alone(number))


def test_invariant_mode_gives_the_very_same_tokens(tiny: Models) -> None:
    """With batch_invariant, alone and together agree token for token, at other batch sizes too."""
    requests = [varied_request(number) for number in range(6)]
    together = run_together(tiny, requests, batch_invariant="on")

    for request in requests:
        single = run_alone(tiny, request, batch_invariant="on")
        assert_same(together[request.request_id], single)


@pytest.mark.parametrize("speed", [1.0, 1.3, 0.8])
def test_streamed_audio_equals_whole_audio(tiny: Models, speed: float) -> None:
    """Small windows give the samples that whole segments give, at every speed."""
    request = make_request(3, num_segments=2, max_tokens=40, speed=speed)
    streaming = msgspec.structs.replace(request, is_streaming=True)

    whole = run_alone(tiny, request, max_window_frames=3000)
    streamed = run_alone(tiny, streaming, first_window_frames=4, max_window_frames=16)

    assert_same(streamed, whole)
    assert streamed.num_chunks > 3 * whole.num_chunks


Action = tuple[str, int]


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "abort", "step", "steps"]), st.integers(0, 9)),
        min_size=4,
        max_size=30,
    )
)
def test_joins_and_aborts_change_nothing_for_the_others(
    tiny: Models,
    alone: Alone,
    actions: list[Action],
) -> None:
    """Whoever joins or leaves, whenever: finished requests are what they are alone."""
    engine = make_engine(tiny)
    accepted = {}
    messages: list[Message] = []
    for action, number in actions:
        if action == "add" and number not in accepted:
            accepted[number] = add(engine, varied_request(number))
        elif action == "abort":
            engine.abort(f"request-{number}")
        elif engine.has_work():
            for _ in range(1 if action == "step" else 9):
                messages += engine.step()
        engine.check_integrity()
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()

    ended = outcomes(messages, list(accepted.values()))

    assert len(ended) == len(accepted)
    for number in accepted:
        outcome = ended[f"request-{number}"]
        if isinstance(outcome.end, Finished):
            assert_same(outcome, alone(number))
        else:
            assert outcome.end == Aborted(f"request-{number}")


def test_the_seed_decides_the_audio(tiny: Models) -> None:
    """Same seed, same audio; another seed, other tokens."""
    request = make_request(5)
    other = msgspec.structs.replace(
        request, sampling=msgspec.structs.replace(request.sampling, seed=6)
    )

    first, again, different = (run_alone(tiny, r) for r in (request, request, other))

    assert np.array_equal(first.samples, again.samples)
    assert first.tokens != different.tokens


def test_a_reference_is_encoded_once(tiny: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests with the same recording run HuBERT once."""
    calls: list[int] = []
    encode = tiny.hubert.encode

    def counted(waves: Rows[Tensor]) -> list[Tensor]:
        calls.append(len(waves))
        return encode(waves)

    monkeypatch.setattr(tiny.hubert, "encode", counted)

    run_together(tiny, [make_request(1), make_request(2)])

    assert calls == [1]


def test_auxiliary_references_change_the_voice_not_the_tokens(tiny: Models) -> None:
    """Further recordings are averaged into the style only."""
    request = make_request(2)
    extra = Reference(
        request.reference.audio, request.reference.prompt_text, (make_recording(9, seconds=1.0),)
    )

    plain = run_alone(tiny, request)
    averaged = run_alone(tiny, msgspec.structs.replace(request, reference=extra))

    assert averaged.tokens == plain.tokens
    assert not np.array_equal(averaged.samples, plain.samples)


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (make_recording(0, seconds=2.1), "2.1 s; needs 3 to 10 s"),
        (make_recording(0, seconds=14.0, rate_hz=16_000), "14 s; needs 3 to 10 s"),
        (ReferenceAudio(bytes(4 * 16_000 * 4), 16_000), "silent"),
    ],
)
def test_a_bad_reference_fails_its_request_only(
    tiny: Models, audio: ReferenceAudio, words: str
) -> None:
    """A reference outside 3 to 10 s, or silent, fails with the figures; neighbours finish."""
    bad = msgspec.structs.replace(make_request(1), reference=Reference(audio))

    ended = run_together(tiny, [bad, make_request(2)])

    end = ended["request-1"].end
    assert isinstance(end, Failed)
    assert end.code == "bad_reference_audio"
    assert words in end.message
    assert isinstance(ended["request-2"].end, Finished)


def test_a_long_reference_is_trimmed_by_setting(tiny: Models) -> None:
    """With long_reference=trim, 14 s are cut to 10 instead of refused."""
    long = Reference(make_recording(0, seconds=14.0, rate_hz=16_000))
    request = msgspec.structs.replace(make_request(1), reference=long)

    outcome = run_alone(tiny, request, long_reference="trim")

    assert isinstance(outcome.end, Finished)


def test_a_segment_that_cannot_fit_is_refused_with_the_figures(tiny: Models) -> None:
    """Prompt, phonemes and tokens together must fit a slot; else the request says by how much."""
    request = make_request(1, max_tokens=100)

    end = run_alone(tiny, request, max_sequence_length=150).end

    assert isinstance(end, Failed)
    assert end.code == "text_too_long"
    assert "max_sequence_length is 150" in end.message


def test_a_segment_that_says_no_limit_gets_the_room_that_there_is(tiny: Models) -> None:
    """A short sequence length refuses nobody whose speech is sure to fit."""
    free = msgspec.structs.replace(make_request(1), sampling=SamplingParams(seed=1))
    engine = make_engine(tiny, max_sequence_length=350)
    accepted = add(engine, free)
    messages = []
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()

    assert isinstance(outcomes(messages, [accepted])["request-1"].end, Finished)
    assert accepted.sequences[0].max_tokens < engine.limits.max_tokens
    refused = run_alone(tiny, free, max_sequence_length=150).end
    assert isinstance(refused, Failed)
    assert refused.code == "text_too_long"


def test_a_row_that_breaks_a_batch_fails_alone(
    tiny: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a batch fails, it is split until only the row at fault fails."""
    engine = make_engine(tiny)
    runner = engine.runner
    assert isinstance(runner, ModelRunner)
    prefill = runner._prefill

    def poisoned(sequences: Rows[Sequence]) -> Tensor:
        if any(sequence.key[0] == "request-2" for sequence in sequences):
            raise torch.OutOfMemoryError("planted")
        return prefill(sequences)

    monkeypatch.setattr(runner, "_prefill", poisoned)
    accepted = [add(engine, make_request(number)) for number in (1, 2, 3)]
    messages: list[Message] = []
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()

    ended = outcomes(messages, accepted)
    assert ended["request-2"].end == Failed("request-2", "out_of_memory", "out of device memory")
    assert isinstance(ended["request-1"].end, Finished)
    assert isinstance(ended["request-3"].end, Finished)


def test_a_failing_draw_ends_the_requests_of_the_step(
    tiny: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no token can be drawn the requests fail, not the engine."""
    engine = make_engine(tiny)
    monkeypatch.setattr(
        "sovits_serve.engine.model_runner.sample", raising(torch.OutOfMemoryError("planted"))
    )
    accepted = [add(engine, make_request(1)), add(engine, make_request(2))]
    messages: list[Message] = []
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()

    ended = outcomes(messages, accepted)
    for request_id in ("request-1", "request-2"):
        assert ended[request_id].end == Failed(request_id, "out_of_memory", "out of device memory")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), torch.AcceleratorError("planted")])
@pytest.mark.parametrize("stage", ["_prepare", "_tokens", "_windows"])
def test_an_interrupted_step_ends_its_requests(
    tiny: Models, monkeypatch: pytest.MonkeyPatch, stage: str, error: BaseException
) -> None:
    """Nobody goes on with half a step: all of its batch fail once, and the engine can go on."""
    engine = make_engine(tiny)
    accepted = [add(engine, make_request(number, num_segments=2)) for number in (1, 2)]
    messages: list[Message] = []
    while not engine.scheduler.decoding:
        messages += engine.step()
    with monkeypatch.context() as patch:
        patch.setattr(ModelRunner, stage, raising(error))
        with pytest.raises(type(error)):
            engine.step()
    engine.check_integrity()
    accepted.append(add(engine, make_request(3)))
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()

    ended = outcomes(messages, accepted)
    assert [type(ended[f"request-{number}"].end) for number in (1, 2, 3)] == [
        Failed,
        Failed,
        Finished,
    ]
    assert "interrupted" in str(ended["request-1"].end)


def raising(error: BaseException) -> Callable[..., object]:
    """Return a function that raises."""

    def fail(*_: object) -> object:
        raise error

    return fail


def test_samples_that_are_not_finite_fail_the_request(
    tiny: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken audio ends in Failed, never in noise or silence sent as a success."""
    generate = type(tiny.sovits).generate

    def broken(self: SovitsModel, z: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        return generate(self, z, lengths, style) * float("nan")

    monkeypatch.setattr(type(tiny.sovits), "generate", broken)

    end = run_alone(tiny, make_request(1)).end

    assert isinstance(end, Failed)
    assert "not finite" in end.message


def test_abort_frees_slots_before_the_next_step(tiny: Models) -> None:
    """An aborted request holds no slot and no state once abort returns."""
    engine = make_engine(tiny)
    engine.add(make_request(1, num_segments=3))
    for _ in range(4):
        engine.step()
    assert engine.scheduler.running

    engine.abort("request-1")

    engine.check_integrity()
    assert engine.scheduler.running == []
    assert engine.step() == [Aborted("request-1")]
    assert not engine.has_work()


def test_bfloat16_runs_through_the_same_code(tiny_directory: Path) -> None:
    """A half-precision engine speaks on the CPU too."""
    models = load_models(locate_model(tiny_directory), torch.device("cpu"), torch.bfloat16)

    outcome = run_alone(models, make_request(1), dtype="bfloat16")

    assert isinstance(outcome.end, Finished)
    assert np.abs(outcome.samples).max() > 0


class ListInbox:
    """Gives one batch of messages per turn."""

    def __init__(self, turns: list[list[Message]]) -> None:
        self._turns = deque(turns)

    def take(self, *, block: bool) -> list[Message]:
        """Return the next turn's messages; blocking on nothing would hang for ever."""
        assert self._turns or not block, "the engine waits although it was told to drain"
        return self._turns.popleft() if self._turns else []


class ListOutbox:
    """Keeps what the engine says."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def put(self, messages: list[Message]) -> None:
        """Keep messages."""
        self.messages += messages


def run_engine(engine: EngineCore, turns: list[list[Message]]) -> list[Message]:
    """Run the engine's loop over prepared turns."""
    outbox = ListOutbox()
    engine.run(ListInbox(turns), outbox)
    return outbox.messages


def test_run_drains_what_it_accepted(tiny: Models) -> None:
    """Drain finishes accepted requests; a request that is refused gets its one Failed."""
    bad = replace_speed(make_request(2), 99.0)

    messages = run_engine(make_engine(tiny), [[make_request(1), bad], [Abort("nobody"), Drain()]])

    ends = {m.request_id: m for m in messages if isinstance(m, Finished | Failed)}
    assert isinstance(ends["request-1"], Finished)
    assert ends["request-2"] == Failed(
        "request-2", "invalid_request", "speed: 99.0 is not between 0.25 and 4.0"
    )
    assert len(ends) == 2


def test_draining_accepts_nothing_more(tiny: Models) -> None:
    """A request after Drain is refused, and what came before it finishes."""
    messages = run_engine(make_engine(tiny), [[make_request(1), Drain(), make_request(2)]])

    ends = {m.request_id: m for m in messages if isinstance(m, Finished | Failed)}
    assert isinstance(ends["request-1"], Finished)
    assert isinstance(ends["request-2"], Failed)
    assert ends["request-2"].code == "draining"


def replace_speed(request: SynthesisRequest, speed: float) -> SynthesisRequest:
    """Return the request at another speed."""
    return msgspec.structs.replace(request, speed=speed)


def test_a_request_with_a_bad_phoneme_is_not_accepted(tiny: Models) -> None:
    """add raises and keeps nothing of a request that cannot be."""
    engine = make_engine(tiny)
    segment = engine.limits.num_phonemes
    request = make_request(1)
    bad = msgspec.structs.replace(
        request, segments=(msgspec.structs.replace(request.segments[0], phone_ids=(segment,)),)
    )

    with pytest.raises(InvalidRequest, match="phone id 732 is not below 732"):
        engine.add(bad)
    assert not engine.has_work()


def test_chunks_name_their_segment(tiny: Models) -> None:
    """Every chunk says which segment it belongs to, in rising order."""
    engine = make_engine(tiny)
    engine.add(make_request(1, num_segments=3))
    chunks: list[AudioChunk] = []
    while engine.has_work():
        chunks += [m for m in engine.step() if isinstance(m, AudioChunk)]

    segments = [chunk.segment for chunk in chunks]
    assert segments == sorted(segments)
    assert set(segments) == {0, 1, 2}


def test_a_place_that_a_deadline_frees_is_taken_in_the_same_step(tiny: Models) -> None:
    """With all slots taken, one request runs out of time: the next one takes its place."""
    engine = make_engine(tiny, max_running=1)
    now = [0.0]
    engine.scheduler._clock = lambda: now[0]
    late = msgspec.structs.replace(make_request(0, max_tokens=30), timeout_s=5.0)
    accepted = [add(engine, late), add(engine, make_request(1, max_tokens=3))]
    messages: list[Message] = []
    for _ in range(3):
        messages += engine.step()
    now[0] = 10.0
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()

    made = outcomes(messages, accepted)
    assert isinstance(made["request-0"].end, Failed)
    assert "timeout_s" in made["request-0"].end.message
    assert isinstance(made["request-1"].end, Finished)
