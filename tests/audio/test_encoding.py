"""What holds for every format that can be written."""

import gc
import io
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from sovits_serve.audio.encoding import (
    AudioFormat,
    AudioWriter,
    ByteSink,
    check_available,
    check_format,
    encode_file,
    make_writer,
    media_type,
)
from sovits_serve.errors import InvalidRequest, UnsupportedFormat
from tests.audio.listening import (
    RATE_HZ,
    find_in,
    listen,
    listen_with_libsndfile,
    voiced_to_the_end,
)

PCM = npt.NDArray[np.int16]
PIECE = RATE_HZ // 5
CODECS = (AudioFormat.MP3, AudioFormat.OPUS, AudioFormat.AAC)
LOSSLESS = (AudioFormat.WAV, AudioFormat.FLAC, AudioFormat.PCM)
# What an encoder may add before and after, in samples at 32 kHz.
PADDING = {AudioFormat.MP3: 3_000, AudioFormat.AAC: 3_000}


class Socket:
    """A sink that can only be written to, and fails after a number of bytes."""

    def __init__(self, capacity: int) -> None:
        self._room = capacity

    def write(self, data: bytes, /) -> int:
        """Take bytes, or fail as a full disk does."""
        self._room -= len(data)
        if self._room < 0:
            raise OSError(28, "No space left on device")
        return len(data)


@pytest.fixture(autouse=True)
def _needs_codecs(request: pytest.FixtureRequest) -> None:
    """Skip formats that need the extra where it is not installed."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("kind") in CODECS:
        pytest.importorskip("av")


@pytest.fixture(scope="module")
def samples() -> PCM:
    """Return a voice that is cut off in the middle of a syllable."""
    return voiced_to_the_end()


def write_pieces(writer: AudioWriter, samples: PCM, size: int = PIECE) -> None:
    """Write samples piece by piece, and close."""
    with writer:
        for start in range(0, len(samples), size):
            writer.write(samples[start : start + size])


def stream(kind: AudioFormat, samples: PCM, size: int = PIECE, rate_hz: int = RATE_HZ) -> bytes:
    """Return what a socket gets of samples that come in pieces."""
    sink = ByteSink()
    write_pieces(make_writer(sink, kind, rate_hz), samples, size)
    return sink.take()


@pytest.mark.parametrize("kind", AudioFormat)
@pytest.mark.parametrize("is_whole", [True, False], ids=["file", "socket"])
def test_all_is_there_to_the_last_moment(samples: PCM, kind: AudioFormat, is_whole: bool) -> None:
    """Length, beginning and the last 200 ms are what was written, up to the codec's padding."""
    if kind is AudioFormat.FLAC and not is_whole:
        pytest.importorskip("av")  # libsndfile does not read a flac without a length
    data = encode_file(samples, kind, RATE_HZ) if is_whole else stream(kind, samples)

    heard = listen(kind, data)

    padding = PADDING.get(kind, 0)
    assert 0 <= len(heard) - len(samples) <= padding
    end = len(samples) - PIECE
    for place in (0, end):
        found, likeness = find_in(heard, samples[place : place + PIECE])
        assert likeness > (0.9999 if kind in LOSSLESS else 0.97)
        assert 0 <= found - place <= padding


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_lose_nothing(samples: PCM, kind: AudioFormat) -> None:
    """wav, flac and pcm hold the very samples."""
    heard = listen(kind, encode_file(samples, kind, RATE_HZ))

    assert np.array_equal(heard.astype(np.int16), samples)


@pytest.mark.parametrize("kind", [kind for kind in AudioFormat if kind is not AudioFormat.OGG])
def test_bytes_leave_with_every_piece(samples: PCM, kind: AudioFormat) -> None:
    """Whoever streams 200 ms at a time sends something each time, from the first on."""
    sink = ByteSink()
    sizes = []
    with make_writer(sink, kind, RATE_HZ) as writer:
        for start in range(0, len(samples), PIECE):
            writer.write(samples[start : start + PIECE])
            sizes.append(len(sink.take()))

    last = len(sink.take())
    assert min(sizes) > 0
    assert last < 0.1 * sum(sizes)


@pytest.mark.parametrize("size", [7, 1_000, PIECE, 10**6])
@pytest.mark.parametrize("kind", [kind for kind in AudioFormat if kind is not AudioFormat.OGG])
def test_bytes_do_not_depend_on_the_pieces(samples: PCM, kind: AudioFormat, size: int) -> None:
    """A stream is the same bytes however the audio came."""
    short = samples[:16_000]

    assert stream(kind, short, size) == stream(kind, short, 640)


@pytest.mark.parametrize("size", [7, 1_000, 10**6])
def test_what_vorbis_sounds_like_does_not_depend_on_the_pieces(samples: PCM, size: int) -> None:
    """An ogg differs in a number that libsndfile draws, and in nothing that is heard."""
    short = samples[:16_000]

    heard = listen_with_libsndfile(stream(AudioFormat.OGG, short, size))

    assert np.array_equal(heard, listen_with_libsndfile(stream(AudioFormat.OGG, short, 640)))


@pytest.mark.parametrize("kind", [AudioFormat.MP3, AudioFormat.OPUS, AudioFormat.AAC])
def test_file_and_socket_get_the_same_bytes(
    samples: PCM, tmp_path: Path, kind: AudioFormat
) -> None:
    """A sink that can seek gets what one gets that cannot."""
    path = tmp_path / "speech"
    with path.open("wb") as file:
        write_pieces(make_writer(file, kind, RATE_HZ), samples)

    assert path.read_bytes() == stream(kind, samples) == encode_file(samples, kind, RATE_HZ)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 24_000, 31_999, 48_000, 96_000])
@pytest.mark.parametrize("kind", AudioFormat)
def test_every_rate_keeps_the_duration(samples: PCM, kind: AudioFormat, rate_hz: int) -> None:
    """Audio of any rate keeps its duration and its end, resampled where the codec must."""
    heard = listen(kind, encode_file(samples, kind, rate_hz), rate_hz)

    padding = PADDING.get(kind, 0) * max(1, 32_000 // rate_hz)
    # Where a codec's rate is not a multiple, the way there and back rounds by a sample each.
    assert -2 <= len(heard) - len(samples) <= max(2, padding)
    _, likeness = find_in(heard, samples[len(samples) - rate_hz // 10 - 100 : -100])
    assert likeness > 0.9


@pytest.mark.parametrize("capacity", [10, 5_000])
@pytest.mark.parametrize("kind", AudioFormat)
def test_full_disk_is_an_os_error(samples: PCM, kind: AudioFormat, capacity: int) -> None:
    """An error of the sink, at the header or later, comes out of the writer as it is."""
    with pytest.raises(OSError, match="No space left") as caught:
        write_pieces(make_writer(Socket(capacity), kind, RATE_HZ), samples)

    assert type(caught.value) is OSError


@pytest.mark.parametrize("kind", AudioFormat)
@pytest.mark.parametrize("length", [0, 1, 100])
def test_next_to_nothing_can_be_written(kind: AudioFormat, length: int) -> None:
    """No samples, or fewer than an encoder's frame, are no error and are not lost."""
    data = encode_file(np.full(length, 5_000, dtype=np.int16), kind, RATE_HZ)

    assert length == 0 or len(listen(kind, data)) >= length


@pytest.mark.parametrize("kind", AudioFormat)
def test_closing_again_writes_nothing(samples: PCM, kind: AudioFormat) -> None:
    """A writer that is closed twice, as a ``with`` around a ``close`` does, ends once."""
    sink = ByteSink()
    with make_writer(sink, kind, RATE_HZ) as writer:
        writer.write(samples)
        writer.close()
        sink.take()

    assert sink.take() == b""


@pytest.mark.parametrize("kind", AudioFormat)
def test_an_abandoned_writer_is_silent(samples: PCM, kind: AudioFormat) -> None:
    """A writer whose client left is dropped without another byte for its sink."""
    sink = ByteSink()
    writer = make_writer(sink, kind, RATE_HZ)
    writer.write(samples[:PIECE])
    sink.take()

    del writer
    gc.collect()

    assert sink.take() == b""


def test_streamed_wav_is_read_by_everyone(samples: PCM) -> None:
    """A wav whose header could not know the length opens in wave, libsndfile and FFmpeg."""
    av = pytest.importorskip("av")
    data = stream(AudioFormat.WAV, samples)

    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        by_wave = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    with av.open(io.BytesIO(data), format="wav") as file:
        frames = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]

    assert np.array_equal(by_wave, samples)
    assert np.array_equal(listen_with_libsndfile(data), samples)
    assert np.array_equal(np.concatenate(frames), samples)


def test_whole_files_know_their_length(samples: PCM) -> None:
    """A complete wav, flac or ogg says how long it is."""
    for kind in (AudioFormat.WAV, AudioFormat.FLAC, AudioFormat.OGG):
        info = soundfile.info(io.BytesIO(encode_file(samples, kind, RATE_HZ)))

        assert (info.frames, info.samplerate, info.channels) == (len(samples), RATE_HZ, 1)


@pytest.mark.parametrize("kind", CODECS)
def test_bitrate_is_obeyed(samples: PCM, kind: AudioFormat) -> None:
    """Twice the bit rate is many more bytes; quiet passages may need less than they are given."""
    small, large = (
        len(encode_file(samples, kind, RATE_HZ, bitrate=rate)) for rate in (32_000, 64_000)
    )

    assert large > 1.4 * small


@pytest.mark.parametrize(("kind", "bitrate"), [("mp3", 7_999), ("opus", 256_001), ("aac", 0)])
def test_impossible_bitrate_is_refused(kind: str, bitrate: int) -> None:
    """A bit rate that the codec does not have is refused with its range."""
    pytest.importorskip("av")

    with pytest.raises(InvalidRequest, match=rf"bitrate: {bitrate} is not between 8000 and \d+"):
        make_writer(ByteSink(), AudioFormat(kind), RATE_HZ, bitrate=bitrate)


@pytest.mark.parametrize("rate_hz", [0, -1, 200_000])
def test_impossible_rate_is_refused(rate_hz: int) -> None:
    """A sample rate that no sound has is refused."""
    with pytest.raises(InvalidRequest, match=f"sample rate: {rate_hz} Hz"):
        make_writer(ByteSink(), AudioFormat.WAV, rate_hz)


@pytest.mark.parametrize("format_name", CODECS)
def test_missing_extra_is_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch, format_name: AudioFormat
) -> None:
    """Without PyAV, mp3, opus and aac say what to install; nothing has been written by then."""
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    sink = ByteSink()

    for ask in (
        lambda: check_available(format_name),
        lambda: check_format(Path(f"speech.{format_name}")),
        lambda: make_writer(sink, format_name, RATE_HZ),
    ):
        with pytest.raises(UnsupportedFormat, match=r"pip install sovits-serve\[codecs\]"):
            ask()
    assert sink.take() == b""


def test_the_rest_needs_no_extra(monkeypatch: pytest.MonkeyPatch, samples: PCM) -> None:
    """Without PyAV, wav, flac, ogg and pcm are written as ever."""
    monkeypatch.setitem(__import__("sys").modules, "av", None)

    for kind in set(AudioFormat) - set(CODECS):
        check_available(kind)
        assert len(encode_file(samples, kind, RATE_HZ)) > 10_000


def test_media_types() -> None:
    """Every format has the name that browsers and players know."""
    assert {kind.value: media_type(kind) for kind in AudioFormat} == {
        "wav": "audio/wav",
        "flac": "audio/flac",
        "ogg": "audio/ogg",
        "mp3": "audio/mpeg",
        "opus": "audio/ogg; codecs=opus",
        "aac": "audio/aac",
        "pcm": "audio/pcm",
    }


@pytest.mark.parametrize("name", ["speech.mp4", "speech", "speech.", ".wav"])
def test_unknown_suffix_is_refused(name: str) -> None:
    """A suffix we do not write is refused with the list of those we do."""
    with pytest.raises(InvalidRequest, match=r"\.wav, \.flac, \.ogg, \.mp3, \.opus, \.aac, \.pcm"):
        check_format(Path(name))


def test_suffix_may_be_in_capitals() -> None:
    """The case of a suffix does not matter."""
    assert check_format(Path("SPEECH.WAV")) is AudioFormat.WAV


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*CODECS, AudioFormat.FLAC, AudioFormat.OGG])
def test_memory_comes_back(samples: PCM, kind: AudioFormat) -> None:
    """2,000 encodes, half of them abandoned, leave no memory behind."""
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("the system does not say how much memory is used")
    sizes_mib = []

    for index in range(2_001):
        writer = make_writer(ByteSink(), kind, RATE_HZ)
        writer.write(samples[:3_200])
        if index % 2:
            writer.close()
        if index % 500 == 0:
            sizes_mib.append(int(status.read_text().split()[1]) / 256)

    assert sizes_mib[-1] - sizes_mib[1] < 3, sizes_mib
