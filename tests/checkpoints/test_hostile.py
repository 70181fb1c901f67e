"""Hostile files end in an error that names them: nothing runs, nothing grows, nothing hangs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.errors import CheckpointError
from tests.checkpoints.archives import archive, numbers, storage, tensor, weights
from tests.checkpoints.hostile import ATTACKS, Attack

REPOSITORY = Path(__file__).parents[2]


def test_the_honest_form_of_the_attacks_opens(tmp_path: Path) -> None:
    """The archive that all attacks are built on is accepted when nothing is wrong with it."""
    path = tmp_path / "honest.pth"
    path.write_bytes(archive(weights(tensor(storage("0", 4), numbers(2, 2), numbers(2, 1)))))

    with CheckpointFile(path) as file:
        assert isinstance(file.tree, dict)
        assert file.tree["weight"]["x"].shape == (2, 2)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_hostile_file_is_refused(tmp_path: Path, attack: Attack) -> None:
    """It gives CheckpointError with the file's name, in under two seconds, and runs nothing."""
    canary, path = tmp_path / "canary", tmp_path / "hostile.pth"
    path.write_bytes(attack(canary))
    start_s = time.process_time()

    with pytest.raises(CheckpointError, match="hostile.pth: .{10}"):
        CheckpointFile(path)
    assert time.process_time() - start_s < 2
    assert not canary.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_hostile_files_need_little_memory(tmp_path: Path) -> None:
    """All attacks together raise the peak of the memory by less than 300 MB."""
    command = [sys.executable, "-m", "tests.checkpoints.hostile", str(tmp_path)]
    environment = {"PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"}
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=REPOSITORY, env=environment
    )

    assert int(result.stdout) < 300 * 2**20
    assert not (tmp_path / "canary").exists()
