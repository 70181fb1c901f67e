import pytest
import torch
from torch import Tensor

from sovits_serve.models.sovits.model import SovitsModel
from tests.models.sovits.golden_models import (
    build_model,
    encode_rows,
    golden,
    random_row,
    stacked_styles,
    unit_normal,
)

pytestmark = pytest.mark.gpu

HALVES = [(torch.float16, 0.9999), (torch.bfloat16, 0.995)]
SIZES = [(20, 15, 1.0), (7, 9, 1.3), (12, 4, 0.8)]


def audio_of(model: SovitsModel, device: str, seeds: list[int]) -> Tensor:
    """Return the audio (B, T) of some of the random rows, decoded as one batch."""
    rows = [random_row(model, seed, SIZES[seed]) for seed in seeds]
    latents = encode_rows(model, rows, device)
    return model.generate(latents.z, latents.lengths, stacked_styles(rows).to(device)).cpu()


@pytest.mark.parametrize("version", ["v2", "v2ProPlus"])
@pytest.mark.parametrize(("dtype", "least"), HALVES)
def test_half_precision_follows_single(version: str, dtype: torch.dtype, least: float) -> None:
    """Audio computed in half precision correlates with audio computed in single."""
    expected = audio_of(golden(version).model, "cpu", [0, 1, 2])

    audio = audio_of(build_model(version, "cuda", dtype), "cuda", [0, 1, 2])

    assert audio.dtype is torch.float32
    for row, want in zip(audio, expected, strict=True):
        assert torch.corrcoef(torch.stack([row, want]))[0, 1] > least


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_style_follows_single(dtype: torch.dtype) -> None:
    """Styles of a padded batch in half precision are those of single precision."""
    spectrogram = unit_normal(1, 2, 1025, 80).abs()
    speaker, lengths = unit_normal(2, 2, 20480), torch.tensor([80, 33])
    expected = golden("v2Pro").model.encode_style(spectrogram, lengths, speaker)
    model = build_model("v2Pro", "cuda", dtype)

    style = model.encode_style(spectrogram.cuda(), lengths, speaker.cuda()).float().cpu()

    assert torch.corrcoef(torch.stack([style.flatten(), expected.flatten()]))[0, 1] > 0.999


def test_batch_equals_singles_on_the_device() -> None:
    """Rows of one batch equal the same rows alone, where masks are made on the device."""
    model = build_model("v2", "cuda", torch.float32)

    batch = audio_of(model, "cuda", [0, 1, 2])
    singles = [audio_of(model, "cuda", [seed])[0] for seed in range(3)]

    for row, alone in zip(batch, singles, strict=True):
        torch.testing.assert_close(row[: alone.numel()], alone, rtol=0, atol=1e-4)
        assert not row[alone.numel() :].any()


def test_generate_can_be_captured() -> None:
    """With lengths on the device, a captured graph follows new latents and new lengths."""
    model = build_model("v2", "cuda", torch.float16)
    z = unit_normal(3, 2, model.dims.inter_channels, 12).cuda()
    style = unit_normal(4, 2, model.dims.style_dim).cuda()
    lengths = torch.tensor([12, 5], device="cuda")
    model.generate(z, lengths, style)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = model.generate(z, lengths, style)

    z.copy_(z.flip(0))
    lengths.copy_(torch.tensor([3, 12]))
    graph.replay()

    torch.testing.assert_close(captured, model.generate(z, lengths, style), rtol=0, atol=1e-3)
