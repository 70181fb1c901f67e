"""Converted checkpoints load as the originals did, bit for bit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sovits_serve.checkpoints.convert import convert
from sovits_serve.checkpoints.layout import write_sovits, write_state_dict, write_t2s
from sovits_serve.checkpoints.load import load_sovits, load_state_dict, load_t2s
from sovits_serve.checkpoints.random_model import write_random_sovits
from sovits_serve.errors import CheckpointError
from sovits_serve.models.spec import ModelVersion
from sovits_serve.models.weights import WeightSource
from tests.golden import DATA

GPT = DATA / "t2s_v65.ckpt"


def _assert_equal(left: WeightSource, right: WeightSource) -> None:
    assert list(left.names()) == list(right.names())
    for name in left.names():
        first, second = left.tensor(name), right.tensor(name)
        assert first.dtype == second.dtype
        assert torch.equal(first.view(torch.uint8), second.view(torch.uint8))


def test_a_gpt_file_converts_bit_equal(tmp_path: Path) -> None:
    """Tensors, dims, config and note of a GPT file survive."""
    original, converted = load_t2s(GPT), load_t2s(convert(GPT, tmp_path))

    assert converted.dims == original.dims
    assert converted.config == original.config
    assert converted.info == original.info
    _assert_equal(converted.weights, original.weights)


@pytest.mark.parametrize("version", [ModelVersion.V1, ModelVersion.V2PROPLUS])
def test_a_sovits_file_converts_bit_equal(tmp_path: Path, version: ModelVersion) -> None:
    """Version, symbols and tensors survive, although the result carries no mark."""
    path = tmp_path / "voice.pth"
    write_random_sovits(path, version=version, size="tiny", seed=2)
    original, converted = load_sovits(path), load_sovits(convert(path, tmp_path / "out"))

    assert converted.version is version
    assert converted.symbol_version == original.symbol_version
    assert converted.dims == original.dims
    assert converted.config == original.config
    _assert_equal(converted.weights, original.weights)


def test_not_a_number_and_negative_zero_survive(tmp_path: Path) -> None:
    """Conversion moves bits: it neither checks nor changes values."""
    path = tmp_path / "odd.pth"
    write_state_dict(path, {"x": torch.tensor([float("nan"), -0.0, float("inf")]).half()})

    _assert_equal(load_state_dict(convert(path, tmp_path)), load_state_dict(path))


def test_a_lora_file_keeps_its_rank(tmp_path: Path) -> None:
    """What is known about a LoRA file is in the metadata, though it cannot be loaded yet."""
    name = "model.lora_A.default.weight"
    config = load_sovits(DATA / "s2_layout_v4_lora.pth", allow_cfm=True).config
    path = tmp_path / "lora.pth"
    write_sovits(path, {f"cfm.{name}": torch.ones(8, 4)}, config, header="04", lora_rank=8)
    target = convert(path, tmp_path)
    fields = json.loads(target.with_suffix(".json").read_text("utf-8"))

    assert (fields["version"], fields["is_lora"], fields["lora_rank"]) == ("v4", True, 8)
    assert load_sovits(target, allow_cfm=True).is_lora


def test_the_result_is_an_ordinary_safetensors_file_with_json_beside(tmp_path: Path) -> None:
    """Other programs can read the tensors, and people the config."""
    target = convert(GPT, tmp_path)
    fields = json.loads((tmp_path / "t2s_v65.json").read_text("utf-8"))

    assert target == tmp_path / "t2s_v65.safetensors"
    assert load_file(target).keys() == set(load_t2s(GPT).weights.names())
    assert fields["kind"] == "t2s"
    assert fields["source"] == "t2s_v65.ckpt"
    assert fields["config"]["model"]["EOS"] == 64


@pytest.mark.parametrize("existing", ["t2s_v65.safetensors", "t2s_v65.json"])
def test_nothing_is_overwritten_unasked(tmp_path: Path, existing: str) -> None:
    """A file that exists is kept and named, unless overwriting is allowed."""
    (tmp_path / existing).write_text("mine", "utf-8")

    with pytest.raises(CheckpointError, match=f"{existing}: exists already"):
        convert(GPT, tmp_path)
    assert (tmp_path / existing).read_text("utf-8") == "mine"
    assert load_t2s(convert(GPT, tmp_path, overwrite=True)).dims.eos == 64


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path) -> None:
    """A checkpoint whose data are damaged gives an error and no file, not even a part of one."""
    path, out_dir = tmp_path / "damaged.ckpt", tmp_path / "out"
    content = bytearray(GPT.read_bytes())
    content[content.index(b"/data/20FB") + 400] ^= 1
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match="damaged"):
        convert(path, out_dir)
    assert list(out_dir.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """An output directory that is a file is no fault of the checkpoint."""
    (tmp_path / "out").write_text("a file", "utf-8")

    with pytest.raises(FileExistsError, match="out"):
        convert(GPT, tmp_path / "out")


def test_a_converted_file_with_an_unknown_version_is_refused(tmp_path: Path) -> None:
    """Metadata that name a version from the future give an error that lists the known ones."""
    config = load_sovits(DATA / "s2_layout_v4_lora.pth", allow_cfm=True).config
    path = tmp_path / "lora.pth"
    write_sovits(path, {"cfm.x": torch.ones(1)}, config)
    target = convert(path, tmp_path)
    target.write_bytes(
        target.read_bytes().replace(b'\\"version\\": \\"v4\\"', b'\\"version\\": \\"v9\\"')
    )

    with pytest.raises(CheckpointError, match="version 'v9'; known are v1, v2"):
        load_sovits(target, allow_cfm=True)


def test_a_tensor_in_a_config_is_refused(tmp_path: Path) -> None:
    """A config that JSON cannot hold is an error of that file, and nothing is written."""
    path = tmp_path / "odd.ckpt"
    original = load_t2s(GPT)
    tensors = {name: original.weights.tensor(name) for name in original.weights.names()}
    write_t2s(path, tensors, {**original.config, "extra": torch.zeros(2)})

    with pytest.raises(CheckpointError, match="odd.ckpt: .* a tensor"):
        convert(path, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_text_that_is_no_unicode_survives(tmp_path: Path) -> None:
    """A half of a surrogate pair in the note is escaped in both files, and read back."""
    path = tmp_path / "odd.ckpt"
    original = load_t2s(GPT)
    tensors = {name: original.weights.tensor(name) for name in original.weights.names()}
    write_t2s(path, tensors, original.config, info="half \ud800")

    converted = convert(path, tmp_path / "out")

    assert load_t2s(converted).info == "half \ud800"
    assert json.loads(converted.with_suffix(".json").read_text())["info"] == "half \ud800"


def test_the_name_of_the_metadata_is_no_tensors(tmp_path: Path) -> None:
    """A tensor that would take the place of the metadata is refused, not lost."""
    path = tmp_path / "odd.pth"
    write_state_dict(path, {"__metadata__": torch.zeros(2), "x": torch.zeros(2)})

    with pytest.raises(CheckpointError, match="odd.pth: .*__metadata__"):
        convert(path, tmp_path / "out")


def test_tensors_that_share_their_bytes_are_bounded(tmp_path: Path) -> None:
    """Tied weights are honest; a file that unfolds to many times its size is refused."""
    path = tmp_path / "odd.pth"
    shared = torch.zeros(10_000)
    write_state_dict(path, {"x": shared, "y": shared})
    convert(path, tmp_path)
    write_state_dict(path, {f"x{index}": shared for index in range(100)})

    with pytest.raises(CheckpointError, match="odd.pth: .* 4000000 bytes"):
        convert(path, tmp_path, overwrite=True)
