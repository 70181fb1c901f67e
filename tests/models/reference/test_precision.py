import pytest
import torch
from torch import Tensor

from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.reference.speaker import SpeakerEncoder
from sovits_serve.models.reference.spectrogram import MEL_V4, linear_spectrogram, mel_spectrogram
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from tests.golden import DATA

HUBERT = Recipe.read(DATA / "hubert_tiny.weights.json")


def noise(length: int) -> Tensor:
    """Return a waveform that depends on its length only."""
    return 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(length))


def make_hubert(device: str, dtype: torch.dtype) -> HubertEncoder:
    """Build the small recorded HuBERT."""
    source = DictWeights(HUBERT.build())
    return HubertEncoder.from_weights(HUBERT.config, source, device=device, dtype=dtype)


def correlation(ours: Tensor, reference: Tensor) -> float:
    """Return the cosine between two tensors, in float64 on the CPU."""
    first, second = ours.double().cpu().flatten(), reference.double().cpu().flatten()
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_hubert_computes_in_half_precision(dtype: torch.dtype) -> None:
    """Half precision on the CPU gives nearly the same features, for short rows of a batch too."""
    waves = [noise(8_000), noise(4_000)]

    half = make_hubert("cpu", dtype).encode(waves)

    for row, full in zip(half, make_hubert("cpu", torch.float32).encode(waves), strict=True):
        assert row.dtype == dtype
        assert correlation(row, full) > 0.999


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_hubert_on_a_gpu(dtype: torch.dtype) -> None:
    """A GPU gives the CPU's features in every precision, batched as alone."""
    encoder, waves = make_hubert("cuda", dtype), [noise(16_000), noise(4_000), noise(9_000)]

    together = encoder.encode(waves)

    cpu = make_hubert("cpu", torch.float32).encode(waves)
    for row, wave, expected in zip(together, waves, cpu, strict=True):
        assert correlation(row, expected) > 0.999
        assert correlation(row, encoder.encode([wave])[0]) > 0.9999


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_speaker_encoder_on_a_gpu(dtype: torch.dtype) -> None:
    """A GPU gives the CPU's embedding in every precision."""
    source = DictWeights(Recipe.read(DATA / "sv.weights.json").build())
    gpu, cpu = (
        SpeakerEncoder.from_weights(source, device=device, dtype=precision)
        for device, precision in (("cuda", dtype), ("cpu", torch.float32))
    )

    embedding = gpu.embed([noise(16_000)])

    assert embedding.dtype == torch.float32
    assert correlation(embedding, cpu.embed([noise(16_000)])) > 0.999


@pytest.mark.gpu
def test_spectrograms_on_a_gpu() -> None:
    """A GPU gives the CPU's spectrograms."""
    wave = noise(32_000)[None]

    linear, mel = linear_spectrogram(wave.cuda()), mel_spectrogram(wave.cuda(), MEL_V4)

    torch.testing.assert_close(linear.cpu(), linear_spectrogram(wave), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mel.cpu(), mel_spectrogram(wave, MEL_V4), rtol=1e-4, atol=1e-3)
