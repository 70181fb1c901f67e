import pytest

from sovits_serve.errors import ConfigError
from sovits_serve.supervisor.devices import place_names, resolve_devices, visible_gpus


class FakeNvml:
    """A driver with three GPUs."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 -- the library's name
        """Return how many there are."""
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        """Return one."""
        return f"handle {index}"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        """Return its name."""
        return f"GPU-{'abc'[int(handle[-1])]}123"


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        ("GPU-b", [1]),
        ("1,-1,2", [1]),
        ("0,7,1", [0]),
    ],
)
def test_gpus_are_counted_as_cuda_does(visible: str | None, indices: list[int]) -> None:
    """CUDA_VISIBLE_DEVICES chooses and orders them; a bad entry ends the list."""
    assert visible_gpus(FakeNvml(), visible) == [f"handle {index}" for index in indices]


@pytest.mark.parametrize(
    ("devices", "num_gpus", "resolved"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ("cpu, cpu", 2, ["cpu", "cpu"]),
        ("cuda,cuda:1", 0, ["cuda:0", "cuda:1"]),
    ],
)
def test_devices_are_resolved(devices: str, num_gpus: int, resolved: list[str]) -> None:
    """The devices of "auto" are every GPU, or the CPU; a list is taken as it is."""
    assert resolve_devices(devices, num_gpus) == resolved


@pytest.mark.parametrize("devices", ["gpu", "cuda:x", "", "cpu,,cpu"])
def test_bad_device_is_named(devices: str) -> None:
    """What is no device stops the start."""
    with pytest.raises(ConfigError, match="supervisor.devices"):
        resolve_devices(devices, 0)


def test_places_have_names_of_their_own() -> None:
    """A device's only engine is called by it; several are numbered."""
    assert place_names(["cuda:0", "cuda:1"]) == ["cuda:0", "cuda:1"]
    assert place_names(["cpu", "cuda:0", "cpu"]) == ["cpu:0", "cuda:0", "cpu:1"]
