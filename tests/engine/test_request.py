"""What the engine accepts: every refusal names the field, the value and the limit."""

import msgspec
import numpy as np
import pytest

from sovits_serve.engine.request import ModelLimits, check_request, check_types, num_frames
from sovits_serve.errors import BadReferenceAudio, InvalidRequest, TextTooLong
from sovits_serve.protocol.messages import (
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
    TextSpan,
)

LIMITS = ModelLimits(
    num_phonemes=10,
    max_sequence_length=64,
    max_tokens=100,
    max_segments=3,
    max_auxiliary=2,
    can_read_chinese=True,
)
GOOD = SynthesisRequest(
    "a",
    segments=(PhonemizedText((1, 2, 3, 4), spans=(TextSpan(1, "好啊", (2, 1)),)),),
    reference=Reference(ReferenceAudio(b"", 16000)),
)


def sampling(**changes: object) -> SynthesisRequest:
    """Return GOOD with other sampling parameters."""
    return msgspec.structs.replace(GOOD, sampling=SamplingParams(**changes))  # type: ignore[arg-type]


def text(*ids: int, spans: tuple[TextSpan, ...] = ()) -> SynthesisRequest:
    """Return GOOD with other phonemes."""
    return msgspec.structs.replace(GOOD, segments=(PhonemizedText(ids, spans),))


def with_auxiliary(count: int) -> SynthesisRequest:
    """Return GOOD with auxiliary recordings."""
    reference = msgspec.structs.replace(GOOD.reference, auxiliary=(GOOD.reference.audio,) * count)
    return msgspec.structs.replace(GOOD, reference=reference)


def test_a_good_request_passes() -> None:
    """Nothing is wrong with a plain request."""
    check_request(GOOD, LIMITS)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (msgspec.structs.replace(GOOD, request_id=""), InvalidRequest, "request_id"),
        (msgspec.structs.replace(GOOD, segments=()), InvalidRequest, "segments: 0 .* 1 to 3"),
        (msgspec.structs.replace(GOOD, segments=GOOD.segments * 4), InvalidRequest, "segments: 4"),
        (msgspec.structs.replace(GOOD, speed=0.0), InvalidRequest, "speed: 0.0 .* 0.25 and 4"),
        (msgspec.structs.replace(GOOD, speed=float("nan")), InvalidRequest, "speed: nan"),
        (msgspec.structs.replace(GOOD, noise_scale=-1.0), InvalidRequest, "noise_scale: -1.0"),
        (msgspec.structs.replace(GOOD, segment_pause_s=11.0), InvalidRequest, "segment_pause_s"),
        (
            msgspec.structs.replace(GOOD, early_tokens=7),
            InvalidRequest,
            "early_tokens: 7 is neither",
        ),
        (msgspec.structs.replace(GOOD, timeout_s=0.0), InvalidRequest, "timeout_s: 0.0"),
        (msgspec.structs.replace(GOOD, timeout_s=float("nan")), InvalidRequest, "timeout_s: nan"),
        (with_auxiliary(3), InvalidRequest, "reference.auxiliary: 3 .* 2"),
        (sampling(seed=2**63), InvalidRequest, "seed: .* 64 bits"),
        (sampling(top_k=0), InvalidRequest, "top_k: 0"),
        (sampling(top_k=2**31), InvalidRequest, "top_k: 2147483648"),
        (sampling(top_p=0.0), InvalidRequest, "top_p: 0.0"),
        (sampling(top_p=1.5), InvalidRequest, "top_p: 1.5"),
        (sampling(temperature=-0.1), InvalidRequest, "temperature: -0.1"),
        (sampling(repetition_penalty=0.0), InvalidRequest, "repetition_penalty: 0.0"),
        (sampling(repetition_penalty=float("inf")), InvalidRequest, "repetition_penalty: inf"),
        (sampling(repetition_penalty=1e-39), InvalidRequest, "repetition_penalty: 1e-39 .* 0.01"),
        (sampling(max_tokens=0), InvalidRequest, "max_tokens: 0 .* 1 and 100"),
        (sampling(max_tokens=101), InvalidRequest, "max_tokens: 101"),
        (text(), InvalidRequest, r"segments\[0\]: has no phonemes"),
        (text(1, 10), InvalidRequest, "phone id 10 is not below 10"),
        (text(-1), InvalidRequest, "phone id -1"),
        (text(*[1] * 65), TextTooLong, "65 phonemes; the limit is 64"),
        (text(1, spans=(TextSpan(0, "好", (2,)),)), InvalidRequest, "past the 1 phonemes"),
        (text(1, spans=(TextSpan(0, "好", ()),)), InvalidRequest, "1 characters and 0"),
        (text(1, spans=(TextSpan(0, "", ()),)), InvalidRequest, "empty"),
        (
            text(1, 2, spans=(TextSpan(0, "好", (2,)), TextSpan(1, "好", (1,)))),
            InvalidRequest,
            "overlaps",
        ),
    ],
)
def test_a_bad_request_is_refused(
    request_: SynthesisRequest, error: type[Exception], words: str
) -> None:
    """Each wrong field is refused with a message that names it, its value and the limit."""
    with pytest.raises(error, match=words):
        check_request(request_, LIMITS)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (sampling(top_k=2.5), "sampling.top_k: Expected .*int.*, got `float`"),
        (sampling(top_k=True), "sampling.top_k: Expected .*int.*, got `bool`"),
        (sampling(seed=None), "sampling.seed: Expected `int`, got `null`"),
        (sampling(temperature="1"), "sampling.temperature: Expected `float`, got `str`"),
        (msgspec.structs.replace(GOOD, speed=True), "speed: Expected `float`, got `bool`"),
        (msgspec.structs.replace(GOOD, request_id=5), "request_id: Expected `str`, got `int`"),
        (msgspec.structs.replace(GOOD, reference=None), "reference: Expected `object`, got `null`"),
        (text(1, 2.5), r"segments\[0\].phone_ids\[1\]: Expected `int`"),  # type: ignore[arg-type]
        (text(1, spans=(object(),)), "request: .* object"),  # type: ignore[arg-type]
        ("text", "request: Expected `object`, got `str`"),
    ],
)
def test_a_field_of_another_type_is_refused(request_: SynthesisRequest, words: str) -> None:
    """Python callers can put anything into a field; the refusal names the field and both types."""
    with pytest.raises(InvalidRequest, match=words):
        check_types(request_)


def test_lists_and_numbers_of_numpy_are_taken_as_what_they_mean() -> None:
    """A list serves for a tuple, and numpy's numbers for Python's."""
    text = PhonemizedText([np.int64(1), 2])  # type: ignore[arg-type] # what callers do
    loose = msgspec.structs.replace(GOOD, segments=[text], speed=np.float32(0.5))

    wanted = msgspec.structs.replace(GOOD, segments=(PhonemizedText((1, 2)),), speed=0.5)
    assert check_types(loose) == wanted


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (ReferenceAudio(bytes(4), 0), "rate is 0 Hz, must be 8000 to 192000"),
        (ReferenceAudio(bytes(4), 10**7), "rate is 10000000 Hz"),
        (ReferenceAudio(bytes(4), 16_000, 0), "0 channels"),
        (ReferenceAudio(bytes(3), 16_000), "3 bytes .* 1 channels"),
        (ReferenceAudio(bytes(12), 16_000, 2), "12 bytes .* 2 channels"),
        (ReferenceAudio(bytes(4 * 8_000 * 61), 8_000), "61 s, must be at most 60 s"),
    ],
)
def test_recordings_that_cannot_be_are_refused(audio: ReferenceAudio, words: str) -> None:
    """Rate, channels, bytes and length are checked before any of it is computed with."""
    good = GOOD.reference
    for name, reference in (
        ("reference.audio", Reference(audio)),
        (r"reference.auxiliary\[1\]", Reference(good.audio, None, (good.audio, audio))),
    ):
        with pytest.raises(BadReferenceAudio, match=f"{name}: .*{words}"):
            check_request(msgspec.structs.replace(GOOD, reference=reference), LIMITS)


def test_chinese_spans_need_a_bert_model() -> None:
    """Spans are refused, not silently zeroed, when no BERT model is loaded."""
    limits = ModelLimits(10, 64, 100, 3, 2, can_read_chinese=False)

    with pytest.raises(InvalidRequest, match="no BERT model"):
        check_request(GOOD, limits)


@pytest.mark.parametrize(
    ("tokens", "speed", "frames"),
    [(14, 1.0, 28), (14, 1.3, 22), (14, 0.8, 36), (1, 4.0, 1), (14, 1 - 1e-12, 29)],
)
def test_frames_follow_from_tokens_and_speed(tokens: int, speed: float, frames: int) -> None:
    """Speed 1 keeps two frames a token; any other interpolates to int(T / speed) + 1."""
    assert num_frames(tokens, speed, 2) == frames
