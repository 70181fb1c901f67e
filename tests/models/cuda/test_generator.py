from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from triton.runtime import interpreter

from sovits_serve.models.cuda.convolution import Tile
from sovits_serve.models.cuda.generator import FusedGenerator
from sovits_serve.models.cuda.generator_tiles import SINGLE
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.sovits.generator import Generator
from sovits_serve.models.spec import SovitsDims

TINY = SovitsDims(
    inter_channels=12,
    hidden_channels=8,
    filter_channels=8,
    num_heads=2,
    num_layers=1,
    kernel_size=3,
    style_dim=20,
    num_symbols=8,
    upsample_rates=(3, 2),
    upsample_kernel_sizes=(7, 2),
    upsample_initial_channels=96,
    resblock_kernel_sizes=(3, 7),
    resblock_dilation_sizes=((1, 3), (1, 3)),
)
ONE_BLOCK = replace(
    TINY,
    upsample_rates=(5,),
    upsample_kernel_sizes=(5,),
    upsample_initial_channels=20,
    resblock_kernel_sizes=(5,),
    resblock_dilation_sizes=((2,),),
)
# Every way to cut the work, in sizes that float32 can take on a GPU.
CUT = replace(
    SINGLE,
    blocks={
        48: Tile(group=2, rows=32, columns=64, rest=32, depth=32, num_stages=2),
        24: Tile(group=4, rows=32, columns=64, rest=32, depth=16, num_stages=2, through_l1=True),
        10: Tile(group=1, rows=16, columns=16, depth=16),
    },
    upsampling={
        48: Tile(group=2, rows=16, columns=64, depth=32, num_stages=2),
        24: Tile(group=4, rows=32, columns=64, rest=32, depth=32, num_stages=2),
    },
)
FULL = replace(
    TINY,
    inter_channels=192,
    style_dim=512,
    upsample_rates=(10, 8, 2, 2, 2),
    upsample_kernel_sizes=(16, 16, 8, 2, 2),
    upsample_initial_channels=512,
    resblock_kernel_sizes=(3, 7, 11),
    resblock_dilation_sizes=((1, 3, 5),) * 3,
)
WIDE = replace(
    FULL,
    style_dim=1024,
    upsample_kernel_sizes=(20, 16, 8, 2, 2),
    upsample_initial_channels=768,
)
HALVES = [
    (torch.float16, 0.9999),
    # The interpreter multiplies the bits of bfloat16 as integers.
    pytest.param(torch.bfloat16, 0.995, marks=pytest.mark.gpu),
]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute without gradients, and let the interpreter read the ends of a loop.

    Triton 3.6 keeps a number as an array of one, which numpy 2.4 does not take for an index.
    """
    patch_tensor = interpreter._patch_lang_tensor

    def patch(tensor: type, scope: Any) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    monkeypatch.setattr(interpreter, "_patch_lang_tensor", patch)
    use_exact_kernels()
    with torch.inference_mode():
        yield


def random_generator(dims: SovitsDims) -> Generator:
    """Return a seeded generator in float32 whose activations keep their size."""
    generator = Generator(dims).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(7)
    for parameter in generator.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
        parameter.copy_(torch.randn(parameter.shape, generator=random) * scale)
    return generator


def inputs(dims: SovitsDims, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return latent, lengths and styles; NaN lies behind the rows' ends."""
    random = torch.Generator().manual_seed(8)
    z = torch.randn(len(lengths), dims.inter_channels, max(lengths), generator=random)
    for row, length in zip(z, lengths, strict=True):
        row[:, length:] = float("nan")
    style = torch.randn(len(lengths), dims.style_dim, generator=random)
    return z, torch.tensor(lengths), style


def on(device: str, tensors: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    """Return tensors on the device; those with a fraction in ``dtype``."""
    return [t.to(device, dtype if t.is_floating_point() else t.dtype) for t in tensors]


@pytest.mark.parametrize("tiles", [SINGLE, CUT], ids=["single", "cut"])
@pytest.mark.parametrize("dims", [TINY, ONE_BLOCK], ids=["two stages", "one block"])
def test_fused_equals_simple(dims: SovitsDims, tiles: Any, device: str) -> None:
    """In float32 the samples are those of the simple path, and zero behind each row's end."""
    generator = random_generator(dims)
    arguments = inputs(dims, [5, 1, 3])
    expected = generator(*arguments)

    fused = FusedGenerator(generator.to(device), tiles)
    samples = fused(*on(device, arguments, torch.float32)).cpu()

    assert samples.dtype is torch.float32
    torch.testing.assert_close(samples, expected, rtol=0, atol=1e-5)
    assert not samples[1, dims.samples_per_frame :].any()
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize(("dtype", "least"), HALVES)
def test_half_precision_follows_single(dtype: torch.dtype, least: float, device: str) -> None:
    """Samples in half precision correlate with those of the simple path in single."""
    generator = random_generator(TINY)
    arguments = inputs(TINY, [4])
    expected = generator(*arguments)

    fused = FusedGenerator(generator.to(device, dtype))
    samples = fused(*on(device, arguments, dtype)).cpu()

    assert torch.corrcoef(torch.cat([samples, expected]))[0, 1] > least


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_row_is_the_same_alone_and_in_a_batch(dtype: torch.dtype, device: str) -> None:
    """Neither the other rows nor the padding change a bit."""
    fused = FusedGenerator(random_generator(TINY).to(device, dtype))
    z, lengths, style = on(device, inputs(TINY, [6, 2, 3]), dtype)

    samples = fused(z, lengths, style)

    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = fused(z[one, :, :length], lengths[one].int(), style[one])
        assert torch.equal(samples[row, : alone.size(1)], alone[0])


def test_blocks_that_differ_in_dilations_are_refused() -> None:
    """Blocks run side by side, so their dilations must be the same."""
    dims = replace(TINY, resblock_dilation_sizes=((1, 3), (1, 5)))

    with pytest.raises(ValueError, match="differ in their dilations"):
        FusedGenerator(Generator(dims))


@pytest.mark.gpu
@pytest.mark.parametrize("dims", [FULL, WIDE], ids=["v2", "v2ProPlus"])
def test_full_size(dims: SovitsDims) -> None:
    """In float16 and full size, samples follow single precision and do not depend on the batch."""
    generator = random_generator(dims).cuda()
    arguments = on("cuda", inputs(dims, [40, 7, 23]), torch.float32)
    expected = generator(*arguments)
    fused = FusedGenerator(generator.half())
    z, lengths, style = on("cuda", tuple(arguments), torch.float16)

    samples = fused(z, lengths, style)

    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = fused(z[one, :, :length], lengths[one], style[one])
        end = alone.size(1)
        assert torch.equal(samples[row, :end], alone[0])
        assert not samples[row, end:].any()
        pair = torch.stack([samples[row, :end], expected[row, :end]])
        assert torch.corrcoef(pair)[0, 1] > 0.9999


@pytest.mark.gpu
def test_a_graph_reads_new_inputs() -> None:
    """A captured call gives the samples of whatever its inputs hold when it is replayed."""
    fused = FusedGenerator(random_generator(TINY).cuda().half())
    z, lengths, style = on("cuda", inputs(TINY, [6, 2, 3]), torch.float16)
    fused(z, lengths, style)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        samples = fused(z, lengths, style)

    z.normal_()
    lengths.copy_(torch.tensor([1, 6, 4]))
    graph.replay()

    assert torch.equal(samples, fused(z, lengths, style))
