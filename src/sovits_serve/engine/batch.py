"""What one step computes, and what came of it. Plain data, no torch."""

from dataclasses import dataclass, field

from sovits_serve.engine.request import Request, Sequence
from sovits_serve.errors import ServingError

# In the message of every failure by NaN or infinity, by which warm-up knows it.
NOT_FINITE = "not finite; try float32"


@dataclass(frozen=True, eq=False)
class AudioWindow:
    """A stretch of one sequence's audio to decode: frames [start, start + num_frames).

    Attributes:
        num_tokens: how many of the sequence's tokens the audio is made of: all, or with
            ``early_tokens`` those that there are.
        num_latent_frames: how many frames those tokens become.
    """

    sequence: Sequence
    start: int
    num_frames: int
    num_tokens: int
    num_latent_frames: int

    @property
    def is_last(self) -> bool:
        """Return whether no audio of the sequence follows."""
        is_whole = self.num_latent_frames == self.sequence.num_frames
        return is_whole and self.start + self.num_frames == self.num_latent_frames


@dataclass(frozen=True)
class Batch:
    """The work of one step, decided by the scheduler."""

    prepare: tuple[Request, ...] = ()  # encode references, before anything else of the request
    prefill: tuple[Sequence, ...] = ()
    decode: tuple[Sequence, ...] = ()
    windows: tuple[AudioWindow, ...] = ()


@dataclass(frozen=True)
class DrawnTokens:
    """What one row drew since it was last heard of, in order. ``is_eos`` ends the sequence."""

    tokens: tuple[int, ...]
    is_eos: bool


@dataclass
class StepResults:
    """What the runner has computed; of this step's batch, or of one before.

    A failed request appears only in ``failures``. What a runner has launched and not yet read
    comes with a later step: a sequence without tokens, a window without PCM, is still under way.

    Attributes:
        tokens: what was drawn, by sequence.
        pcm: int16, per window.
        failures: by request.
        returned: sequences that there is no memory for now; what they hold is freed already. They
            are to run again from their first token, which will draw the same ones.
    """

    tokens: dict[tuple[str, int], DrawnTokens] = field(default_factory=dict)
    pcm: dict[tuple[str, int], bytes] = field(default_factory=dict)
    failures: dict[str, ServingError] = field(default_factory=dict)
    returned: set[tuple[str, int]] = field(default_factory=set)
