from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sovits_serve.models.sovits.generator import Generator, context_frames
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.spec import SovitsDims
from tests.models.sovits.golden_models import VERSIONS, full, golden, padded, unit_normal

GEOMETRIES = [
    ((10, 8, 2, 2, 2), (16, 16, 8, 2, 2)),
    ((10, 8, 2, 2, 2), (20, 16, 8, 2, 2)),
    ((4, 2), (8, 2)),
    ((3, 5), (5, 11)),
]


def small_dims(rates: tuple[int, ...], kernels: tuple[int, ...]) -> SovitsDims:
    """Return dimensions of a generator whose receptive field follows from its geometry alone."""
    return replace(
        golden("v2").model.dims,
        inter_channels=2,
        style_dim=2,
        upsample_rates=rates,
        upsample_kernel_sizes=kernels,
        upsample_initial_channels=2 ** len(rates),
    )


def positive_generator(dims: SovitsDims) -> Generator:
    """Return a generator in float64 with positive weights: no influence can cancel out."""
    generator = Generator(dims).double().eval().requires_grad_(False)
    for parameter in generator.parameters():
        parameter.fill_(1.0 / parameter[0].numel() if parameter.dim() > 1 else 0.0)
    return generator


def is_reached(dims: SovitsDims, offset: int) -> bool:
    """Tell whether the samples of a frame change when the frame ``offset`` away does."""
    generator, middle = positive_generator(dims), abs(offset) + 1
    z = torch.zeros(2, dims.inter_channels, 2 * middle + 1).double()
    z[1, :, middle + offset] = 1.0
    audio = generator(z, full(z, 2), torch.zeros(2, dims.style_dim).double())
    window = audio[:, middle * dims.samples_per_frame : (middle + 1) * dims.samples_per_frame]
    return not torch.equal(window[0], window[1])


@pytest.mark.parametrize(("rates", "kernels"), GEOMETRIES)
def test_context_is_the_exact_receptive_field(
    rates: tuple[int, ...], kernels: tuple[int, ...]
) -> None:
    """A frame ``context_frames`` away changes the samples; one further away never does."""
    dims = small_dims(rates, kernels)
    context = context_frames(dims)

    assert is_reached(dims, -context) or is_reached(dims, context)
    assert not is_reached(dims, -context - 1)
    assert not is_reached(dims, context + 1)


def window_audio(model: SovitsModel, z: Tensor, style: Tensor, start: int, end: int) -> Tensor:
    """Return the samples of frames [start, end), generated from no more than their context."""
    context, per_frame = model.generator_context_frames, model.dims.samples_per_frame
    begin = max(0, start - context)
    window = z[:, :, begin : end + context]
    audio = model.generate(window, full(window, 2), style)
    return audio[:, (start - begin) * per_frame : (end - begin) * per_frame]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("start", "end"), [(0, 7), (7, 8), (20, 33), (35, 40)])
def test_window_with_context_equals_the_whole(version: str, start: int, end: int) -> None:
    """Audio that leaves in windows is the audio of the whole latent."""
    model = golden(version).model
    z = unit_normal(5, 1, model.dims.inter_channels, 40)
    style = unit_normal(6, 1, model.dims.style_dim)
    per_frame = model.dims.samples_per_frame

    window = window_audio(model, z, style, start, end)

    whole = model.generate(z, full(z, 2), style)[:, start * per_frame : end * per_frame]
    torch.testing.assert_close(window, whole, rtol=0, atol=1e-6)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=2, max_size=4), version=st.sampled_from(VERSIONS)
)
def test_batched_audio_equals_singles(lengths: list[int], version: str) -> None:
    """Latents of different lengths and styles each give that row's audio, and zeros behind it."""
    model = golden(version).model
    rows = [unit_normal(seed, model.dims.inter_channels, n) for seed, n in enumerate(lengths)]
    styles = unit_normal(99, len(rows), model.dims.style_dim)

    audio = model.generate(*padded(rows), styles)

    for index, row in enumerate(rows):
        z = row[None]
        alone = model.generate(z, full(z, 2), styles[index : index + 1])
        samples = alone.size(1)
        torch.testing.assert_close(audio[index, :samples], alone[0], rtol=0, atol=1e-5)
        assert not audio[index, samples:].any()


def test_garbage_behind_a_row_changes_nothing() -> None:
    """Not even NaN behind a row's end reaches its audio."""
    model = golden("v2").model
    z = unit_normal(3, 2, model.dims.inter_channels, 12)
    styles = unit_normal(4, 2, model.dims.style_dim)
    lengths = torch.tensor([12, 5])
    clean = model.generate(z, lengths, styles)
    z[1, :, 5:] = float("nan")

    assert torch.equal(model.generate(z, lengths, styles), clean)


@pytest.mark.parametrize("kernels", [(15, 16, 8, 2, 2), (8, 16, 8, 2, 2)])
def test_upsampling_that_loses_samples_is_refused(kernels: tuple[int, ...]) -> None:
    """A kernel that would not give rate times as many samples is refused."""
    dims = replace(golden("v2").model.dims, upsample_kernel_sizes=kernels)

    with pytest.raises(ValueError, match="does not fit rate 10"):
        Generator(dims)


def test_even_resblock_kernels_are_refused() -> None:
    """Residual blocks must keep the length on both sides."""
    dims = replace(golden("v2").model.dims, resblock_kernel_sizes=(3, 6, 11))

    with pytest.raises(ValueError, match="must be odd"):
        Generator(dims)
