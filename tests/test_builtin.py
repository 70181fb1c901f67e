"""Where the built-in voice is, when it speaks, and that the wheel brings it."""

from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from sovits_serve import builtin
from sovits_serve.builtin import (
    VOICES,
    builtin_model_directory,
    uses_builtin,
    voices_directory,
)
from sovits_serve.config import ModelConfig
from sovits_serve.errors import CheckpointError
from sovits_serve.voices.registry import OPENAI_VOICES, VoiceRegistry
from tests.stand_in import write_stand_in_voices

ROOT = Path(__file__).parents[1]
MAX_BYTES = 30_000_000


def test_the_package_has_the_built_in_voice() -> None:
    """All files are there, and no others; together they are small enough for a wheel."""
    directory = builtin_model_directory()
    found = {
        path.relative_to(directory): path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file()
    }

    voices = {Path(f"voices/{name}.{kind}") for name in VOICES for kind in ("wav", "txt", "toml")}
    assert directory.parent.name == "sovits_serve"
    assert set(found) == voices | {
        Path("gpt.safetensors"),
        Path("sovits.safetensors"),
        Path("chinese-hubert-base/config.json"),
        Path("chinese-hubert-base/model.safetensors"),
    }
    assert sum(found.values()) <= MAX_BYTES


def test_an_installation_without_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first missing file is named, and what to do."""
    monkeypatch.setattr(builtin, "FOLDER", str(tmp_path))

    with pytest.raises(CheckpointError, match=r"gpt\.safetensors: is missing.*--model DIR"):
        builtin_model_directory()


def test_the_wheel_brings_it() -> None:
    """The build takes every file of the folder; the recipe's own files stay outside."""
    builder = WheelBuilder(str(ROOT))
    built = {file.distribution_path for file in builder.recurse_included_files()}
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "sovits_serve" / "builtin_voice").rglob("*")
        if path.is_file()
    }

    assert wanted <= built
    assert not [path for path in built if not path.startswith("sovits_serve/")]


@pytest.mark.parametrize(
    ("model", "is_builtin", "voices"),
    [
        (ModelConfig(), True, "builtin_voice/voices"),
        (ModelConfig(voices="/v"), True, "/v"),
        (ModelConfig(model="/m"), False, "/m/voices"),
        (ModelConfig(model="/m", voices="/v"), False, "/v"),
        (ModelConfig(t2s="/a", sovits="/b"), False, None),
    ],
)
def test_it_speaks_where_no_model_is_configured(
    model: ModelConfig, *, is_builtin: bool, voices: str | None
) -> None:
    """Any weights of one's own take its place, and its voices are then not there."""
    directory = voices_directory(model)

    assert uses_builtin(model) is is_builtin
    assert (directory is None) if voices is None else str(directory).endswith(voices)


def test_openai_names_are_voices_of_it(tmp_path: Path) -> None:
    """Each of OpenAI's names is one of two English voices; a request without a name gets Ada."""
    write_stand_in_voices(tmp_path / "voices")
    registry = VoiceRegistry(tmp_path / "voices")
    names = {name: registry.get(name).name for name in OPENAI_VOICES}

    assert {voice.name for voice in registry.voices()} == set(VOICES)
    assert not registry.problems
    assert registry.get("").name == "default"
    assert set(names.values()) == {"ada-en", "max-en"}
    assert (names["nova"], names["onyx"]) == ("ada-en", "max-en")
