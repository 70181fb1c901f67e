"""One tiny random v2 model for all engine tests."""

from pathlib import Path

import pytest

from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.models.bundle import Models
from sovits_serve.models.spec import ModelVersion
from tests.fakes import load_tiny


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a tiny random v2 model."""
    directory = tmp_path_factory.mktemp("models") / "tiny-v2"
    write_random_model(directory, version=ModelVersion.V2, size="tiny", seed=0)
    return directory


@pytest.fixture(scope="session")
def tiny(tiny_directory: Path) -> Models:
    """Return the loaded tiny model."""
    return load_tiny(tiny_directory)
