"""Finding the files of a model in directories as people have them. Opens nothing, no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sovits_serve.errors import CheckpointError

HUBERT_DIRECTORY = "chinese-hubert-base"
BERT_DIRECTORY = "chinese-roberta-wwm-ext-large"
SPEAKER_FILES = (
    "sv/pretrained_eres2netv2w24s4ep4.safetensors",
    "sv/pretrained_eres2netv2w24s4ep4.ckpt",
)
T2S_SUFFIXES = (".t2s.safetensors", ".ckpt")
SOVITS_SUFFIXES = (".sovits.safetensors", ".pth")


@dataclass(frozen=True)
class ModelFiles:
    """The files one engine loads. ``bert`` and ``speaker`` may be absent."""

    t2s: Path
    sovits: Path
    hubert: Path
    bert: Path | None
    speaker: Path | None


def locate_model(
    directory: Path | None = None,
    *,
    t2s: Path | None = None,
    sovits: Path | None = None,
    pretrained: Path | None = None,
) -> ModelFiles:
    """Find the files of a model.

    Args:
        directory: holds one T2S file (``*.ckpt`` or ``*.t2s.safetensors``) and one SoVITS file
            (``*.pth`` or ``*.sovits.safetensors``), unless they are named.
        t2s: the T2S file, when it is elsewhere or one of several.
        sovits: the SoVITS file, likewise.
        pretrained: where the encoders are (upstream's ``pretrained_models``); ``directory``
            itself is searched first.

    Raises:
        CheckpointError: a file is missing, or the choice is not clear; names what was looked for.
    """
    roots = [root for root in (directory, pretrained) if root is not None]
    for root in roots:
        if not root.is_dir():
            raise CheckpointError(f"{root}: no such directory")
    hubert = _first(roots, (HUBERT_DIRECTORY,))
    if hubert is None:
        raise CheckpointError(
            f"{HUBERT_DIRECTORY}/: not found in {_list(roots)}; it encodes the reference. "
            "Name the directory that holds it (upstream's pretrained_models)"
        )
    return ModelFiles(
        t2s=_chosen("T2S", t2s, directory, T2S_SUFFIXES),
        sovits=_chosen("SoVITS", sovits, directory, SOVITS_SUFFIXES),
        hubert=hubert,
        bert=_first(roots, (BERT_DIRECTORY,)),
        speaker=_first(roots, SPEAKER_FILES),
    )


def _chosen(
    what: str, given: Path | None, directory: Path | None, suffixes: tuple[str, ...]
) -> Path:
    if given is not None:
        if not given.is_file():
            raise CheckpointError(f"{given}: no such {what} file")
        return given
    files = sorted(directory.iterdir()) if directory is not None else []
    wanted = " or ".join(f"*{suffix}" for suffix in suffixes)
    for suffix in suffixes:
        found = [file for file in files if file.name.endswith(suffix) and file.is_file()]
        if len(found) > 1:
            raise CheckpointError(
                f"{directory}: {len(found)} {what} files ({', '.join(f.name for f in found)}); "
                "say which one"
            )
        if found:
            return found[0]
    raise CheckpointError(f"{directory}: no {what} file ({wanted})")


def _first(roots: Iterable[Path], names: Iterable[str]) -> Path | None:
    found = (root / name for root in roots for name in names if (root / name).exists())
    return next(found, None)


def _list(roots: list[Path]) -> str:
    return " or ".join(str(root) for root in roots) or "no directory (none was given)"
