"""A random model in the layout of the built-in one, for tests of what surrounds that voice."""

import shutil
from pathlib import Path

from sovits_serve.builtin import VOICES
from sovits_serve.checkpoints.convert import convert
from sovits_serve.checkpoints.random_model import write_random_model, write_random_t2s
from sovits_serve.models.spec import ModelVersion
from sovits_serve.voices.demo import write_demo_recording

# Where the package keeps its own; the settings there go with the stand-in.
_SETTINGS = Path(__file__).parents[1] / "src/sovits_serve/builtin_voice/voices"


def write_stand_in(directory: Path) -> Path:
    """Write safetensors, HuBERT, voices, no BERT; return the directory."""
    made = directory.with_name(f"{directory.name}-made")
    write_random_model(made, version=ModelVersion.V2, size="tiny", seed=0)
    write_random_t2s(
        made / "gpt.ckpt", version=ModelVersion.V2, size="tiny", seed=0, reads_text_features=False
    )
    for name in ("gpt.ckpt", "sovits.pth"):
        convert(made / name, directory).with_suffix(".json").unlink()
    (made / "chinese-hubert-base").rename(directory / "chinese-hubert-base")
    shutil.rmtree(made)
    write_stand_in_voices(directory / "voices")
    return directory


def write_stand_in_voices(directory: Path) -> None:
    """Write a made-up recording for each built-in voice, with the settings that it has."""
    directory.mkdir(parents=True)
    for seed, name in enumerate(VOICES):
        write_demo_recording(directory / f"{name}.wav", seed)
        (directory / f"{name}.txt").write_text("This is a made-up voice.\n", encoding="utf-8")
        shutil.copy(_SETTINGS / f"{name}.toml", directory)
