from types import SimpleNamespace

import pytest
import torch

from sovits_serve.models.cuda.convolution import Tile
from sovits_serve.models.cuda.device import DeviceLimits, limits_of
from sovits_serve.models.cuda.generator_tiles import HALF, SINGLE, tiles_of

H200, A100 = DeviceLimits((9, 0), 232_448), DeviceLimits((8, 0), 166_912)
RTX_4090, SMALLER = DeviceLimits((8, 9), 101_376), DeviceLimits((8, 9), 65_536)


def test_limits_are_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capability and shared memory come from the driver."""
    properties = SimpleNamespace(
        major=8,
        minor=9,
        shared_memory_per_block=49_152,
        shared_memory_per_block_optin=101_376,
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)

    assert limits_of(torch.device("cuda")) == RTX_4090


def test_the_interpreter_has_all_memory_and_no_early_launch() -> None:
    """Tiles are tested as they are on the largest device."""
    limits = limits_of(torch.device("cpu"))

    assert not limits.has_early_launch
    assert tiles_of(torch.float16, limits) == HALF
    assert tiles_of(torch.float32, limits) == SINGLE


@pytest.mark.parametrize(
    ("capability", "expected"), [((8, 0), False), ((8, 9), False), ((9, 0), True), ((12, 0), True)]
)
def test_early_launches_came_with_hopper(capability: tuple[int, int], expected: bool) -> None:
    """Older devices cannot compile what they need."""
    assert DeviceLimits(capability, 101_376).has_early_launch == expected


@pytest.mark.parametrize("limits", [H200, A100, RTX_4090])
def test_tiles_are_the_measured_ones_where_they_fit(limits: DeviceLimits) -> None:
    """Every device that kernels are made for has the memory: one turn is in registers."""
    assert tiles_of(torch.float16, limits) == HALF


def test_less_memory_reads_less_far_ahead() -> None:
    """Only the number of stages changes: the weights are packed for the rest of a tile."""
    tiles = tiles_of(torch.bfloat16, SMALLER)

    assert tiles.blocks[384] == Tile(1, 128, 128, rest=64, num_warps=8, num_stages=2)
    assert tiles.blocks[16] == HALF.blocks[16]


def test_hopper_holds_one_turn_more() -> None:
    """With the same memory, its products have room for fewer stages."""
    turn_bytes = 32_768

    assert RTX_4090.stages_that_fit(4, turn_bytes) == 4
    assert DeviceLimits((9, 0), 101_376).stages_that_fit(4, turn_bytes) == 3
    assert DeviceLimits((9, 0), 1).stages_that_fit(4, turn_bytes) == 2
