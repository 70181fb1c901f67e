"""One frozen, typed, tagged struct per message between the processes, grouped by receiver.

This module imports nothing else of the package and holds no logic; ranges are checked by the
receiver (``engine/request.py``). Units are in the names; audio is little-endian.
"""

import msgspec


class Message(msgspec.Struct, frozen=True, tag=True):
    """Base of everything that crosses a process boundary."""


class TextSpan(msgspec.Struct, frozen=True):
    """A run of phonemes whose text has features (Chinese, read by BERT)."""

    start: int  # index of the run's first phoneme within its segment
    text: str  # normalised text, one character per entry of phonemes_per_character
    phonemes_per_character: tuple[int, ...]


class PhonemizedText(msgspec.Struct, frozen=True):
    """One segment as the models read it."""

    phone_ids: tuple[int, ...]
    spans: tuple[TextSpan, ...] = ()
    text: str = ""  # what the segment was made from; for messages and logs only
    lead_pause_s: float = 0.0  # silence before the segment
    pause_s: float | None = None  # silence after it; None: the request's segment_pause_s


class ReferenceAudio(msgspec.Struct, frozen=True):
    """A decoded recording of the voice: float32 samples, channel after channel."""

    samples: bytes
    rate_hz: int
    num_channels: int = 1


class Reference(msgspec.Struct, frozen=True):
    """Who speaks: a recording, optionally what it says, and further recordings of the voice.

    Without ``prompt_text`` the model gets no prompt tokens (only the style of the voice).
    ``auxiliary`` recordings are averaged into the style.
    """

    audio: ReferenceAudio
    prompt_text: PhonemizedText | None = None
    auxiliary: tuple[ReferenceAudio, ...] = ()


class SamplingParams(msgspec.Struct, frozen=True):
    """How semantic tokens are drawn; the defaults are upstream's."""

    seed: int = 0
    top_k: int | None = 15
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.35
    max_tokens: int | None = None  # per segment; None: the checkpoint's own limit


# To the engine.


class SynthesisRequest(Message, frozen=True, tag=True):
    """HTTP worker -> engine. One API call's worth of speech."""

    request_id: str
    segments: tuple[PhonemizedText, ...]
    reference: Reference
    sampling: SamplingParams = SamplingParams()
    speed: float = 1.0
    noise_scale: float = 0.5
    segment_pause_s: float = 0.3  # silence after each segment (the last too) with none of its own
    is_streaming: bool = False  # small audio windows first


class Abort(Message, frozen=True, tag=True):
    """HTTP worker -> engine. The client has left."""

    request_id: str


class Drain(Message, frozen=True, tag=True):
    """Supervisor -> engine. Finish what was accepted, accept nothing more."""


# From the engine.


class AudioChunk(Message, frozen=True, tag=True):
    """Engine -> HTTP worker. Audio of one request, in order, without gaps."""

    request_id: str
    index: int  # 0, 1, 2, ...
    segment: int  # the segment this audio belongs to
    sample_rate_hz: int
    pcm: bytes  # int16, mono


class Finished(Message, frozen=True, tag=True):
    """Engine -> HTTP worker. Terminal: all audio of the request has been sent."""

    request_id: str
    num_samples: int
    num_tokens: tuple[int, ...]  # per segment


class Failed(Message, frozen=True, tag=True):
    """Engine -> HTTP worker. Terminal: the request failed; what was sent before is a prefix."""

    request_id: str
    code: str
    message: str


class Aborted(Message, frozen=True, tag=True):
    """Engine -> HTTP worker. Terminal: the request was aborted on demand."""

    request_id: str


TERMINAL = (Finished, Failed, Aborted)
