"""Bytes to messages and back: a length of 4 bytes, big-endian, then one message in MessagePack.

Only declared, typed structs can come out; anything else raises ``ProtocolError``, after which the
connection is of no more use.
"""

import struct

import msgspec

from sovits_serve.protocol.messages import AnyMessage, Message, SynthesisRequest

MAX_FRAME_BYTES = 64 * 2**20
_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyMessage)
_request_decoder = msgspec.msgpack.Decoder(SynthesisRequest)
# The last two are no errors of msgspec's: a string that is not UTF-8, and too deep nesting.
_DECODING_ERRORS = (
    msgspec.DecodeError,
    msgspec.ValidationError,
    UnicodeDecodeError,
    RecursionError,
)


class ProtocolError(Exception):
    """The other side sent something that is no message of this protocol."""


def encode_body(message: Message) -> bytes:
    """Return a message without its length."""
    return _encoder.encode(message)


def frame(body: bytes) -> bytes:
    """Return an encoded message with its length in front.

    Raises:
        ProtocolError: it is longer than the other side would take.
    """
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a message of {len(body)} bytes; at most {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


def encode(message: Message) -> bytes:
    """Return a message as it goes over a socket."""
    return frame(_encoder.encode(message))


def decode_body(body: bytes | memoryview) -> Message:
    """Return the message of one frame.

    Raises:
        ProtocolError: it is none.
    """
    try:
        message: Message = _decoder.decode(body)
    except _DECODING_ERRORS as error:
        raise ProtocolError(f"not a message: {error}") from error
    return message


def decode_request(body: bytes) -> SynthesisRequest:
    """Return the request that a ``Submit`` carries.

    Raises:
        ProtocolError: it is none.
    """
    try:
        return _request_decoder.decode(body)
    except _DECODING_ERRORS as error:
        raise ProtocolError(f"not a request: {error}") from error


class FrameReader:
    """Cuts a stream of bytes into messages, however the bytes were cut on their way."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self.max_frame_bytes = max_frame_bytes

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes, return the messages that are complete now.

        Raises:
            ProtocolError: a frame is too long or holds no message.
        """
        buffer = self._buffer
        buffer += data
        messages = []
        start, end = 0, len(buffer)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self.max_frame_bytes:
                raise ProtocolError(f"a frame of {length} bytes; at most {self.max_frame_bytes}")
            if end - start - _LENGTH.size < length:
                break
            start += _LENGTH.size
            # A copy: a view would keep the buffer from shrinking while an error holds it.
            messages.append(decode_body(bytes(buffer[start : start + length])))
            start += length
        if start:
            del buffer[:start]
        return messages
