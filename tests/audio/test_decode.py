import io
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.audio.containers import CONTAINERS
from sovits_serve.audio.decode import AudioLimits, decode_audio
from sovits_serve.audio.decoders import UndecodableAudio, decode_with
from sovits_serve.errors import BadReferenceAudio
from tests.audio.crafted import encode, encode_with_av, float_wav, tone, wav


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 2e-2),
        ("RF64", "PCM_16", 1e-4),
        ("AIFF", "PCM_16", 1e-4),
        ("CAF", "PCM_16", 1e-4),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 5e-2),
        ("OGG", "OPUS", 5e-2),
    ],
)
@pytest.mark.parametrize("num_channels", [1, 2])
def test_formats_of_libsndfile(
    kind: str, subtype: str, tolerance: float, num_channels: int
) -> None:
    """Every format of libsndfile gives the encoded samples back, channels first."""
    samples = tone(num_channels=num_channels)

    waveform = decode_audio(encode(samples, 16_000, kind, subtype))

    assert waveform.rate_hz == 16_000
    assert waveform.samples.dtype == np.float32
    assert waveform.samples.shape == samples.T.shape
    error = np.abs(waveform.samples - samples.T)[:, 1_000:-1_000]  # lossy codecs ring at the ends
    assert error.max() <= tolerance


def test_mp3() -> None:
    """An mp3 decodes to the encoded length and loudness."""
    waveform = decode_audio(encode(tone(), 16_000, "MP3"))

    assert waveform.samples.shape == (1, 8_000)
    assert np.abs(waveform.samples).max() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("ipod", "aac"), ("mp4", "aac"), ("adts", "aac"), ("webm", "libopus"), ("matroska", "flac")],
)
def test_formats_of_ffmpeg(kind: str, codec: str) -> None:
    """What only FFmpeg reads decodes to the encoded loudness, within a codec frame of the length."""
    pytest.importorskip("av")

    waveform = decode_audio(encode_with_av(kind, codec))

    assert waveform.rate_hz == 48_000
    assert abs(waveform.samples.shape[1] - 24_000) <= 2_048
    assert np.abs(waveform.samples[:, 4_000:20_000]).max() == pytest.approx(0.3, abs=0.05)


def test_unknown_codec_is_refused() -> None:
    """A codec that neither decoder knows is refused."""
    pytest.importorskip("av")

    with pytest.raises(BadReferenceAudio, match="ffmpeg: is in a codec that is not known"):
        decode_audio(wav(kind=0x5A5A))


def test_flac_of_unknown_length() -> None:
    """A flac that was streamed, and so does not know its length, decodes through FFmpeg."""
    pytest.importorskip("av")
    data = bytearray(encode(tone(), 16_000, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # the 36 bits of STREAMINFO that count samples

    assert decode_audio(bytes(data)).samples.shape == (1, 8_000)


def test_wav_of_unknown_length() -> None:
    """A wav that was streamed, with 0xFFFFFFFF for its length, is read to its end."""
    assert decode_audio(wav(bytes(8_000), data_size=2**32 - 1)).samples.shape == (1, 4_000)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"<!doctype html><title>404</title>", "no audio file"),
        (bytes(5_000), "no audio file"),
        (np.random.default_rng(0).bytes(5_000), "no audio file"),
        (b"RIFF", "no audio file"),
        (wav()[:20], "cannot be read as wav"),
        (wav(b""), "is 0 s, must be more than 0"),
        (b"fLaC" + bytes(100), "cannot be read as flac"),
        (b"OggS" + bytes(100), "cannot be read as ogg"),
        (b"ID3" + bytes(100), "cannot be read as mp3"),
        (encode(tone(), 16_000, "FLAC")[:1_000], "cannot be read as flac"),
        (wav(num_channels=0), "cannot be read as wav"),
        (wav(num_channels=65_535), "reference audio"),
        (wav(rate_hz=0), "reference audio"),
        (wav(rate_hz=10**9), "sample rate is 1000000000 Hz, must be 8000 to 192000 Hz"),
        (wav(rate_hz=7_999), "sample rate is 7999 Hz, must be 8000"),
        (wav(num_channels=3), "has 3 channels, must be 1 to 2"),
        (float_wav(0, np.nan), "not finite"),
        (float_wav(0, np.inf), "not finite"),
        (float_wav(0, -np.inf), "not finite"),
        (float_wav(0, 3e38), r"peak is 3e\+38, must be at most 8"),
        (float_wav(0, -8.5), r"peak is 8\.5, must be at most 8"),
    ],
)
def test_bad_data_is_refused(data: bytes, says: str) -> None:
    """Damaged files, lies and things that are no audio are refused with field, value and limit."""
    with pytest.raises(BadReferenceAudio, match=says):
        decode_audio(data)


def test_message_names_no_address() -> None:
    """libsndfile's message comes without the address of the object it was reading."""
    with pytest.raises(BadReferenceAudio) as caught:
        decode_audio(wav()[:20])

    assert "0x" not in caught.value.message


def test_too_many_bytes_are_refused() -> None:
    """A file over the byte limit is refused with both numbers, before it is looked at."""
    with pytest.raises(BadReferenceAudio, match="is 8044 bytes, must be at most 8000"):
        decode_audio(wav(), AudioLimits(max_bytes=8_000))


def test_many_channels_at_a_high_rate_are_refused() -> None:
    """An 8-channel FLAC at 655350 Hz, 3751 times its size once decoded, is refused."""
    data = encode(np.zeros((65_535, 8), dtype=np.float32), 655_350, "FLAC")

    with pytest.raises(BadReferenceAudio, match="has 8 channels"):
        decode_audio(data)


def test_an_hour_of_silence_is_refused_in_bounded_memory() -> None:
    """A FLAC bomb stops at the length limit: nothing near its 115 MB is ever allocated."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8_000, 1, format="FLAC") as writer:
        for _ in range(60):
            writer.write(np.zeros(60 * 8_000, dtype=np.int16))
    tracemalloc.start()

    with pytest.raises(BadReferenceAudio, match="longer than 60 s"):
        decode_audio(file.getvalue())

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.parametrize(
    "make",
    [lambda: encode(tone(2), 16_000, "WAV"), lambda: encode_with_av("mp4", "aac", duration_s=2)],
)
def test_length_limit_holds_in_both_decoders(make: Callable[[], bytes]) -> None:
    """A file longer than the limit is refused, whoever decodes it."""
    pytest.importorskip("av")

    with pytest.raises(BadReferenceAudio, match=r"longer than 1\.5 s"):
        decode_audio(make(), AudioLimits(max_duration_s=1.5))


def test_exactly_the_longest_length_is_accepted() -> None:
    """The limit itself is allowed."""
    limits = AudioLimits(max_duration_s=0.5)

    assert decode_audio(encode(tone(0.5), 16_000, "WAV"), limits).duration_s == 0.5


def test_missing_ffmpeg_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyAV a format that needs it is refused, naming the extra to install."""
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(BadReferenceAudio, match=r"sovits-serve\[codecs\]"):
        decode_audio(b"\0\0\0\x1cftypM4A " + bytes(100))


def test_missing_ffmpeg_leaves_wav_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyAV everything that libsndfile reads still works."""
    monkeypatch.setitem(sys.modules, "av", None)

    assert decode_audio(wav()).samples.shape == (1, 4_000)


PLAYLISTS = [
    b"ffconcat version 1.0\nfile secret.wav\n",
    b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:9,\nsecret.wav\n#EXT-X-ENDLIST\n",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
]


@pytest.mark.parametrize("data", PLAYLISTS)
@pytest.mark.parametrize("container", ["mp4", "webm", "aac", "wav"])
def test_playlists_open_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, container: str
) -> None:
    """Bytes that name another file never make FFmpeg open it, even where we were mistaken."""
    pytest.importorskip("av")
    (tmp_path / "secret.wav").write_bytes(wav())
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BadReferenceAudio, match="no audio file"):
        decode_audio(data)
    with pytest.raises(UndecodableAudio):
        decode_with("ffmpeg", data, CONTAINERS[container], AudioLimits())


HONEST = {
    "wav": encode(tone(0.1), 16_000, "WAV"),
    "float wav": encode(tone(0.1), 16_000, "WAV", "FLOAT"),
    "flac": encode(tone(0.1), 16_000, "FLAC"),
    "ogg": encode(tone(0.1), 16_000, "OGG"),
    "mp3": encode(tone(0.1), 16_000, "MP3"),
}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(HONEST)),
    changes=st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 4_000),
)
def test_damaged_files_are_refused_or_within_limits(
    kind: str, changes: list[tuple[int, int]], cut: int
) -> None:
    """Files with changed and missing bytes are refused cleanly or give samples within limits."""
    data = bytearray(HONEST[kind])
    for position, value in changes:
        data[position % len(data)] = value
    try:
        waveform = decode_audio(bytes(data[: len(data) - cut % len(data)]))
    except BadReferenceAudio:
        return

    assert np.isfinite(waveform.samples).all()
    assert np.abs(waveform.samples).max() <= 8
    assert waveform.duration_s <= 60
