import pytest
import torch

from sovits_serve.models.reference.features import reference_mel
from sovits_serve.models.reference.spectrogram import (
    MEL_V3,
    MEL_V4,
    MelSettings,
    linear_spectrogram,
)
from tests.models.reference.golden_reference import load, recorded


@pytest.mark.parametrize("name", recorded("spec"))
def test_linear_spectrogram_equals_upstream(name: str) -> None:
    """The linear spectrogram of every recording is upstream's, within 1e-4 of its maximum."""
    golden = load(name, "spec")

    ours = linear_spectrogram(torch.from_numpy(golden.reference.style_wave)[None])[0]

    assert ours.shape == (1025, golden.values.shape[1])
    assert golden.relative_error(ours[: golden.values.shape[0]]) < 1e-4


@pytest.mark.parametrize(
    ("name", "feature", "settings"),
    [
        *((name, "mel_v3", MEL_V3) for name in recorded("mel_v3")),
        *((name, "mel_v4", MEL_V4) for name in recorded("mel_v4")),
    ],
)
def test_mel_equals_upstream(name: str, feature: str, settings: MelSettings) -> None:
    """Normalised mel bands are upstream's, but for the log of almost no energy.

    The limits are those of the filterbank goldens: rounding of float32 is visible in bands that
    hold nothing (a 16 kHz recording above 8 kHz).
    """
    golden = load(name, feature)

    error = (reference_mel(golden.reference, settings) - golden.values).abs()

    assert error.max() < 2e-3
    assert (error < 1e-4).float().mean() > 0.99


def test_rows_equal_singles() -> None:
    """A spectrogram of two rows holds the spectrograms of the rows."""
    waves = torch.randn(2, 6_400, generator=torch.Generator().manual_seed(0))

    both = linear_spectrogram(waves)

    assert both.shape == (2, 1025, 10)
    torch.testing.assert_close(both[1:], linear_spectrogram(waves[1:]))
