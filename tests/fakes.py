"""One tiny seeded model and the requests that tests make of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.config import EngineConfig
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.loader import build_engine, load_models
from sovits_serve.engine.request import Request
from sovits_serve.models.bundle import Models
from sovits_serve.protocol.messages import (
    AudioChunk,
    Finished,
    Message,
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
    TextSpan,
)

CPU_CONFIG = EngineConfig(
    device="cpu",
    dtype="float32",
    batch_invariant="off",
    kernels="off",
    num_threads=1,
    max_running=6,
    max_sequence_length=700,
    max_prefill_rows=3,
    max_audio_rows=3,
    first_window_frames=8,
    max_window_frames=40,
)


@cache
def load_tiny(directory: Path) -> Models:
    """Load a model directory in float32 on the CPU, once."""
    return load_models(locate_model(directory), torch.device("cpu"), torch.float32)


def make_engine(models: Models, **changes: object) -> EngineCore:
    """Build an engine around loaded models."""
    return build_engine(models, replace(CPU_CONFIG, **changes))  # type: ignore[arg-type]


def make_recording(seed: int = 0, seconds: float = 3.2, rate_hz: int = 24_000) -> ReferenceAudio:
    """Make a recording of filtered noise."""
    noise = np.random.default_rng(seed).standard_normal(int(seconds * rate_hz))
    smooth = np.convolve(noise, np.hanning(9) / 4, mode="same") * 0.1
    return ReferenceAudio(smooth.astype("<f4").tobytes(), rate_hz)


def make_text(seed: int, num_phonemes: int = 12, *, has_span: bool = False) -> PhonemizedText:
    """Make random phonemes; with a span its first four belong to two Chinese characters."""
    ids = np.random.default_rng(seed).integers(1, 320, num_phonemes)
    spans = (TextSpan(0, "你好", (2, 2)),) if has_span else ()
    return PhonemizedText(tuple(int(i) for i in ids), spans)


def make_request(
    seed: int,
    *,
    num_segments: int = 1,
    max_tokens: int = 24,
    voice: int = 0,
    is_streaming: bool = False,
    speed: float = 1.0,
    has_prompt: bool = True,
    sampling: SamplingParams | None = None,
) -> SynthesisRequest:
    """Make a request that is a function of its arguments."""
    return SynthesisRequest(
        request_id=f"request-{seed}",
        segments=tuple(
            make_text(100 * seed + i, 6 + (7 * seed + 5 * i) % 20, has_span=(seed + i) % 2 == 0)
            for i in range(num_segments)
        ),
        reference=Reference(
            make_recording(voice),
            make_text(voice, 9 + voice, has_span=True) if has_prompt else None,
        ),
        sampling=sampling or SamplingParams(seed=seed, max_tokens=max_tokens),
        speed=speed,
        segment_pause_s=0.01,
        is_streaming=is_streaming,
    )


@dataclass(frozen=True)
class Outcome:
    """What became of one request."""

    end: Message
    samples: NDArray[np.int16]
    num_chunks: int
    tokens: tuple[tuple[int, ...], ...] = ()

    @property
    def num_tokens(self) -> tuple[int, ...]:
        """Return the tokens of each segment of a finished request."""
        assert isinstance(self.end, Finished), self.end
        return self.end.num_tokens


def run_alone(models: Models, request: SynthesisRequest, **changes: object) -> Outcome:
    """Run one request in an engine of its own."""
    return run_together(models, [request], **changes)[request.request_id]


def run_together(
    models: Models, requests: Sequence[SynthesisRequest], **changes: object
) -> dict[str, Outcome]:
    """Run requests in one engine, all added at once."""
    engine = make_engine(models, **changes)
    accepted = [add(engine, request) for request in requests]
    messages: list[Message] = []
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()
    return outcomes(messages, accepted)


def add(engine: EngineCore, message: SynthesisRequest) -> Request:
    """Add a request and return the engine's own view of it."""
    engine.add(message)
    return engine.scheduler.requests[message.request_id]


def outcomes(messages: Sequence[Message], requests: Sequence[Request]) -> dict[str, Outcome]:
    """Sort messages by request, checking that chunks are in order and one message ends each."""
    chunks: dict[str, list[AudioChunk]] = {}
    ends: dict[str, Message] = {}
    for message in messages:
        if isinstance(message, AudioChunk):
            assert message.request_id not in ends
            assert message.index == len(chunks.setdefault(message.request_id, []))
            chunks[message.request_id].append(message)
        else:
            request_id = message.request_id  # type: ignore[attr-defined]
            assert request_id not in ends
            ends[request_id] = message
    tokens = {
        request.request_id: tuple(tuple(sequence.tokens) for sequence in request.sequences)
        for request in requests
    }
    return {
        request_id: Outcome(
            end,
            np.frombuffer(b"".join(c.pcm for c in chunks.get(request_id, [])), dtype="<i2"),
            len(chunks.get(request_id, [])),
            tokens[request_id],
        )
        for request_id, end in ends.items()
    }
