import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.models.sovits.golden_models import VERSIONS, full, golden, padded, unit_normal

WITH_SPEAKER = ("v2Pro", "v2ProPlus")


def spectrogram(seed: int, frames: int) -> Tensor:
    """Return magnitudes (1025, frames) that are no spectrogram of anything."""
    return unit_normal(seed, 1025, frames).abs()


@pytest.mark.parametrize("version", VERSIONS)
@torch.inference_mode()
def test_spectrogram_vector_equals_upstream(version: str) -> None:
    """The vector before PReLU is upstream's.

    Upstream adds the speaker embedding in place, so what it recorded already holds the sum.
    """
    recorded = golden(version)
    encoder = recorded.model.style_encoder
    reference = recorded.data["refer0"][:, : encoder.num_bins]
    names = [name for name in recorded.data if name.endswith("_ref_enc")]

    vector = encoder.ref_enc(reference, full(reference, 2))
    if version in WITH_SPEAKER:
        vector = vector + encoder.sv_emb(recorded.data["sv0"])

    assert names
    torch.testing.assert_close(vector, recorded.data[names[0]][:, :, 0], rtol=0, atol=1e-4)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=2, max_size=4), version=st.sampled_from(VERSIONS)
)
@torch.inference_mode()
def test_batched_styles_equal_singles(lengths: list[int], version: str) -> None:
    """References of different lengths each give that reference's own style."""
    model = golden(version).model
    rows = [spectrogram(seed, frames) for seed, frames in enumerate(lengths)]
    speakers = unit_normal(9, len(rows), 20480)

    styles = model.encode_style(*padded(rows), speakers)

    for index, row in enumerate(rows):
        alone = model.encode_style(
            row[None], torch.tensor([row.size(1)]), speakers[index : index + 1]
        )
        torch.testing.assert_close(styles[index], alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("version", WITH_SPEAKER)
@torch.inference_mode()
def test_speaker_embedding_changes_the_style(version: str) -> None:
    """Versions with a speaker embedding use it."""
    model = golden(version).model
    reference = spectrogram(1, 20)[None]
    lengths = torch.tensor([20])

    one = model.encode_style(reference, lengths, unit_normal(2, 1, 20480))
    other = model.encode_style(reference, lengths, unit_normal(3, 1, 20480))

    assert not torch.allclose(one, other)


@torch.inference_mode()
def test_bins_above_the_versions_limit_are_not_read() -> None:
    """All versions but v1 ignore the bins from 704 on."""
    model = golden("v2").model
    reference = spectrogram(1, 20)[None]
    louder = reference.clone()
    louder[:, 704:] += 1

    lengths = torch.tensor([20])

    assert torch.equal(model.encode_style(reference, lengths), model.encode_style(louder, lengths))
