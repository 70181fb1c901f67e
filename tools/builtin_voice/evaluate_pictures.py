"""Pictures: spectrograms of the teacher (left) and ours (right), as grey PNG files.

Time goes right, 10 ms a pixel, frequency up, 0 to 8 kHz; black is the loudest (high frequencies lifted), white 60 dB below.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tools.builtin_voice.measures import RATE_HZ, FloatArray

_FFT, _HOP = 512, 160
_RANGE_DB = 60
_PRE_EMPHASIS = 0.97  # lifts what speech has little of, so that it is seen
_NUM_GREYS = 32  # more make the files larger and say no more
_GAP = 12

GreyImage = npt.NDArray[np.uint8]


def write_comparison(path: Path, teacher: FloatArray, ours: FloatArray) -> None:
    """Write the picture of two recordings at 16 kHz."""
    images = (spectrogram(teacher), spectrogram(ours))
    gap = np.full((images[0].shape[0], _GAP), 255, dtype=np.uint8)
    path.write_bytes(encode_png(np.concatenate((images[0], gap, images[1]), axis=1)))


def spectrogram(samples: FloatArray) -> GreyImage:
    """Return the picture of one recording, (257, F), the highest frequency first."""
    brighter = np.append(samples[:1], samples[1:] - _PRE_EMPHASIS * samples[:-1])
    padded = np.pad(brighter, (_FFT // 2, _FFT))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    power = np.abs(np.fft.rfft(frames[: max(1, len(samples) // _HOP)] * np.hanning(_FFT))) ** 2
    level_db = 10 * np.log10(power / max(float(power.max()), 1e-20) + 1e-12)
    darkness = np.clip(1 + level_db / _RANGE_DB, 0, 1).T[::-1]
    steps = np.round((1 - darkness) * (_NUM_GREYS - 1)) / (_NUM_GREYS - 1)
    _mark_kilohertz(steps)
    return np.asarray(np.round(255 * steps), dtype=np.uint8)


def _mark_kilohertz(image: FloatArray) -> None:
    """Draw a short mark at each kilohertz on the left edge."""
    bins = image.shape[0] - 1
    for kilohertz in range(1, RATE_HZ // 2000):
        image[bins - round(kilohertz * 2000 / RATE_HZ * bins), :4] = 0


def encode_png(image: GreyImage) -> bytes:
    """Return a grey image (H, W) as a PNG file."""
    height, width = image.shape
    lines = np.concatenate((np.zeros((height, 1), dtype=np.uint8), image), axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(kind, data) for kind, data in parts)


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
