"""What the reference tests share: the recordings, and what upstream computed from them."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor

from sovits_serve.audio.waveform import Waveform
from sovits_serve.models.reference.features import PreparedReference, prepare_reference
from tests.golden import DATA

RECORDINGS = ("ref_a", "ref_b", "ref_c", "ref_loud")


@dataclass(frozen=True)
class Recorded:
    """One array of ``ref_features.npz``, and the prepared recording it belongs to."""

    reference: PreparedReference
    values: Tensor

    def relative_error(self, ours: Tensor) -> float:
        """Return the largest difference over the largest recorded value."""
        return float((ours - self.values).abs().max() / self.values.abs().max())


def load_recording(name: str) -> Waveform:
    """Read a recording without our decoder."""
    samples, rate_hz = soundfile.read(DATA / f"{name}.wav", dtype="float32", always_2d=True)
    return Waveform(np.ascontiguousarray(samples.T), rate_hz)


def recorded(feature: str) -> list[str]:
    """Return the recordings for which a feature was kept."""
    return [name for name in RECORDINGS if f"{name}_{feature}" in _arrays()]


def load(name: str, feature: str) -> Recorded:
    """Return one recorded feature, without its batch axis."""
    values = torch.from_numpy(_arrays()[f"{name}_{feature}"]).float()
    return Recorded(
        prepare_reference(load_recording(name)), values[0] if values.shape[0] == 1 else values
    )


@cache
def _arrays() -> dict[str, npt.NDArray[np.float32]]:
    with np.load(DATA / "ref_features.npz") as arrays:
        return dict(arrays)
