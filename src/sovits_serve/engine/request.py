"""A request and its segments while the engine works on them; and the check at the door.

No torch, no policy. Lengths in tokens (25 Hz), frames (50 Hz) and samples.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Integral, Real

import msgspec

from sovits_serve.audio.waveform import AudioLimits
from sovits_serve.config import LEAST_EARLY_TOKENS, MAX_EARLY_TOKENS
from sovits_serve.errors import BadReferenceAudio, InvalidRequest, TextTooLong
from sovits_serve.protocol.messages import (
    PhonemizedText,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)

MAX_TOP_K = 2**31 - 1  # no vocabulary is as large; more would not fit the messages
MAX_TOP_P = 1.0
# Logits divided by less leave the range of float32.
MIN_REPETITION_PENALTY = 0.01
# Several breaks in a row add up to one pause.
MAX_PAUSE_S = 60.0
SPEED_RANGE = (0.25, 4.0)
# The first steps cannot end a segment: upstream drops the EOS column before step 11.
MIN_TOKENS = 11


class SequenceState(StrEnum):
    """Where a segment stands. It moves down this list, but for one that was returned."""

    WAITING = "waiting"
    RUNNING = "running"  # in the T2S batch, holds a slot
    DECODING = "decoding"  # all tokens known, audio not yet
    FINISHED = "finished"


@dataclass(eq=False)
class Sequence:
    """One segment: its T2S tokens, then its audio."""

    request: "Request"
    index: int
    text: PhonemizedText
    max_tokens: int
    min_tokens: int = MIN_TOKENS
    state: SequenceState = SequenceState.WAITING
    tokens: list[int] = field(default_factory=list)
    num_to_redraw: int = 0  # of its tokens, after it was returned: they are known already
    num_frames: int = 0  # known once all tokens are
    num_frames_decoded: int = 0
    num_tokens_voiced: int = 0  # tokens that its latest audio was made of
    num_frames_asked: int = 0  # of a window that is being decoded; 0: none is
    pending_pcm: list[bytes] = field(default_factory=list)
    is_heard: bool = False  # its first audio has been sent
    is_silent: bool = True  # all samples decoded so far are zero

    @property
    def key(self) -> tuple[str, int]:
        """Return what names this sequence across scheduler and runner."""
        return self.request.message.request_id, self.index


@dataclass(eq=False)
class Request:
    """An accepted request: what was asked, and how far it is."""

    message: SynthesisRequest
    arrival_s: float
    early_tokens: int = 0  # not 0: its first audio is made of so many
    deadline_s: float | None = None  # by the scheduler's clock
    is_prepared: bool = False
    is_closed: bool = False  # it has ended; results that still come are nobody's
    sequences: list[Sequence] = field(default_factory=list)
    next_waiting: int = 0  # first sequence that has not been admitted
    returned: list[Sequence] = field(default_factory=list)  # had a slot and wait for one again
    next_segment: int = 0  # the segment whose audio goes out next
    num_chunks: int = 0
    num_samples: int = 0
    first_audio_s: float | None = None

    @property
    def request_id(self) -> str:
        """Return the caller's name for this request."""
        return self.message.request_id

    @property
    def num_running(self) -> int:
        """Return how many of its segments hold a slot."""
        active = self.sequences[self.next_segment : self.next_waiting]
        return sum(sequence.state is SequenceState.RUNNING for sequence in active)


@dataclass(frozen=True)
class ModelLimits:
    """What the loaded model and the config allow."""

    num_phonemes: int  # ids below this are known to both models
    max_sequence_length: int
    max_tokens: int
    max_segments: int
    max_auxiliary: int
    can_read_chinese: bool


def check_types(message: SynthesisRequest) -> SynthesisRequest:
    """Return the request with all fields of the types they are declared with.

    What comes off a wire has them; Python callers can put anything into a struct.

    Raises:
        InvalidRequest: names the field, the type it needs and the one it has.
    """
    try:
        fields = msgspec.to_builtins(message, builtin_types=(bytes,), enc_hook=_plain_number)
        return msgspec.convert(fields, SynthesisRequest)
    except (msgspec.ValidationError, TypeError) as error:
        reason, _, place = str(error).partition(" - at ")
        name = place.strip("`").removeprefix("$").removeprefix(".") or "request"
        raise InvalidRequest(f"{name}: {reason}") from error


def _plain_number(value: object) -> int | float:
    """Return the Python number that a number of numpy stands for."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"holds a value of type {type(value).__name__}")


def check_request(message: SynthesisRequest, limits: ModelLimits) -> None:
    """Check everything about a request that needs no tensor.

    Raises:
        InvalidRequest: names the field, the value and the limit.
        TextTooLong: a segment does not fit the model.
        BadReferenceAudio: a recording has a rate, length or number of channels that none has.
    """
    if not message.request_id:
        raise InvalidRequest("request_id: must not be empty")
    if not 0 < len(message.segments) <= limits.max_segments:
        raise InvalidRequest(
            f"segments: {len(message.segments)} given; allowed: 1 to {limits.max_segments}"
        )
    check_range("speed", message.speed, *SPEED_RANGE)
    check_range("noise_scale", message.noise_scale, 0.0, 2.0)
    check_range("segment_pause_s", message.segment_pause_s, 0.0, 10.0)
    check_early_tokens(message.early_tokens)
    if message.timeout_s is not None and not message.timeout_s > 0.0:
        raise InvalidRequest(f"timeout_s: {message.timeout_s} is not above 0")
    check_sampling(message.sampling, limits)
    for index, segment in enumerate(message.segments):
        check_text(f"segments[{index}]", segment, limits)
    if message.reference.prompt_text is not None:
        check_text("reference.prompt_text", message.reference.prompt_text, limits)
    num_auxiliary = len(message.reference.auxiliary)
    if num_auxiliary > limits.max_auxiliary:
        raise InvalidRequest(
            f"reference.auxiliary: {num_auxiliary} recordings; at most {limits.max_auxiliary}"
        )
    check_audio("reference.audio", message.reference.audio)
    for index, audio in enumerate(message.reference.auxiliary):
        check_audio(f"reference.auxiliary[{index}]", audio)


def check_audio(name: str, audio: ReferenceAudio) -> None:
    """Check a recording as far as its samples need not be read."""
    limits = AudioLimits()
    if not limits.min_rate_hz <= audio.rate_hz <= limits.max_rate_hz:
        raise BadReferenceAudio(
            f"{name}: sample rate is {audio.rate_hz} Hz, must be {limits.min_rate_hz} to "
            f"{limits.max_rate_hz} Hz"
        )
    if audio.num_channels < 1 or len(audio.samples) % (4 * audio.num_channels):
        raise BadReferenceAudio(
            f"{name}: {len(audio.samples)} bytes are no float32 samples of "
            f"{audio.num_channels} channels"
        )
    duration_s = len(audio.samples) // (4 * audio.num_channels) / audio.rate_hz
    if duration_s > limits.max_duration_s:
        raise BadReferenceAudio(
            f"{name}: is {duration_s:g} s, must be at most {limits.max_duration_s:g} s"
        )


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ``InvalidRequest`` unless ``low <= value <= high`` (NaN fails)."""
    if not low <= value <= high:
        raise InvalidRequest(f"{name}: {value} is not between {low} and {high}")


def check_early_tokens(early_tokens: int | None) -> None:
    """Check how many tokens a stream's first audio is to be made of."""
    if early_tokens and not LEAST_EARLY_TOKENS <= early_tokens <= MAX_EARLY_TOKENS:
        raise InvalidRequest(
            f"early_tokens: {early_tokens} is neither 0 nor between {LEAST_EARLY_TOKENS} and "
            f"{MAX_EARLY_TOKENS}"
        )


def check_sampling(params: SamplingParams, limits: ModelLimits) -> None:
    """Check the ranges of sampling parameters."""
    if not -(2**63) <= params.seed < 2**63:
        raise InvalidRequest(f"seed: {params.seed} does not fit 64 bits")
    if params.top_k is not None and not 1 <= params.top_k <= MAX_TOP_K:
        where = "below 1" if params.top_k < 1 else f"above {MAX_TOP_K}"
        raise InvalidRequest(f"top_k: {params.top_k} is {where}; leave it out to allow all tokens")
    if not 0.0 < params.top_p <= MAX_TOP_P:
        raise InvalidRequest(f"top_p: {params.top_p} is not above 0 and at most {MAX_TOP_P}")
    check_range("temperature", params.temperature, 0.0, 100.0)
    check_range("repetition_penalty", params.repetition_penalty, MIN_REPETITION_PENALTY, 100.0)
    if params.max_tokens is not None and not 1 <= params.max_tokens <= limits.max_tokens:
        raise InvalidRequest(
            f"max_tokens: {params.max_tokens} is not between 1 and {limits.max_tokens}"
        )


def check_text(name: str, text: PhonemizedText, limits: ModelLimits) -> None:
    """Check one phonemised text: ids known, spans inside, features available."""
    if not text.phone_ids:
        raise InvalidRequest(f"{name}: has no phonemes")
    if len(text.phone_ids) > limits.max_sequence_length:
        raise TextTooLong(
            f"{name}: {len(text.phone_ids)} phonemes; the limit is {limits.max_sequence_length}"
        )
    check_range(f"{name}.lead_pause_s", text.lead_pause_s, 0.0, MAX_PAUSE_S)
    if text.pause_s is not None:
        check_range(f"{name}.pause_s", text.pause_s, 0.0, MAX_PAUSE_S)
    low, high = min(text.phone_ids), max(text.phone_ids)
    if low < 0 or high >= limits.num_phonemes:
        bad = low if low < 0 else high
        raise InvalidRequest(f"{name}: phone id {bad} is not below {limits.num_phonemes}")
    if text.spans and not limits.can_read_chinese:
        raise InvalidRequest(f"{name}: has Chinese spans, but no BERT model is loaded")
    end = 0
    for span in text.spans:
        if len(span.text) != len(span.phonemes_per_character):
            raise InvalidRequest(
                f"{name}: span at phoneme {span.start} has {len(span.text)} characters and "
                f"{len(span.phonemes_per_character)} phoneme counts"
            )
        if min(span.phonemes_per_character, default=0) < 0 or not span.text:
            raise InvalidRequest(f"{name}: span at phoneme {span.start} is empty or negative")
        if span.start < end:
            raise InvalidRequest(f"{name}: span at phoneme {span.start} overlaps the one before")
        end = span.start + sum(span.phonemes_per_character)
        if end > len(text.phone_ids):
            raise InvalidRequest(
                f"{name}: span at phoneme {span.start} ends at {end}, "
                f"past the {len(text.phone_ids)} phonemes"
            )


def num_frames(num_tokens: int, speed: float, frames_per_token: int) -> int:
    """Return the decoder's 50 Hz frames for a segment.

    Source: GPT-SoVITS 48b1a01, module/models.py, TextEncoder.forward (speed interpolation).
    """
    frames = num_tokens * frames_per_token
    return frames if speed == 1 else int(frames / speed) + 1
