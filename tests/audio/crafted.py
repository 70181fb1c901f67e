"""Audio files for the tests: honest ones in every format, and wav files with chosen lies."""

import io
import struct

import numpy as np
import numpy.typing as npt
import soundfile

FloatArray = npt.NDArray[np.float32]


def tone(duration_s: float = 0.5, rate_hz: int = 16_000, num_channels: int = 1) -> FloatArray:
    """Return a 220 Hz tone, float32 (T, channels)."""
    time = np.arange(round(duration_s * rate_hz)) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * 220 * time)
    return np.repeat(wave[:, None], num_channels, axis=1).astype(np.float32)


def encode(samples: FloatArray, rate_hz: int, kind: str, subtype: str | None = None) -> bytes:
    """Encode with libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def encode_with_av(
    kind: str, codec: str, *, rate_hz: int = 48_000, duration_s: float = 0.5
) -> bytes:
    """Encode a tone with FFmpeg."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        samples = tone(duration_s, rate_hz)[:, 0]
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(
                samples[None, start : start + 1024], format="fltp", layout="mono"
            )
            frame.rate, frame.pts = rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def wav(
    data: bytes = bytes(8_000),
    *,
    rate_hz: int = 16_000,
    num_channels: int = 1,
    bits: int = 16,
    kind: int = 1,
    data_size: int | None = None,
) -> bytes:
    """Return a wav file that says what it is told to say. ``kind`` 1 is integers, 3 floats."""
    block = num_channels * bits // 8 % 65_536
    fields = (kind, num_channels, rate_hz, rate_hz * block % 2**32, block, bits)
    size = len(data) if data_size is None else data_size
    body = b"fmt " + struct.pack("<IHHIIHH", 16, *fields) + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(4 + len(body), 2**32 - 1)) + b"WAVE" + body


def float_wav(*values: float) -> bytes:
    """Return a float32 wav file of half a second that begins with the given samples."""
    samples = np.zeros(8_000, dtype="<f4")
    samples[: len(values)] = values
    return wav(samples.tobytes(), bits=32, kind=3)
