from collections.abc import Callable

import numpy as np
import pytest
import torch

from sovits_serve.audio.waveform import Waveform
from sovits_serve.errors import BadReferenceAudio
from sovits_serve.models.reference.features import (
    PreparedReference,
    ReferenceEncoder,
    ReferenceRules,
    prepare_reference,
)
from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from tests.golden import DATA
from tests.models.reference.golden_reference import load, recorded


@pytest.fixture
def make_waveform() -> Callable[..., Waveform]:
    """Return a maker of noise of a given length, rate, peak and number of channels."""

    def make(
        duration_s: float, rate_hz: int = 16_000, *, peak: float = 0.5, num_channels: int = 1
    ) -> Waveform:
        shape = (num_channels, round(duration_s * rate_hz))
        samples = np.random.default_rng(0).uniform(-1, 1, shape)
        return Waveform((peak * samples).astype(np.float32), rate_hz)

    return make


@pytest.mark.parametrize("name", recorded("a16"))
def test_speaker_signal_equals_upstream(name: str) -> None:
    """The signal for the speaker encoder is upstream's, within 1e-4 of its maximum."""
    golden = load(name, "a16")

    assert golden.relative_error(torch.from_numpy(golden.reference.speaker_wave)) < 1e-4


@pytest.mark.parametrize("name", recorded("librosa16"))
def test_hubert_signal_equals_upstream(name: str) -> None:
    """HuBERT's signal is upstream's, with 9600 zeros behind it."""
    golden = load(name, "librosa16")

    signal = golden.reference.ssl_wave

    assert signal is not None
    assert signal[-9600:].tolist() == [0.0] * 9600
    assert golden.relative_error(torch.from_numpy(signal[:-9600])) < 1e-4


@pytest.mark.parametrize(
    ("duration_s", "says"),
    [
        (2.1, "reference is 2.1 s; needs 3 to 10 s"),
        (2.9999, "reference is 2.99994 s; needs 3 to 10 s"),
        (10.001, "reference is 10.00100 s; needs 3 to 10 s"),
        (31, "reference is 31 s; needs 3 to 10 s"),
    ],
)
def test_wrong_length_is_refused(
    make_waveform: Callable[..., Waveform], duration_s: float, says: str
) -> None:
    """A reference outside 3 to 10 s is refused with its length and both limits."""
    with pytest.raises(BadReferenceAudio) as caught:
        prepare_reference(make_waveform(duration_s, 20_000))

    assert caught.value.message == says


@pytest.mark.parametrize("duration_s", [3, 10])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_both_limits_are_allowed(
    make_waveform: Callable[..., Waveform], duration_s: float, rate_hz: int
) -> None:
    """Exactly 3 s and exactly 10 s are accepted at any rate."""
    signal = prepare_reference(make_waveform(duration_s, rate_hz)).ssl_wave

    assert signal is not None
    assert len(signal) == duration_s * 16_000 + 9600


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_101])
def test_too_long_is_trimmed_by_setting(
    make_waveform: Callable[..., Waveform], rate_hz: int
) -> None:
    """With ``trim`` only the first 10 s of a longer reference count, for every signal."""
    waveform = make_waveform(12, rate_hz)
    first = Waveform(waveform.samples[:, : 10 * rate_hz], rate_hz)

    trimmed = prepare_reference(waveform, ReferenceRules(trim=True))

    expected = prepare_reference(first)
    np.testing.assert_array_equal(trimmed.ssl_wave, expected.ssl_wave)
    np.testing.assert_array_equal(trimmed.style_wave, expected.style_wave)


def test_too_short_is_refused_although_trimming(make_waveform: Callable[..., Waveform]) -> None:
    """``trim`` does not stretch a short reference."""
    with pytest.raises(BadReferenceAudio, match="needs 3 to 10 s"):
        prepare_reference(make_waveform(2), ReferenceRules(trim=True))


@pytest.mark.parametrize("duration_s", [0.5, 25])
def test_auxiliary_reference_may_have_any_length(
    make_waveform: Callable[..., Waveform], duration_s: float
) -> None:
    """An auxiliary reference of any length gives a style signal and nothing for HuBERT."""
    prepared = prepare_reference(make_waveform(duration_s), is_auxiliary=True)

    assert prepared.ssl_wave is None
    assert len(prepared.style_wave) == duration_s * 32_000


@pytest.mark.parametrize(("samples", "says"), [(0, "0.000 s"), (500, "0.031 s")])
def test_empty_auxiliary_is_refused(samples: int, says: str) -> None:
    """An auxiliary reference too short for one spectrogram frame is refused."""
    waveform = Waveform(np.ones((1, samples), dtype=np.float32), 16_000)

    with pytest.raises(BadReferenceAudio, match=says):
        prepare_reference(waveform, is_auxiliary=True)


def test_silence_is_refused(make_waveform: Callable[..., Waveform]) -> None:
    """A reference without sound is refused as silent."""
    with pytest.raises(BadReferenceAudio, match="silent"):
        prepare_reference(make_waveform(4, peak=0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(
    make_waveform: Callable[..., Waveform], value: float
) -> None:
    """One sample that is no number refuses the reference, before it can spoil a cached style."""
    waveform = make_waveform(4, 32_000)
    waveform.samples[0, 100] = value

    with pytest.raises(BadReferenceAudio, match="not finite"):
        prepare_reference(waveform)


@pytest.mark.parametrize(("peak", "expected"), [(0.9, 0.9), (1.5, 1.0), (6.0, 3.0)])
def test_peaks_are_limited_by_at_most_two(
    make_waveform: Callable[..., Waveform], peak: float, expected: float
) -> None:
    """A peak over 1 is divided by itself, but never by more than 2."""
    waveform = make_waveform(4, 32_000)
    waveform.samples[0, 100] = peak

    assert np.abs(prepare_reference(waveform).style_wave).max() == pytest.approx(expected)


def test_channels_are_averaged(make_waveform: Callable[..., Waveform]) -> None:
    """Two channels give the signals of their mean."""
    stereo = make_waveform(4, num_channels=2)
    mono = Waveform(stereo.samples.mean(axis=0, keepdims=True), stereo.rate_hz)

    np.testing.assert_array_equal(
        prepare_reference(stereo).style_wave, prepare_reference(mono).style_wave
    )


def test_encoder_keeps_rows_apart(make_waveform: Callable[..., Waveform]) -> None:
    """References and auxiliary references encode together as they do alone, in order."""
    recipe = Recipe.read(DATA / "hubert_tiny.weights.json")
    hubert = HubertEncoder.from_weights(
        recipe.config, DictWeights(recipe.build()), device="cpu", dtype=torch.float32
    )
    encoder = ReferenceEncoder(hubert, None)
    references: list[PreparedReference] = [
        prepare_reference(make_waveform(3)),
        prepare_reference(make_waveform(1), is_auxiliary=True),
        prepare_reference(make_waveform(4)),
    ]

    features = encoder.encode(references)

    assert [item.ssl_features is None for item in features] == [False, True, False]
    for item, reference in zip(features, references, strict=True):
        alone = encoder.encode([reference])[0]
        assert torch.equal(item.spectrogram, alone.spectrogram)
        torch.testing.assert_close(item.ssl_features, alone.ssl_features, rtol=0, atol=1e-5)
