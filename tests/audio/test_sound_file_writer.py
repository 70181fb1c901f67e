import io

import numpy as np
import soundfile

from sovits_serve.audio.sound_file_writer import SoundFileWriter

RATE_HZ = 32_000


def test_long_ogg_in_one_write_survives() -> None:
    """A minute and a half in one call, which would crash libsndfile in one piece, is written."""
    file = io.BytesIO()

    with SoundFileWriter(file, "OGG", RATE_HZ) as writer:
        writer.write(np.zeros(3_000_000, dtype=np.int16))

    assert soundfile.info(io.BytesIO(file.getvalue())).frames == 3_000_000


def test_file_may_begin_in_the_middle_of_another() -> None:
    """Lengths in the header are mended where the audio began, not where the file begins."""
    file = io.BytesIO()
    file.write(b"before")

    with SoundFileWriter(file, "FLAC", RATE_HZ) as writer:
        writer.write(np.arange(10_000, dtype=np.int16))

    assert file.getvalue()[:10] == b"beforefLaC"
    assert soundfile.info(io.BytesIO(file.getvalue()[6:])).frames == 10_000
