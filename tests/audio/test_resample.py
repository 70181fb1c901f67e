import numpy as np
import numpy.typing as npt
import pytest

from sovits_serve.audio.resample import (
    PcmResampler,
    resample_pcm,
    sinc_resample,
    soxr_resample,
)


def tone(duration_s: float, rate_hz: int) -> npt.NDArray[np.float32]:
    """Return a 440 Hz tone."""
    time = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.sin(2 * np.pi * 440 * time).astype(np.float32)


def dense_resample(
    samples: npt.NDArray[np.float32], step: int, phases: int
) -> npt.NDArray[np.float64]:
    """Resample by the definition: every output is a sum over all inputs."""
    cutoff = min(step, phases) * 0.99
    position = np.arange(-(-len(samples) * phases // step))[:, None] / phases
    time = (np.arange(len(samples)) / step - position) * cutoff
    window = np.where(np.abs(time) < 6, np.cos(time * np.pi / 12) ** 2, 0)
    return (np.sinc(time) * window * cutoff / step) @ samples.astype(np.float64)


@pytest.mark.parametrize(("step", "phases"), [(441, 320), (2, 1), (1, 2), (2, 3), (101, 7), (1, 5)])
def test_sinc_equals_its_definition(step: int, phases: int) -> None:
    """The sparse taps give what the full sum over all samples gives."""
    samples = np.random.default_rng(0).uniform(-1, 1, 777).astype(np.float32)

    resampled = sinc_resample(samples, step * 100, phases * 100)

    np.testing.assert_allclose(resampled, dense_resample(samples, step, phases), rtol=0, atol=2e-6)


@pytest.mark.parametrize("resample", [sinc_resample, soxr_resample])
@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(44_100, 32_000), (8_000, 16_000), (44_101, 32_000), (48_000, 16_000)]
)
def test_tone_stays_the_same_tone(resample: object, from_hz: int, to_hz: int) -> None:
    """A tone resampled is that tone at the new rate, rounded up in length."""
    assert callable(resample)

    resampled = resample(tone(0.5, from_hz), from_hz, to_hz)

    expected = tone(1.0, to_hz)[: -(-round(0.5 * from_hz) * to_hz // from_hz)]
    assert resampled.dtype == np.float32
    assert resampled.shape == expected.shape
    np.testing.assert_allclose(resampled[500:-500], expected[500:-500], rtol=0, atol=1e-2)


@pytest.mark.parametrize("resample", [sinc_resample, soxr_resample])
def test_same_rate_changes_nothing(resample: object) -> None:
    """Equal rates return the samples as they are."""
    assert callable(resample)

    samples = tone(0.1, 16_000)

    assert resample(samples, 16_000, 16_000) is samples


def test_leading_axes_are_kept() -> None:
    """Channels are resampled apart."""
    samples = np.stack([tone(0.1, 16_000), -tone(0.1, 16_000)])

    resampled = sinc_resample(samples, 16_000, 24_000)

    np.testing.assert_array_equal(resampled[0], sinc_resample(samples[0], 16_000, 24_000))
    np.testing.assert_array_equal(resampled[0], -resampled[1])


@pytest.mark.parametrize("num_samples", [0, 1, 2, 7])
def test_very_short_signals_have_the_right_length(num_samples: int) -> None:
    """Signals shorter than the filter give the rounded-up number of samples."""
    samples = np.ones(num_samples, dtype=np.float32)

    assert sinc_resample(samples, 44_100, 32_000).shape == (-(-num_samples * 320 // 441),)


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(32_000, 24_000), (24_000, 48_000), (44_100, 8_000)]
)
@pytest.mark.parametrize("size", [1, 320, 6_400])
def test_pcm_in_pieces_is_pcm_at_once(from_hz: int, to_hz: int, size: int) -> None:
    """Resampling piece by piece gives the very samples of resampling the whole, to the last."""
    samples = np.random.default_rng(1).integers(-20_000, 20_000, 10_001).astype(np.int16)
    resampler = PcmResampler(from_hz, to_hz)

    pieces = [
        resampler.process(samples[start : start + size]) for start in range(0, len(samples), size)
    ]
    streamed = np.concatenate((*pieces, resampler.finish()))

    assert np.array_equal(streamed, resample_pcm(samples, from_hz, to_hz))
    assert abs(len(streamed) - len(samples) * to_hz / from_hz) <= 1


def test_resampled_pcm_saturates() -> None:
    """A square wave at full scale overshoots when it is filtered, and must not wrap around."""
    square = np.where(np.arange(3_200) // 40 % 2, 32_767, -32_768).astype(np.int16)

    resampled = resample_pcm(square, 32_000, 48_000)

    middle = resampled[30:90].astype(int) * np.sign(resampled[60])
    assert resampled.max() == 32_767
    assert middle.min() > 0 or np.abs(np.diff(resampled.astype(int))).max() < 65_535


def test_equal_rates_pass_through() -> None:
    """Audio that has the rate already is not touched."""
    samples = np.arange(1_000, dtype=np.int16)

    assert np.array_equal(resample_pcm(samples, 24_000, 24_000), samples)
