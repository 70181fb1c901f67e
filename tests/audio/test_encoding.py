import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from sovits_serve.audio.decode import decode_audio
from sovits_serve.audio.encoding import (
    AudioFormat,
    AudioWriter,
    check_format,
    make_writer,
    wav_header,
)
from sovits_serve.errors import InvalidRequest

RATE_HZ = 32_000


class Socket:
    """A sink that can only be written to, and fails after a number of bytes."""

    def __init__(self, capacity: int | None = None) -> None:
        self.data = b""
        self.num_writes = 0
        self._capacity = capacity

    def write(self, data: bytes, /) -> int:
        """Take bytes, or fail as a full disk does."""
        if self._capacity is not None and len(self.data) + len(data) > self._capacity:
            raise OSError(28, "No space left on device")
        self.data += data
        self.num_writes += 1
        return len(data)


@pytest.fixture
def samples() -> npt.NDArray[np.int16]:
    """Return 2.5 s of a tone."""
    return (20_000 * np.sin(np.arange(80_000) / 20)).astype(np.int16)


def write_pieces(writer: AudioWriter, samples: npt.NDArray[np.int16], size: int = 6_400) -> None:
    """Write samples piece by piece, and close."""
    with writer:
        for start in range(0, len(samples), size):
            writer.write(samples[start : start + size])


@pytest.mark.parametrize("kind", AudioFormat)
def test_file_holds_what_was_written(
    tmp_path: Path, samples: npt.NDArray[np.int16], kind: AudioFormat
) -> None:
    """A file written in pieces holds every sample, and knows its length and rate."""
    path = tmp_path / f"speech.{kind}"
    with path.open("wb") as file:
        write_pieces(make_writer(file, kind, RATE_HZ), samples)

    read, rate_hz = soundfile.read(path, dtype="int16")

    assert rate_hz == RATE_HZ
    assert len(read) == len(samples)
    tolerance = 1_000 if kind is AudioFormat.OGG else 0
    assert np.abs(read.astype(int) - samples)[1_000:-1_000].max() <= tolerance


@pytest.mark.parametrize("kind", AudioFormat)
def test_socket_gets_a_readable_stream(samples: npt.NDArray[np.int16], kind: AudioFormat) -> None:
    """A sink that cannot seek gets every sample in order, although no length."""
    if kind is AudioFormat.FLAC:
        pytest.importorskip("av")  # libsndfile does not read a flac without a length
    socket = Socket()

    write_pieces(make_writer(socket, kind, RATE_HZ), samples)

    read = decode_audio(socket.data).samples[0] * 32_768
    assert len(read) == len(samples)
    tolerance = 1_000 if kind is AudioFormat.OGG else 0
    assert np.abs(read - samples)[1_000:-1_000].max() <= tolerance


@pytest.mark.parametrize("kind", [AudioFormat.WAV, AudioFormat.FLAC])
def test_bytes_leave_while_writing(samples: npt.NDArray[np.int16], kind: AudioFormat) -> None:
    """The sink has seen most of the audio before the writer is closed."""
    socket = Socket()
    writer = make_writer(socket, kind, RATE_HZ)

    writer.write(samples)

    before_close = len(socket.data)
    writer.close()
    assert before_close > 0.8 * len(socket.data)


@pytest.mark.parametrize("capacity", [10, 5_000])
@pytest.mark.parametrize("kind", AudioFormat)
def test_full_disk_is_an_os_error(
    samples: npt.NDArray[np.int16], kind: AudioFormat, capacity: int
) -> None:
    """An error of the sink, at the header or later, comes out of the writer as it is."""
    with pytest.raises(OSError, match="No space left"):
        write_pieces(make_writer(Socket(capacity), kind, RATE_HZ), samples)


def test_long_ogg_in_one_write_survives() -> None:
    """A minute and a half in one call, which would crash libsndfile in one piece, is written."""
    file = io.BytesIO()

    with make_writer(file, AudioFormat.OGG, RATE_HZ) as writer:
        writer.write(np.zeros(3_000_000, dtype=np.int16))

    assert soundfile.info(io.BytesIO(file.getvalue())).frames == 3_000_000


def test_wav_header_has_44_bytes_and_the_length() -> None:
    """The header is the canonical one, with sizes of the data and of the rest of the file."""
    header = wav_header(RATE_HZ, 1_000)

    assert len(header) == 44
    assert header[:4] + header[8:16] + header[36:40] == b"RIFFWAVEfmt data"
    assert int.from_bytes(header[4:8], "little") == 2_036
    assert int.from_bytes(header[40:44], "little") == 2_000


@pytest.mark.parametrize("num_samples", [None, 2**31])
def test_wav_header_saturates(num_samples: int | None) -> None:
    """A length that is not known, or that 32 bits cannot say, is 0xFFFFFFFF."""
    assert wav_header(RATE_HZ, num_samples)[40:44] == b"\xff" * 4


def test_nothing_written_is_an_empty_wav(tmp_path: Path) -> None:
    """A wav that is closed at once is a valid file without samples."""
    path = tmp_path / "speech.wav"
    with path.open("wb") as file, make_writer(file, AudioFormat.WAV, RATE_HZ):
        pass

    assert path.read_bytes() == wav_header(RATE_HZ, 0)


@pytest.mark.parametrize("name", ["speech.mp3", "speech", "speech.", ".wav"])
def test_unknown_suffix_is_refused(name: str) -> None:
    """A suffix we do not write is refused with the list of those we do."""
    with pytest.raises(InvalidRequest, match=r"\.wav, \.flac, \.ogg"):
        check_format(Path(name))


def test_suffix_may_be_in_capitals() -> None:
    """The case of a suffix does not matter."""
    assert check_format(Path("SPEECH.WAV")) is AudioFormat.WAV
