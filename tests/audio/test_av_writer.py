import numpy as np
import pytest

from sovits_serve.audio.av_writer import AAC, MP3, OPUS, AvWriter, Codec, check_codec, nearest_rate
from sovits_serve.audio.encoding import ByteSink
from sovits_serve.errors import UnsupportedFormat

pytest.importorskip("av")


def ogg_serials(data: bytes) -> set[bytes]:
    """Return the serial numbers of all pages."""
    return {page[10:14] for page in data.split(b"OggS")[1:]}  # after version, flags and time


def opus(samples: np.typing.NDArray[np.int16]) -> bytes:
    """Return samples as opus."""
    sink = ByteSink()
    with AvWriter(sink, OPUS, 48_000) as writer:
        writer.write(samples)
    return sink.take()


@pytest.mark.parametrize(
    ("codec", "rate_hz", "nearest"),
    [
        (OPUS, 24_000, 48_000),
        (OPUS, 96_000, 48_000),
        (MP3, 32_000, 32_000),
        (MP3, 31_999, 32_000),
        (MP3, 96_000, 48_000),
        (AAC, 96_000, 96_000),
        (AAC, 1, 8_000),
    ],
)
def test_rate_is_the_lowest_that_loses_nothing(codec: Codec, rate_hz: int, nearest: int) -> None:
    """A rate that the codec does not know becomes the next higher one, or the highest."""
    assert nearest_rate(rate_hz, codec.rates_hz) == nearest


def test_two_opus_streams_can_follow_each_other() -> None:
    """Different speech has a different serial number, the same speech the same one."""
    noise = np.random.default_rng(0).integers(-99, 99, 9_600).astype(np.int16)

    first, again, other = opus(noise), opus(noise), opus(noise[1:])

    assert first == again
    assert len(ogg_serials(first)) == 1
    assert ogg_serials(first) != ogg_serials(other)


def test_mp3_begins_with_a_frame() -> None:
    """No tag or index stands before the audio: they would be wrong for a stream."""
    sink = ByteSink()
    with AvWriter(sink, MP3, 32_000) as writer:
        writer.write(np.zeros(6_400, dtype=np.int16))

    data = sink.take()
    assert data[0] == 0xFF
    assert data[1] & 0xE0 == 0xE0
    assert not {mark for mark in (b"ID3", b"Xing", b"Info") if mark in data[:200]}


def test_an_ffmpeg_without_the_encoder_is_named() -> None:
    """An FFmpeg built without a codec is an error that names the codec, not a crash."""
    with pytest.raises(UnsupportedFormat, match="silk needs FFmpeg's libsilk"):
        check_codec("silk", Codec("libsilk", "silk", (8_000,), 8_000, 8_000))
