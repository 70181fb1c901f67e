"""Decoding what strangers send, once."""

import asyncio
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sovits_serve.api.recordings import Recordings
from sovits_serve.audio.decode import AudioLimits, Waveform
from sovits_serve.errors import BadReferenceAudio
from tests.api.app_server import recording


def test_decoding_happens_in_a_process_of_its_own() -> None:
    """By default the sandboxed decoder is used, and its errors name the field."""

    async def main() -> None:
        recordings = Recordings()
        try:
            audio = await recordings.from_bytes(recording(), "reference")
            with pytest.raises(BadReferenceAudio, match=r"^auxiliary\[0\]: "):
                await recordings.from_bytes(b"RIFF0000WAVEjunk", "auxiliary[0]")
        finally:
            recordings.close()

        assert (audio.rate_hz, audio.num_channels) == (16_000, 1)
        assert len(audio.samples) == 4 * int(3.5 * 16_000)
        assert len(audio.key) == 64

    asyncio.run(main())


def test_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    """A voice whose recording is gone says so."""

    async def main() -> None:
        recordings = Recordings()
        with pytest.raises(BadReferenceAudio, match="voice anna: cannot be read"):
            await recordings.from_file(tmp_path / "anna.wav", "voice anna")
        recordings.close()

    asyncio.run(main())


def test_a_crowd_reads_a_file_once(tmp_path: Path) -> None:
    """Many who want one voice at the same moment share one copy of its recording, decoded once."""
    path = tmp_path / "anna.wav"
    path.write_bytes(bytes(2 << 20))
    num_decoded = 0

    def decode(data: bytes, limits: AudioLimits) -> Waveform:
        nonlocal num_decoded
        del data, limits
        num_decoded += 1
        return Waveform(np.zeros((1, 16), np.float32), 16_000)

    async def main() -> int:
        recordings = Recordings(decode)
        tracemalloc.start()
        try:
            crowd = [recordings.from_file(path, "voice anna") for _ in range(50)]
            first, *others = await asyncio.gather(*crowd)
            assert all(other is first for other in others)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            recordings.close()

    peak_bytes = asyncio.run(main())

    assert num_decoded == 1
    assert peak_bytes < 30 << 20  # one read takes half of it; 50 copies would be 100 MiB


def test_a_recording_that_decodes_to_too_much_is_refused() -> None:
    """Within the longest duration the rate and the channels still make a difference of megabytes."""

    def decode(data: bytes, limits: AudioLimits) -> Waveform:
        del data, limits
        return Waveform(np.zeros((2, 60 * 192_000), np.float32), 192_000)

    async def main() -> None:
        recordings = Recordings(decode)
        try:
            with pytest.raises(BadReferenceAudio, match=r"^reference: is 92160000 .* 33554432"):
                await recordings.from_bytes(b"anything", "reference")
        finally:
            recordings.close()

    asyncio.run(main())
