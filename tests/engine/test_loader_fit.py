"""Files that do not belong together are refused when they load, not by the request that hits it."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sovits_serve.checkpoints.locate import ModelFiles
from sovits_serve.engine.loader import _check_fit
from sovits_serve.errors import CheckpointError
from sovits_serve.models.bundle import Models


@pytest.mark.parametrize("codebook_size", [512, 2048])
def test_tokens_and_codebook_must_be_as_many(codebook_size: int) -> None:
    """More codes than tokens would give prompts that T2S has no embedding for; fewer, the reverse."""
    models = SimpleNamespace(
        t2s=SimpleNamespace(dims=SimpleNamespace(vocab_size=1025)),
        sovits=SimpleNamespace(dims=SimpleNamespace(codebook_size=codebook_size)),
    )
    files = SimpleNamespace(t2s=Path("gpt.ckpt"), sovits=Path("sovits.pth"))

    with pytest.raises(
        CheckpointError,
        match=rf"gpt\.ckpt: 1024 semantic tokens, but sovits\.pth has {codebook_size}",
    ):
        _check_fit(cast(Models, models), cast(ModelFiles, files))
