from pathlib import Path

import numpy as np
import pytest

from sovits_serve.audio.encoding import AudioFormat, ByteSink, make_writer
from sovits_serve.audio.plain_writer import PcmWriter, wav_header

RATE_HZ = 32_000


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


def test_pcm_is_little_endian_whatever_came() -> None:
    """Samples of the other byte order are turned."""
    sink = ByteSink()

    PcmWriter(sink).write(np.array([1, -2], dtype=">i2"))

    assert sink.take() == b"\x01\x00\xfe\xff"
