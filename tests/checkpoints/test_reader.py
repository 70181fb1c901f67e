"""Damage of every kind ends in an error; what loads is what was written."""

import pickle
import random
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from sovits_serve.checkpoints.load import load_state_dict, load_t2s
from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.errors import CheckpointError
from tests.golden import DATA

REPOSITORY = Path(__file__).parents[2]
HONEST = DATA / "t2s_v65.ckpt"


def _load_all(path: Path) -> dict[str, torch.Tensor]:
    weights = load_t2s(path).weights
    return {name: weights.tensor(name) for name in weights.names()}


def _places(count: int, size_bytes: int) -> list[int]:
    return random.Random(7).sample(range(size_bytes), count)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    """Cut at 50 random places, at nothing and just before the end, it never loads."""
    content, path = HONEST.read_bytes(), tmp_path / "cut.ckpt"
    for end in (0, 1, 3, len(content) - 1, *_places(50, len(content))):
        path.write_bytes(content[:end])

        with pytest.raises(CheckpointError, match="cut.ckpt: "):
            load_t2s(path)


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    """One flipped bit at 200 random places gives a clean error, or exactly the tensors written."""
    content, path = HONEST.read_bytes(), tmp_path / "flipped.ckpt"
    honest = _load_all(HONEST)
    places = [*_places(150, len(content)), *range(30), *_directory_places(content, 20)]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        loaded = _load_or_explain(path)

        if isinstance(loaded, str):
            assert str(path) in loaded
        else:
            assert loaded.keys() == honest.keys()
            assert all(torch.equal(loaded[name], honest[name]) for name in honest)


def _load_or_explain(path: Path) -> dict[str, torch.Tensor] | str:
    try:
        return _load_all(path)
    except CheckpointError as error:
        return error.message


def _directory_places(content: bytes, count: int) -> list[int]:
    start = content.index(b"PK\x01\x02")
    return [start + place for place in _places(count, len(content) - start)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (pickle.dumps({"weight": {}}, 2), "old format"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "neither a torch.save archive nor a safetensors"),
        (bytes(257) + b"ustar" + bytes(300), "tar archive"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    """What people mistake for a checkpoint is recognised and the error says what it is."""
    path = tmp_path / "other.pth"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=f"other.pth: .*{reason}"):
        CheckpointFile(path)


def test_a_file_of_the_old_torch_format_says_how_to_convert(tmp_path: Path) -> None:
    """Files from before PyTorch 1.6 are refused with the line that converts them."""
    path = tmp_path / "old.pth"
    torch.save({"weight": {}}, path, _use_new_zipfile_serialization=False)

    with pytest.raises(CheckpointError, match=r"torch\.save\(torch\.load"):
        CheckpointFile(path)


@pytest.mark.parametrize("name", ["missing.pth", "directory", "nul\0.pth"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    """A missing file, a directory and an impossible name give CheckpointError."""
    (tmp_path / "directory").mkdir()

    with pytest.raises(CheckpointError, match=name[:3]):
        CheckpointFile(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    """A FIFO is refused at once instead of waiting for a writer."""
    import os

    path = tmp_path / "fifo.pth"
    os.mkfifo(path)

    with pytest.raises(CheckpointError, match="regular file"):
        CheckpointFile(path)


def test_a_closed_file_reads_no_more() -> None:
    """Reading a tensor after closing is an error, not a crash."""
    with CheckpointFile(HONEST) as file:
        assert isinstance(file.tree, dict)
        ref = next(iter(file.tree["weight"].values()))

    with pytest.raises(CheckpointError, match="closed"):
        file.read(ref)


def test_all_that_torch_writes_comes_back(tmp_path: Path) -> None:
    """Every dtype, views, transposed, empty, scalar and tied tensors and parameters load equal."""
    base = torch.arange(24, dtype=torch.float32)
    tensors = {
        str(dtype): torch.tensor([0, 1, 1]).to(dtype)
        for dtype in (
            torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64,
            torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
        )
    }  # fmt: skip
    tensors |= {"view": base[3:9], "transposed": base.view(4, 6).T, "strided": base[::5]}
    tensors |= {"scalar": torch.tensor(3.5), "empty": torch.empty(0, 4), "tied": base}
    tensors |= {"parameter": torch.nn.Parameter(torch.ones(2)), "also tied": base}
    path = tmp_path / "all.pth"
    torch.save(OrderedDict(tensors), path)
    weights = load_state_dict(path)

    assert list(weights.names()) == list(tensors)
    for name, tensor in tensors.items():
        loaded = weights.tensor(name)
        assert loaded.dtype == tensor.dtype
        assert weights.shape(name) == tuple(tensor.shape)
        assert torch.equal(loaded, tensor)
        assert loaded.is_contiguous()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_that_torch_can_write_loads(tmp_path: Path, protocol: int) -> None:
    """Newer protocols, with frames and memoized globals, load as well as the default."""
    path = tmp_path / "protocol.pth"
    torch.save({"a": torch.ones(3), "b": torch.ones(300)}, path, pickle_protocol=protocol)

    assert load_state_dict(path).shape("b") == (300,)


def test_a_modules_state_dict_with_its_metadata_loads(tmp_path: Path) -> None:
    """The attribute that torch hangs on a module's state dict is passed over."""
    path = tmp_path / "module.pth"
    torch.save(torch.nn.BatchNorm1d(3).state_dict(), path)

    assert load_state_dict(path).tensor("num_batches_tracked").item() == 0


def test_a_torch_file_without_checksums_loads(tmp_path: Path) -> None:
    """Files written with checksums turned off are read without checking them."""
    path = tmp_path / "unchecked.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, path)
    finally:
        torch.serialization.set_crc32_options(True)

    assert torch.equal(load_state_dict(path).tensor("a"), torch.ones(3))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_reading_holds_one_tensor_at_a_time(tmp_path: Path) -> None:
    """Reading 96 MB in tensors of 4 MB raises the peak by a fraction of the file."""
    path = tmp_path / "large.pth"
    torch.save({str(index): torch.full((2**20,), index * 1.0) for index in range(24)}, path)
    code = (
        "import sys, torch\n"
        "from sovits_serve.checkpoints.load import load_state_dict\n"
        "from tests.checkpoints.hostile import peak_bytes\n"
        "torch.ones(2**20).sum()\n"
        "before = peak_bytes()\n"
        "weights = load_state_dict(sys.argv[1])\n"
        "assert sum(weights.tensor(n).mean().item() for n in weights.names()) == 276\n"
        "print(peak_bytes() - before)\n"
    )
    environment = {"PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(command, capture_output=True, check=True, env=environment)

    assert int(result.stdout) < 24 * 2**20
