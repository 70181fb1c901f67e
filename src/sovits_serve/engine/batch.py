"""What one step computes, and what came of it. Plain data, no torch."""

from dataclasses import dataclass, field

from sovits_serve.engine.request import Request, Sequence
from sovits_serve.errors import ServingError

# In the message of every failure by NaN or infinity, by which warm-up knows it.
NOT_FINITE = "not finite; try float32"


@dataclass(frozen=True, eq=False)
class AudioWindow:
    """A stretch of one sequence's audio to decode: frames [start, start + num_frames)."""

    sequence: Sequence
    start: int
    num_frames: int


@dataclass(frozen=True)
class Batch:
    """The work of one step, decided by the scheduler."""

    prepare: tuple[Request, ...] = ()  # encode references, before anything else of the request
    prefill: tuple[Sequence, ...] = ()
    decode: tuple[Sequence, ...] = ()
    windows: tuple[AudioWindow, ...] = ()


@dataclass(frozen=True)
class SampledToken:
    """One row's draw. ``is_eos`` ends the sequence; the token itself is then not part of it."""

    token: int
    is_eos: bool


@dataclass
class StepResults:
    """What the runner computed. A failed request appears only in ``failures``."""

    tokens: dict[tuple[str, int], SampledToken] = field(default_factory=dict)
    pcm: dict[tuple[str, int], bytes] = field(default_factory=dict)  # int16, per window
    failures: dict[str, ServingError] = field(default_factory=dict)
