"""What we write in upstream's layout is what upstream writes."""

import pickletools
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from sovits_serve.checkpoints.layout import write_sovits, write_t2s
from sovits_serve.checkpoints.reader import CheckpointFile
from tests.golden import DATA


def _opcodes(path: Path) -> list[tuple[str, object]]:
    """Return the pickle's opcodes without the memo's numbers."""
    copy = path.with_suffix(".zip")
    copy.write_bytes(b"PK" + path.read_bytes()[2:])
    with zipfile.ZipFile(copy) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        content = archive.read(name)
    copy.unlink()
    return [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(content)]


@pytest.mark.parametrize(("name", "header"), [("v2", None), ("v2Pro", "05"), ("v2ProPlus", "06")])
def test_a_sovits_file_is_pickled_as_upstreams(
    tmp_path: Path, name: str, header: str | None
) -> None:
    """Rewriting one of upstream's files gives the same opcodes, config class and mark."""
    original = tmp_path / "original.pth"
    original.write_bytes((DATA / f"s2_layout_{name}.pth").read_bytes())
    with CheckpointFile(original) as file:
        tree = file.tree
    assert isinstance(tree, dict)
    tensors = {
        key: torch.zeros(ref.shape, dtype=torch.float16) for key, ref in tree["weight"].items()
    }
    path = tmp_path / "rewritten.pth"
    write_sovits(path, tensors, tree["config"], tree["info"], header=header)

    assert _opcodes(path) == _opcodes(original)
    assert path.read_bytes()[:4] == original.read_bytes()[:4]


def test_writing_leaves_no_module_behind(tmp_path: Path) -> None:
    """The stand-in for upstream's module ``utils`` exists while pickle writes, and no longer."""
    before = sys.modules.get("utils")
    write_sovits(tmp_path / "x.pth", {"x": torch.zeros(1)}, {"model": {"a": [1, {"b": 2}]}})

    assert sys.modules.get("utils") is before


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    """What cannot be pickled leaves the file that was there, and no temporary one."""
    path = tmp_path / "x.ckpt"
    write_t2s(path, {"x": torch.zeros(1)}, {})
    before = path.read_bytes()

    with pytest.raises(AttributeError):
        write_t2s(path, {"x": torch.zeros(1)}, {"bad": lambda: None})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
