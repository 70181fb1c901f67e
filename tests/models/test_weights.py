"""Filling modules: tensors of another shape or kind are refused before they cost or hurt."""

import pytest
import torch
from torch import Tensor, nn

from sovits_serve.errors import CheckpointError
from sovits_serve.models.weights import DictWeights, build_module


def build(tensors: dict[str, Tensor]) -> nn.Module:
    """Build a convolution of 3 to 4 channels with kernel size 5 from these tensors."""
    stored = {f"0.{name}": tensor for name, tensor in tensors.items()}
    return build_module(
        lambda: nn.Sequential(nn.Conv1d(3, 4, 5, bias=False)),
        DictWeights(stored, "file.pth"),
        device="cpu",
        dtype=torch.float32,
    )


def test_weight_norm_is_folded() -> None:
    """Each row of the direction gets the length that the magnitude says."""
    direction, magnitude = torch.rand(4, 3, 5), torch.rand(4, 1, 1)

    module = build({"weight_v": direction, "weight_g": magnitude})

    (weight,) = module.parameters()
    torch.testing.assert_close(weight.flatten(1).norm(dim=1), magnitude.flatten())


@pytest.mark.parametrize("shape", [(), (4,), (1, 1, 1), (4, 1, 5), (1, 1, 30_000_000)])
def test_a_magnitude_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """A magnitude is never broadcast: that could unfold to any size."""
    magnitude = torch.ones(()).expand(shape)

    with pytest.raises(
        CheckpointError, match=r"file.pth: tensor '0.weight_g' has shape .* \(4, 1, 1"
    ):
        build({"weight_v": torch.ones(4, 3, 5), "weight_g": magnitude})


@pytest.mark.parametrize("shape", [(), (0,), (4,), (3, 4, 5)])
def test_a_direction_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """The error names the stored tensor, not the folded one."""
    with pytest.raises(CheckpointError, match=r"file.pth: tensor '0.weight_v' has shape"):
        build({"weight_v": torch.ones(shape), "weight_g": torch.ones(4, 1, 1)})


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_weights_that_are_integers_are_refused(dtype: torch.dtype) -> None:
    """Integers where the model computes with fractions are refused when loading."""
    with pytest.raises(CheckpointError, match=r"file.pth: tensor '0.weight' holds torch.* needs"):
        build({"weight": torch.ones(4, 3, 5).to(dtype)})


def test_dimensions_that_describe_no_module_name_the_file() -> None:
    """A module that cannot be built is the checkpoint's fault, and the error says whose."""
    with pytest.raises(CheckpointError, match="file.pth: in_channels must be divisible"):
        build_module(
            lambda: nn.Conv1d(3, 4, 5, groups=2),
            DictWeights({}, "file.pth"),
            device="cpu",
            dtype=torch.float32,
        )
