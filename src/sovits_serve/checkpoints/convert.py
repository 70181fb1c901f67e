"""Converting checkpoints to safetensors with JSON metadata.

The result is one file that loads by itself: config, info and version lie in its header under the
key ``sovits_serve``. A ``.json`` file beside it holds the same for people; nothing reads it back.
"""

import json
from pathlib import Path

import torch

from sovits_serve.checkpoints.atomic_file import atomic_path
from sovits_serve.checkpoints.detect import CheckpointKind, detect_version, kind_of, tensors_of
from sovits_serve.checkpoints.load import CheckpointWeights, load_sovits, load_t2s
from sovits_serve.checkpoints.reader import CONVERTED_KEY, CheckpointFile
from sovits_serve.checkpoints.safetensors_format import METADATA_KEY, write_tensors
from sovits_serve.errors import CheckpointError


def convert(path: Path | str, out_dir: Path | str, *, overwrite: bool = False) -> Path:
    """Write ``<stem>.safetensors`` and ``<stem>.json`` into ``out_dir``.

    Tensors keep their names, order, dtypes and bits, one of them in memory at a time. Both files
    appear as a whole or not at all.

    Args:
        path: a GPT or SoVITS checkpoint, or a plain table of tensors.
        out_dir: where to write; made if it does not exist.
        overwrite: replace files that exist.

    Returns:
        The safetensors file's path.

    Raises:
        CheckpointError: the checkpoint does not load, or a target exists.
        OSError: a target cannot be written.
    """
    source, out_dir = Path(path), Path(out_dir)
    target = out_dir / f"{source.stem}.safetensors"
    for existing in (target, target.with_suffix(".json")):
        if existing.exists() and not overwrite:
            raise CheckpointError(f"{existing}: exists already; allow overwriting to replace it")
    with CheckpointFile(source) as file:
        weights = CheckpointWeights(file, tensors_of(file))
        fields = _describe(file)
        out_dir.mkdir(parents=True, exist_ok=True)
        _write(target, weights, fields)
    return target


def describe(path: Path | str) -> dict[str, object]:
    """Return what a checkpoint is: kind, version, info, config.

    Raises:
        CheckpointError: it does not load.
    """
    with CheckpointFile(Path(path)) as file:
        return _describe(file)


def _describe(file: CheckpointFile) -> dict[str, object]:
    """Return what the file holds beside its tensors, after checking that it loads."""
    kind = kind_of(tensors_of(file))
    fields: dict[str, object] = {"kind": kind.value, "source": file.path.name}
    if kind is CheckpointKind.T2S:
        t2s = load_t2s(file.path)
        fields |= {"info": t2s.info, "config": t2s.config}
    elif kind is CheckpointKind.SOVITS:
        sovits = load_sovits(file.path, allow_cfm=True)
        found = detect_version(file)
        fields |= {"version": found.version.value, "symbol_version": found.symbol_version.value}
        fields |= {"is_lora": found.is_lora, "info": sovits.info, "config": sovits.config}
        if isinstance(file.tree, dict) and "lora_rank" in file.tree:
            fields["lora_rank"] = file.tree["lora_rank"]
    return fields


def _write(target: Path, weights: CheckpointWeights, fields: dict[str, object]) -> None:
    def refuse(_: object) -> None:
        raise CheckpointError(f"{weights.origin}: its config holds a tensor")

    metadata = {"format": "pt"}
    described = json.dumps(fields, indent=2, ensure_ascii=False, default=refuse) + "\n"
    if "config" in fields:
        metadata[CONVERTED_KEY] = json.dumps(fields)
    if METADATA_KEY in weights.names():
        raise CheckpointError(f"{weights.origin}: a tensor is named {METADATA_KEY!r}")
    layout = {name: (weights.dtype(name), weights.shape(name)) for name in weights.names()}

    def read(name: str) -> memoryview:
        flat = weights.tensor(name).reshape(-1).view(torch.uint8)
        return flat.numpy().data

    with atomic_path(target) as temporary:
        write_tensors(temporary, layout, read, metadata)
    with atomic_path(target.with_suffix(".json")) as temporary:
        # What UTF-8 cannot say (half of a surrogate pair) is escaped as JSON does it.
        temporary.write_text(described, "utf-8", "backslashreplace")
