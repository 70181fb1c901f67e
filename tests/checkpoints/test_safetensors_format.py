"""Our safetensors files are safetensors files, and false ones are refused."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sovits_serve.checkpoints.load import load_state_dict
from sovits_serve.checkpoints.random_model import write_random_t2s
from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.checkpoints.safetensors_format import write_tensors
from sovits_serve.errors import CheckpointError
from sovits_serve.models.spec import ModelVersion


def _file(header: object, data: bytes = bytes(16)) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def _tensor(**changes: object) -> object:
    return {"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes}


FALSE = {
    "header longer than the file": struct.pack("<Q", 2**40) + b"{" + bytes(30),
    "header of gigabytes": struct.pack("<Q", 2**40) + b"{",
    "no JSON": _file(b"{not json"),
    "nested JSON": _file(b'{"x":' + b"[" * 100_000),
    "numbers as tensors": _file({"x": 1}),
    "unknown dtype": _file(_tensor(dtype="F4")),
    "past the end": _file(_tensor(shape=[5], data_offsets=[0, 20])),
    "shape contradicts the size": _file(_tensor(shape=[3])),
    "negative shape": _file(_tensor(shape=[-2, -2])),
    "shape of strings": _file(_tensor(shape=["4"])),
    "huge shape": _file(_tensor(shape=[2**60, 2**60])),
    "offsets backwards": _file(_tensor(data_offsets=[16, 0])),
    "negative offsets": _file(_tensor(data_offsets=[-16, 0])),
    "one offset": _file(_tensor(data_offsets=[0])),
    "overlapping tensors": _file(
        {
            "x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "y": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        }
    ),
    "metadata of numbers": _file({"__metadata__": {"a": 1}}),
    "own metadata that are no JSON": _file({"__metadata__": {"sovits_serve": "{"}}),
    "own metadata that are a list": _file({"__metadata__": {"sovits_serve": "[]"}}),
}


@pytest.mark.parametrize("content", FALSE.values(), ids=FALSE.keys())
def test_a_false_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Damaged or hostile headers give CheckpointError with the file's name."""
    path = tmp_path / "false.safetensors"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match="false.safetensors: .{10}"):
        CheckpointFile(path)


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    """The safetensors library loads our files and finds the same bits."""
    path = tmp_path / "ours.safetensors"
    tensors = {"a": torch.randn(3, 4).half(), "b": torch.tensor(7), "c": torch.empty(0, 2)}
    layout = {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
    write_tensors(path, layout, lambda name: tensors[name].numpy().tobytes(), {"format": "pt"})
    loaded = load_file(path)

    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_we_read_what_the_library_writes(tmp_path: Path) -> None:
    """Every dtype that the library writes for us loads with the same bits."""
    path = tmp_path / "theirs.safetensors"
    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.int64, torch.uint8, torch.bool)
    tensors = {str(dtype): torch.tensor([[0, 1], [1, 0]]).to(dtype) for dtype in dtypes}
    save_file(tensors, path)
    weights = load_state_dict(path)

    assert set(weights.names()) == set(tensors)
    assert all(torch.equal(weights.tensor(name), tensors[name]) for name in tensors)


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path) -> None:
    """A download that stopped early names a tensor that is not there."""
    path = tmp_path / "cut.safetensors"
    save_file({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(CheckpointError, match="'a' lies outside the file: truncated"):
        load_state_dict(path)


def test_a_checkpoint_renamed_to_safetensors_still_loads(tmp_path: Path) -> None:
    """What a file is follows from its content, never from its name."""
    path = tmp_path / "misnamed.safetensors"
    write_random_t2s(path, version=ModelVersion.V2, size="tiny", seed=0)

    assert load_state_dict(path).shape("model.bert_proj.bias") == (64,)
