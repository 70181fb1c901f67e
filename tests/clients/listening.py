"""What a client hears: decoders that are not the server's, and how exact each format is."""

import io

import av
import numpy as np
import numpy.typing as npt
import soundfile

Pcm = npt.NDArray[np.int16]
# How much longer or shorter than the speech a file may be, in seconds: frames of the codec, and
# what its decoder needs to begin.
SLACK_S = {"wav": 0.0, "raw": 0.0, "pcm": 0.0, "flac": 0.0, "ogg": 0.0}
_LOSSY_SLACK_S = 0.15


def with_ffmpeg(data: bytes) -> tuple[Pcm, int]:
    """Return what FFmpeg makes of a file or of a stream that was saved: samples and their rate."""
    with av.open(io.BytesIO(data), mode="r") as container:
        resampler = av.AudioResampler(format="s16", layout="mono")
        pieces = [
            piece.to_ndarray().ravel()
            for frame in [*container.decode(audio=0), None]
            for piece in resampler.resample(frame)
        ]
        return np.concatenate(pieces), container.streams.audio[0].rate


def with_libsndfile(data: bytes) -> tuple[Pcm, int]:
    """Return what Python's soundfile, which many clients use, makes of a file."""
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="int16")
    return np.asarray(samples, dtype=np.int16), rate_hz


def check_length(kind: str, num_samples: int, rate_hz: int, expected_s: float) -> None:
    """Check that audio is as long as what was said."""
    assert expected_s > 0.3, "too short to tell"
    slack_s = SLACK_S.get(kind, _LOSSY_SLACK_S)
    heard_s = num_samples / rate_hz
    assert abs(heard_s - expected_s) <= slack_s + 1 / rate_hz, (kind, heard_s, expected_s)
