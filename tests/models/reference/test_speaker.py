from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sovits_serve.errors import CheckpointError
from sovits_serve.models.reference.speaker import SpeakerEncoder, kaldi_fbank
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from tests.golden import DATA
from tests.models.reference.golden_reference import load, recorded


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """Rebuild the recorded checkpoint; the network has only its real size."""
    return Recipe.read(DATA / "sv.weights.json").build()


@pytest.fixture(scope="module")
def encoder(tensors: dict[str, Tensor]) -> SpeakerEncoder:
    """Build the encoder in float32 on the CPU."""
    return SpeakerEncoder.from_weights(DictWeights(tensors), device="cpu", dtype=torch.float32)


@pytest.fixture
def make_wave() -> Callable[[int], Tensor]:
    """Return a maker of noise of a given length."""
    generator = torch.Generator().manual_seed(0)
    return lambda length: 0.1 * torch.randn(length, generator=generator)


@pytest.mark.parametrize("name", recorded("fbank"))
def test_fbank_equals_upstream(name: str) -> None:
    """Filterbank energies are upstream's: 2e-3 at most, 99% within 1e-4 (log of small energies)."""
    golden = load(name, "fbank")

    error = (kaldi_fbank(torch.from_numpy(golden.reference.speaker_wave)) - golden.values).abs()

    assert error.max() < 2e-3
    assert (error < 1e-4).float().mean() > 0.99


@pytest.mark.parametrize("name", recorded("sv"))
def test_embedding_equals_upstream(encoder: SpeakerEncoder, name: str) -> None:
    """The embedding of a recording is upstream's, within 1e-3 of its maximum."""
    golden = load(name, "sv")

    ours = encoder.embed([torch.from_numpy(golden.reference.speaker_wave)])[0]

    assert ours.shape == (20_480,)
    assert golden.relative_error(ours) < 1e-3


def test_rows_equal_singles(encoder: SpeakerEncoder, make_wave: Callable[[int], Tensor]) -> None:
    """Waveforms of different lengths embed together exactly as they do alone, in order."""
    waves = [make_wave(length) for length in (8_000, 5_000)]

    together = encoder.embed(waves)

    alone = torch.cat([encoder.embed([wave]) for wave in waves])
    assert torch.equal(together, alone)


def test_missing_tensor_is_named(tensors: dict[str, Tensor]) -> None:
    """A checkpoint without one of the tensors is refused with that tensor's name."""
    partial = {name: tensor for name, tensor in tensors.items() if name != "layer3_ds.weight"}

    with pytest.raises(CheckpointError, match=r"layer3_ds\.weight"):
        SpeakerEncoder.from_weights(DictWeights(partial), device="cpu", dtype=torch.float32)
