"""Finding the files of a model in directories as people have them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sovits_serve.checkpoints.detect import CheckpointKind, kind_of, tensors_of
from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.errors import CheckpointError

HUBERT_DIRECTORY = "chinese-hubert-base"
BERT_DIRECTORY = "chinese-roberta-wwm-ext-large"
SPEAKER_FILES = (
    "sv/pretrained_eres2netv2w24s4ep4.safetensors",
    "sv/pretrained_eres2netv2w24s4ep4.ckpt",
)
# Originals are told apart by their suffix, converted files by what they hold.
_SUFFIXES = {CheckpointKind.T2S: ".ckpt", CheckpointKind.SOVITS: ".pth"}
_CONVERTED = ".safetensors"


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
        directory: holds one T2S file (``*.ckpt``) and one SoVITS file (``*.pth``), or what
            ``models convert`` made of them (``*.safetensors``, preferred), unless they are named.
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
        t2s=_chosen(CheckpointKind.T2S, t2s, directory),
        sovits=_chosen(CheckpointKind.SOVITS, sovits, directory),
        hubert=hubert,
        bert=_first(roots, (BERT_DIRECTORY,)),
        speaker=_first(roots, SPEAKER_FILES),
    )


def _chosen(kind: CheckpointKind, given: Path | None, directory: Path | None) -> Path:
    if given is not None:
        if not given.is_file():
            raise CheckpointError(f"{given}: no such {kind} file")
        return given
    files = sorted(directory.iterdir()) if directory is not None else []
    converted = [file for file in files if file.suffix == _CONVERTED and _kind(file) is kind]
    originals = [file for file in files if file.suffix == _SUFFIXES[kind] and file.is_file()]
    found = converted or originals
    if not found:
        raise CheckpointError(
            f"{directory}: no {kind} file (*{_SUFFIXES[kind]}, or *{_CONVERTED} made of one)"
        )
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise CheckpointError(f"{directory}: {len(found)} {kind} files ({names}); say which one")
    return found[0]


def _kind(path: Path) -> CheckpointKind:
    with CheckpointFile(path) as file:
        return kind_of(tensors_of(file))


def _first(roots: Iterable[Path], names: Iterable[str]) -> Path | None:
    found = (root / name for root in roots for name in names if (root / name).exists())
    return next(found, None)


def _list(roots: list[Path]) -> str:
    return " or ".join(str(root) for root in roots) or "no directory (none was given)"
