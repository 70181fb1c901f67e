"""Finding a model's files: what is missing or unclear is named."""

from pathlib import Path

import pytest

from sovits_serve.checkpoints.convert import convert
from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.errors import CheckpointError
from sovits_serve.models.spec import ModelVersion


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a whole model directory."""
    directory = tmp_path_factory.mktemp("locate") / "model"
    write_random_model(directory, version=ModelVersion.V2PRO, size="tiny", seed=0)
    return directory


def copy_links(model: Path, target: Path, *, without: str = "") -> Path:
    """Make a directory that links to a model's files, leaving one out."""
    target.mkdir()
    for entry in model.iterdir():
        if entry.name != without:
            (target / entry.name).symlink_to(entry)
    return target


def test_a_whole_directory_is_found(model: Path) -> None:
    """Every file of a complete directory is found by its layout."""
    files = locate_model(model)

    assert files.t2s.suffix == ".ckpt"
    assert files.sovits.suffix == ".pth"
    assert files.hubert.name == "chinese-hubert-base"
    assert files.bert is not None
    assert files.speaker is not None


def test_converted_files_are_preferred(model: Path, tmp_path: Path) -> None:
    """Safetensors beside the originals are taken, each for what it holds."""
    directory = copy_links(model, tmp_path / "model")
    original = locate_model(model)
    t2s, sovits = convert(original.t2s, directory), convert(original.sovits, directory)

    files = locate_model(directory)

    assert (files.t2s, files.sovits) == (t2s, sovits)


def test_encoders_may_be_elsewhere(model: Path, tmp_path: Path) -> None:
    """HuBERT and the others are looked for in ``pretrained`` too."""
    voice = tmp_path / "voice"
    voice.mkdir()
    for file in (locate_model(model).t2s, locate_model(model).sovits):
        (voice / file.name).symlink_to(file)

    files = locate_model(voice, pretrained=model)

    assert files.hubert.parent == model


def test_two_candidates_are_not_guessed_between(model: Path, tmp_path: Path) -> None:
    """Several T2S files make an error that lists them, until one is named."""
    directory = copy_links(model, tmp_path / "model")
    original = locate_model(model).t2s
    (directory / "other.ckpt").symlink_to(original)

    with pytest.raises(CheckpointError, match=r"2 t2s files \(.*other.ckpt.*\); say which one"):
        locate_model(directory)
    assert locate_model(directory, t2s=original).t2s == original


@pytest.mark.parametrize("missing", ["chinese-hubert-base", "gpt.ckpt", "sovits.pth"])
def test_a_missing_file_is_named(model: Path, tmp_path: Path, missing: str) -> None:
    """What is not there is said by name."""
    directory = copy_links(model, tmp_path / "model", without=missing)

    with pytest.raises(CheckpointError, match=Path(missing).suffix or missing):
        locate_model(directory)


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A wrong directory is an error of its own."""
    with pytest.raises(CheckpointError, match="no such directory"):
        locate_model(tmp_path / "nowhere")
