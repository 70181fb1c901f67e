"""The voice in the package: what speaks where no model is configured.

A small v2 model and voices of its speakers lie beside this module, in the layout of any model's
directory. How they were made is in tools/builtin_voice. Loads nothing heavy.
"""

from importlib.resources import files
from pathlib import Path

from sovits_serve.config import ModelConfig
from sovits_serve.errors import CheckpointError

PACKAGE = "sovits_serve"
FOLDER = "builtin_voice"
VOICES = ("default", "ada-en", "max-en", "mei-zh", "bo-zh", "mei-en", "bo-en")
_MODEL = (
    "gpt.safetensors",
    "sovits.safetensors",
    "chinese-hubert-base/config.json",
    "chinese-hubert-base/model.safetensors",
)


def builtin_model_directory() -> Path:
    """Return the directory of the model that the package brings.

    Raises:
        CheckpointError: this installation has not all of its files.
    """
    directory = _directory()
    voices = (f"voices/{name}.{suffix}" for name in VOICES for suffix in ("wav", "txt", "toml"))
    missing = [name for name in (*_MODEL, *voices) if not (directory / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{directory / missing[0]}: is missing, so there is no built-in voice to speak with; "
            "install the package again, or name a model of your own (--model DIR)"
        )
    return directory


def uses_builtin(model: ModelConfig) -> bool:
    """Return whether no model is configured, so that the built-in voice speaks."""
    return not (model.model or model.t2s or model.sovits)


def voices_directory(model: ModelConfig) -> Path | None:
    """Return where the voices are: as configured, else ``voices`` in the model's directory.

    The directory need not be there yet: it may be made, and filled, while the server runs. None:
    the model's two files were named, so that it has no directory.
    """
    if model.voices:
        return Path(model.voices)
    if uses_builtin(model):
        return _directory() / "voices"
    return Path(model.model) / "voices" if model.model else None


def _directory() -> Path:
    return Path(str(files(PACKAGE))) / FOLDER
