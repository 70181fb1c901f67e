"""Decoded audio and the limits on it, shared by everything that reads audio."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Waveform:
    """Decoded audio: float32 (channels, T), finite, at ``rate_hz``."""

    samples: FloatArray
    rate_hz: int

    @property
    def num_channels(self) -> int:
        """Return the number of channels."""
        return int(self.samples.shape[0])

    @property
    def duration_s(self) -> float:
        """Return the length in seconds."""
        return float(self.samples.shape[1] / self.rate_hz)


@dataclass(frozen=True)
class AudioLimits:
    """What a decoder accepts. Bounds memory and time whatever a file's header claims.

    One hour of silence is 0.5 MB of FLAC, so the decoded length is what must be bounded.
    """

    max_bytes: int = 12 * 2**20
    max_duration_s: float = 60.0
    max_channels: int = 2
    min_rate_hz: int = 8_000
    max_rate_hz: int = 192_000
    max_amplitude: float = 8.0
