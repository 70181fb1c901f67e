"""Messages to bytes and back, however the bytes are cut; and what is no message."""

import contextlib
import itertools
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.protocol.codec import (
    MAX_FRAME_BYTES,
    FrameReader,
    ProtocolError,
    decode_body,
    decode_request,
    encode,
    encode_body,
    frame,
)
from sovits_serve.protocol.messages import Abort, AnyMessage, Message, SynthesisRequest
from tests.protocol.samples import SAMPLES

_STREAM = b"".join(encode(message) for message in SAMPLES)


def _feed(reader: FrameReader, pieces: list[bytes]) -> list[Message]:
    return list(itertools.chain.from_iterable(reader.feed(piece) for piece in pieces))


def test_there_is_a_sample_of_every_message() -> None:
    """What follows leaves no message out."""
    assert {type(message) for message in SAMPLES} == set(get_args(AnyMessage))


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_round_trips(message: Message) -> None:
    """What is decoded is what was encoded, of the same type."""
    decoded = decode_body(encode_body(message))

    assert decoded == message
    assert type(decoded) is type(message)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(_STREAM)), max_size=60))
def test_cuts_of_the_stream_do_not_matter(cuts: list[int]) -> None:
    """Messages come out whole and in order wherever the stream is cut."""
    borders = [0, *sorted(cuts), len(_STREAM)]
    pieces = [_STREAM[start:end] for start, end in itertools.pairwise(borders)]

    assert _feed(FrameReader(), pieces) == list(SAMPLES)


def test_single_bytes_make_messages() -> None:
    """The worst of all cuts works too."""
    pieces = [_STREAM[index : index + 1] for index in range(len(_STREAM))]

    assert _feed(FrameReader(), pieces) == list(SAMPLES)


def test_too_long_frame_is_refused_by_its_length_alone() -> None:
    """A length beyond the limit ends the reading before any of the frame has come."""
    with pytest.raises(ProtocolError, match=str(MAX_FRAME_BYTES)):
        FrameReader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def test_reader_can_be_stricter() -> None:
    """A stranger may be held to shorter frames."""
    with pytest.raises(ProtocolError, match="at most 16"):
        FrameReader(max_frame_bytes=16).feed(encode(SAMPLES[0]))


def test_too_long_message_is_not_sent() -> None:
    """A message that the other side would refuse is refused here."""
    with pytest.raises(ProtocolError, match=str(MAX_FRAME_BYTES)):
        frame(bytes(MAX_FRAME_BYTES + 1))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_garbage_raises_nothing_but_protocol_errors(data: bytes) -> None:
    """Any bytes are messages or a ProtocolError."""
    with contextlib.suppress(ProtocolError):
        decode_body(data)
    with contextlib.suppress(ProtocolError):
        FrameReader().feed(data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.integers(0, 10_000), st.integers(0, 255))
def test_flipped_bytes_raise_nothing_but_protocol_errors(
    message: Message, place: int, value: int
) -> None:
    """One wrong byte gives a message of a declared type or a ProtocolError."""
    body = bytearray(encode_body(message))
    body[place % len(body)] = value

    try:
        decoded = decode_body(bytes(body))
    except ProtocolError:
        return
    assert isinstance(decoded, get_args(AnyMessage))


@pytest.mark.parametrize("depth", [1000, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    """Arrays in arrays do not overflow the stack."""
    with pytest.raises(ProtocolError):
        decode_body(b"\x91" * depth + b"\xc0")


def test_payload_must_be_a_request() -> None:
    """A Submit's payload is a SynthesisRequest and no other message."""
    request = SAMPLES[0]
    assert isinstance(request, SynthesisRequest)

    assert decode_request(encode_body(request)) == request
    with pytest.raises(ProtocolError):
        decode_request(encode_body(Abort("id")))


@pytest.mark.parametrize("decode", [decode_body, decode_request])
def test_what_is_nested_too_deep_is_no_message(decode: Callable[[bytes], Message]) -> None:
    """Also in a field that nobody knows, which is skipped."""
    head = b"\x83\xa4type\xb0SynthesisRequest\xaarequest_id\xa1x\xa3new"
    with pytest.raises(ProtocolError, match="recursion"):
        decode(head + b"\x91" * 100_000 + b"\xc0")
