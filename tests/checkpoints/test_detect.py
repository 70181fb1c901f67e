"""Versions are found by mark, hash and tensors, as upstream's loader ends up deciding."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sovits_serve.checkpoints import detect
from sovits_serve.checkpoints.detect import CheckpointKind, detect_version, kind_of, tensors_of
from sovits_serve.checkpoints.layout import write_sovits
from sovits_serve.checkpoints.random_model import write_random_sovits
from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.errors import CheckpointError
from sovits_serve.models.spec import ModelVersion, SymbolVersion
from tests.golden import DATA

LAYOUTS = json.loads((DATA / "checkpoint_layouts.json").read_text("utf-8"))
GENERATOR_VERSIONS = [
    ModelVersion.V1,
    ModelVersion.V2,
    ModelVersion.V2PRO,
    ModelVersion.V2PROPLUS,
]


def _detect(path: Path) -> detect.Detection:
    with CheckpointFile(path) as file:
        return detect_version(file)


def _stub(path: Path, names: Mapping[str, tuple[int, ...]], **config: object) -> Path:
    tensors: dict[str, Tensor] = {name: torch.zeros(shape) for name, shape in names.items()}
    write_sovits(path, tensors, {"model": config})
    return path


@pytest.mark.parametrize("entry", LAYOUTS["files"], ids=lambda entry: entry["file"])
def test_upstreams_own_files_are_read_and_detected(entry: dict[str, object]) -> None:
    """Files that upstream's saver wrote open with their keys, and their version is known."""
    detected, keys = entry["detected"], entry["keys"]
    assert isinstance(detected, list)
    with CheckpointFile(DATA / str(entry["file"])) as file:
        found = detect_version(file)
        tree = file.tree

    assert isinstance(tree, dict)
    assert list(tree) == keys
    assert tree.get("lora_rank") == entry["lora_rank"]
    assert found.is_lora is detected[2]
    if "size" not in str(entry["note"]):
        assert [found.symbol_version, found.version] == detected[:2]


def test_a_tiny_v2_file_is_no_v1_for_its_size() -> None:
    """Where upstream's rule by size says v1, the 732 symbols say v2."""
    assert _detect(DATA / "s2_layout_v2.pth").version is ModelVersion.V2
    assert _detect(DATA / "s2_layout_v1.pth").version is ModelVersion.V1


@pytest.mark.parametrize("mark", LAYOUTS["head2version"])
def test_every_mark_of_upstream_is_known(tmp_path: Path, mark: str) -> None:
    """The two bytes in front give version, symbols and LoRA as upstream's table does."""
    path = tmp_path / "marked.pth"
    symbols = 322 if mark == "00" else 732
    tensors = {"enc_p.text_embedding.weight": torch.zeros(symbols, 4)}
    write_sovits(path, tensors, {"model": {}}, header=mark)
    found = _detect(path)

    assert [found.symbol_version, found.version, found.is_lora] == LAYOUTS["head2version"][mark]
    assert path.read_bytes()[:2] == mark.encode()


def test_an_unknown_mark_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """A mark of a later upstream gives an error that says which marks are known."""
    path = tmp_path / "future.pth"
    write_sovits(path, {"enc_p.proj.bias": torch.zeros(1)}, {"model": {}}, header="77")

    with pytest.raises(CheckpointError, match="b'77'; known version marks are 00, 01"):
        _detect(path)


def test_the_hashes_are_upstreams() -> None:
    """The table of official files equals the recorded one."""
    recorded = LAYOUTS["md5_first_8192_bytes_table"]

    assert {digest: entry[1] for digest, entry in recorded.items()} == detect._OFFICIAL


def test_the_v1_base_file_is_v1_although_its_hash_says_v2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An official file whose entry says v2 becomes v1 by its 322 symbols."""
    path = _stub(tmp_path / "base.pth", {"enc_p.text_embedding.weight": (322, 4)})
    digest = hashlib.md5(path.read_bytes()[:8192]).hexdigest()
    monkeypatch.setattr(detect, "_OFFICIAL", {digest: ModelVersion.V2})
    found = _detect(path)

    assert found.version is ModelVersion.V1
    assert found.symbol_version is SymbolVersion.V1
    assert found.reason == "official file"


@pytest.mark.parametrize("version", GENERATOR_VERSIONS)
def test_the_tensors_tell_the_version_when_the_mark_is_gone(
    tmp_path: Path, version: ModelVersion
) -> None:
    """A file whose mark was restored to PK by other tools is still what it was."""
    path = tmp_path / "unmarked.pth"
    write_random_sovits(path, version=version, size="tiny", seed=0)
    path.write_bytes(b"PK" + path.read_bytes()[2:])

    assert _detect(path).version is version


@pytest.mark.parametrize(
    ("names", "declared", "version", "is_lora"),
    [
        ({"cfm.estimator.x": (1,)}, "v3", "v3", False),
        ({"cfm.estimator.x": (1,)}, "v4", "v4", False),
        ({"bridge.0.bias": (512,)}, None, "v3", False),
        ({"cfm.base_model.to_q.lora_A.default.weight": (1,)}, "v4", "v4", True),
        ({"sv_emb.weight": (1, 1), "dec.ups.0.weight_v": (4, 2, 20)}, None, "v2ProPlus", False),
        ({"sv_emb.weight": (1, 1), "dec.ups.0.weight_v": (4, 2, 16)}, "v2", "v2Pro", False),
        ({"dec.conv_pre.bias": (1,)}, "v2Pro", "v2Pro", False),
    ],
)
def test_tensors_and_config_decide_without_a_mark(
    tmp_path: Path,
    names: dict[str, tuple[int, ...]],
    declared: str | None,
    version: str,
    is_lora: bool,
) -> None:
    """Flow matching, LoRA and speaker tensors are recognised, the config breaks ties."""
    found = _detect(_stub(tmp_path / "plain.pth", names, version=declared))

    assert (found.version, found.is_lora) == (version, is_lora)


def test_the_size_is_the_last_resort() -> None:
    """Upstream's limits decide for files whose tensors and config say nothing."""
    measured = LAYOUTS["real_sizes_measured"]

    assert detect._version_by_size(measured["v1"]) is ModelVersion.V1
    assert detect._version_by_size(measured["v2"]) is ModelVersion.V2
    assert detect._version_by_size(750 * 2**20) is ModelVersion.V3


def test_kinds_are_told_apart_by_names() -> None:
    """A GPT file, a SoVITS file and a table of other tensors are three kinds."""
    with CheckpointFile(DATA / "t2s_v65.ckpt") as file:
        assert kind_of(tensors_of(file)) is CheckpointKind.T2S
    with CheckpointFile(DATA / "s2_layout_v2.pth") as file:
        assert kind_of(tensors_of(file)) is CheckpointKind.SOVITS
    assert kind_of({}) is CheckpointKind.STATE_DICT


def test_a_training_state_is_refused_with_advice(tmp_path: Path) -> None:
    """A trainer's own checkpoint, with its optimizer, is named as such."""
    path = tmp_path / "G_100.pth"
    torch.save({"model": {"x": torch.zeros(1)}, "iteration": 1, "optimizer": {}}, path)

    with pytest.raises(CheckpointError, match="training state"):
        _detect(path)
