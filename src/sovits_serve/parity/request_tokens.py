"""The tokens of recorded requests: followed with our model, and found by our engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch

from sovits_serve.config import EngineConfig
from sovits_serve.engine.loader import build_engine, resolve
from sovits_serve.engine.request import SequenceState
from sovits_serve.models.bundle import Models
from sovits_serve.parity import limits, token_chunks
from sovits_serve.parity.generation import End, Recorded, Row, Trace, follow
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.recorded_request import RecordedRequest, TokenCall, TokenStream
from sovits_serve.parity.report import Check, Lazy
from sovits_serve.parity.request_models import RequestVoice
from sovits_serve.protocol.messages import Failed, PhonemizedText, SynthesisRequest


@dataclass(frozen=True)
class Spoken:
    """A text with the tokens upstream found for it."""

    key: str
    text: PhonemizedText
    recorded: Recorded


@dataclass
class RequestGolden:
    """One recorded request and our models; what several checks need is computed once."""

    request: RecordedRequest
    voice: Lazy[RequestVoice]
    precision: Precision

    @property
    def early_stop(self) -> int:
        """Return how many tokens upstream allows."""
        return 50 * self.voice().models.t2s.dims.max_sec

    @cached_property
    def calls(self) -> list[TokenCall]:
        """The T2S calls, none if the request streams."""
        return [] if self.request.is_streaming else self.request.token_calls(self.early_stop)

    @cached_property
    def spoken(self) -> list[Spoken]:
        """All texts, in the order of upstream's calls."""
        if self.request.is_streaming:
            streams = enumerate(self.request.streams())
            return [self._streamed(index, stream) for index, stream in streams]
        return [
            Spoken(key, text, recorded)
            for call in self.calls
            for key, text, recorded in zip(call.keys, call.texts, call.recorded, strict=True)
        ]

    @cached_property
    def traces(self) -> list[Trace]:
        """What our model does along each recorded sequence."""
        voice, request = self.voice(), self.request
        prompt_ids = voice.conditioning.prompt_phone_ids
        features = voice.conditioner.text_features([item.text for item in self.spoken])
        rows = [
            Row(
                torch.tensor([*prompt_ids, *item.text.phone_ids]),
                torch.cat([voice.conditioning.prompt_features, rows]),
                request.prompt_semantic,
                request.params,
                item.recorded,
            )
            for item, rows in zip(self.spoken, features, strict=True)
        ]
        return follow(voice.models.t2s, rows)

    def _streamed(self, index: int, stream: TokenStream) -> Spoken:
        tokens = token_chunks.join(stream.chunks, self.voice().chunk_rule)
        by_eos = token_chunks.was_ended_by_eos(len(tokens), self.early_stop)
        recorded = Recorded(tokens, End.EOS if by_eos else End.STOPPED)
        return Spoken(f"stream{index}", stream.text, recorded)


def check(golden: RequestGolden) -> Iterator[Check]:
    """Follow the recorded tokens, and compare how near each choice was with what was recorded."""
    name, traces = golden.request.name, golden.traces
    for item, trace in zip(golden.spoken, traces, strict=True):
        num_wrong = len(trace.wrong_steps)
        yield golden.precision.tokens(f"{name}/{item.key}", num_wrong, trace.num_decided)
    if golden.precision.is_exact:
        penalty = max(golden.request.params.repetition_penalty, 1.0)
        ours, recorded = _margins(golden)
        limit = 2 * limits.AR_LOGITS * penalty  # the penalty multiplies differences, too
        yield limits.difference(f"{name}/margins", ours, recorded, limit)


def _margins(golden: RequestGolden) -> tuple[torch.Tensor, torch.Tensor]:
    """Return our margins and the recorded ones, the smallest of each call's rows per step."""
    recorded = iter(golden.request.arrays.tensor("margins").flatten().tolist())
    ours: list[float] = []
    theirs: list[float] = []
    for run in _runs(golden):
        num_steps = max(_num_upstream_steps(trace.recorded) for trace in run)
        found = _smallest(run)
        ours += found
        theirs += list(islice(recorded, num_steps))[: len(found)]
    return torch.tensor(ours), torch.tensor(theirs)


def _runs(golden: RequestGolden) -> list[list[Trace]]:
    """Group traces that upstream ran as one batch."""
    traces = iter(golden.traces)
    if golden.request.is_serial:
        return [[trace] for trace in traces]
    return [list(islice(traces, len(call.keys))) for call in golden.calls]


def _num_upstream_steps(recorded: Recorded) -> int:
    """Return how many steps upstream took: also those whose token it dropped."""
    return len(recorded.tokens) + (recorded.end is not End.STOPPED)


def _smallest(run: Sequence[Trace]) -> list[float]:
    """Return each step's smallest margin, as far as all rows of the batch can be followed."""
    num_steps = max(len(trace.margins) for trace in run)
    cut = [len(trace.margins) for trace in run if trace.recorded.end is End.CUT]
    return [
        min(trace.margins[step] for trace in run if step < len(trace.margins))
        for step in range(min([num_steps, *cut]))
    ]


def check_engine(golden: RequestGolden) -> Iterator[Check]:
    """Have the engine say the request; up to the first near tie it must find the same tokens."""
    request = golden.request
    message = SynthesisRequest(
        request_id=request.name,
        segments=tuple(item.text for item in golden.spoken),
        reference=golden.voice().reference,
        sampling=request.params,
    )
    # An end-of-sequence step is no token, and our engine keeps none past the early stop.
    decided = [
        item.recorded.tokens[: _num_decided(trace)][: golden.early_stop]
        for item, trace in zip(golden.spoken, golden.traces, strict=True)
    ]
    wanted = [len(tokens) for tokens in decided]
    found = engine_tokens(golden.voice().models, message, wanted)
    for item, recorded, tokens in zip(golden.spoken, decided, found, strict=True):
        num_wrong = sum(a != b for a, b in zip(recorded, tokens, strict=False))
        num_wrong += max(len(recorded) - len(tokens), 0)
        name = f"{request.name}/engine_{item.key}"
        yield golden.precision.tokens(name, num_wrong, len(recorded))


def _num_decided(trace: Trace) -> int:
    """Return how many tokens come before the first near tie."""
    ties = (step for step, value in enumerate(trace.margins) if value <= trace.decided_margin)
    return next(ties, len(trace.margins))


def engine_tokens(
    models: Models, message: SynthesisRequest, wanted: Sequence[int]
) -> list[list[int]]:
    """Run a request through an engine of its own until each segment has its wanted tokens.

    Raises:
        RuntimeError: the engine failed the request.
    """
    num_rows = min(len(message.segments), 16)
    config = EngineConfig(
        device=str(models.device),
        dtype=str(models.dtype).removeprefix("torch."),
        batch_invariant="off",
        kernels="off",
        num_threads=torch.get_num_threads(),
        max_running=num_rows,
        max_sequence_length=_longest(models, message),
    )
    engine = build_engine(models, resolve(config))
    engine.add(message)
    sequences = engine.scheduler.requests[message.request_id].sequences
    unfinished = (SequenceState.WAITING, SequenceState.RUNNING)
    while any(
        sequence.state in unfinished and len(sequence.tokens) < num_wanted
        for sequence, num_wanted in zip(sequences, wanted, strict=True)
    ):
        for reply in engine.step():
            if isinstance(reply, Failed):
                raise RuntimeError(f"the engine failed: {reply.code}: {reply.message}")
    engine.abort(message.request_id)
    return [sequence.tokens for sequence in sequences]


def _longest(models: Models, message: SynthesisRequest) -> int:
    """Return what the longest sequence can come to: a reference has at most 10 s."""
    prompt = message.reference.prompt_text
    num_prompt_phones = 0 if prompt is None else len(prompt.phone_ids)
    num_phones = max(len(segment.phone_ids) for segment in message.segments) + num_prompt_phones
    num_prompt_tokens = 12 * models.spec.semantic_rate_hz
    return max(num_phones + num_prompt_tokens + models.t2s.dims.early_stop_tokens, 64)
