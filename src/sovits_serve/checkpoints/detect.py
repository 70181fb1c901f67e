"""Which model a checkpoint holds: its kind, and the version of a SoVITS model.

Upstream decides by the hash of the file's start, by the mark in its first two bytes, and by its
size; we ask hash and mark too, but tensors instead of the size, so that a small or a float32
file is known as well. Knows no dimensions and loads no tensor.

Source: GPT-SoVITS 48b1a01, process_ckpt.py (get_sovits_version_from_path_fast, the tables) and
TTS_infer_pack/TTS.py (init_vits_weights, symbol version). Differs: no rule by size while tensors
tell, an unknown mark is an error that says so.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.checkpoints.tensor_ref import ITEM_SIZES, TensorRef
from sovits_serve.errors import CheckpointError
from sovits_serve.models.spec import SPECS, ModelVersion, SymbolVersion

V1_SYMBOLS = 322
_HASHED_BYTES = 8192
_V1_MAX_BYTES = 82_978 * 1024
_V2_MAX_BYTES = 700 * 2**20
# Tied weights share their bytes once or twice; past this, a small file unfolds to a large model.
_MAX_SHARING = 4


class CheckpointKind(StrEnum):
    """What a file is for."""

    T2S = "t2s"
    SOVITS = "sovits"
    STATE_DICT = "state_dict"


@dataclass(frozen=True)
class Detection:
    """The version of a SoVITS checkpoint. ``reason`` says what decided."""

    version: ModelVersion
    symbol_version: SymbolVersion
    is_lora: bool
    reason: str


MARKS: Mapping[bytes, tuple[ModelVersion, bool]] = MappingProxyType(
    {
        b"00": (ModelVersion.V1, False),
        b"01": (ModelVersion.V2, False),
        b"02": (ModelVersion.V3, False),
        b"03": (ModelVersion.V3, True),
        b"04": (ModelVersion.V4, True),
        b"05": (ModelVersion.V2PRO, False),
        b"06": (ModelVersion.V2PROPLUS, False),
    }
)

_OFFICIAL: Mapping[str, ModelVersion] = MappingProxyType(
    {
        # The first entry is the v1 base; its 322 symbols make it v1 afterwards, as upstream does.
        "dc3c97e17592963677a4a1681f30c653": ModelVersion.V2,
        "6642b37f3dbb1f76882b69937c95a5f3": ModelVersion.V2,
        "43797be674a37c1c83ee81081941ed0f": ModelVersion.V3,
        "4f26b9476d0c5033e04162c486074374": ModelVersion.V4,
        "c7e9fce2223f3db685cdfa1e6368728a": ModelVersion.V2PRO,
        "66b313e39455b57ab1b0bc0b239c9d0a": ModelVersion.V2PROPLUS,
    }
)

_SOVITS_PREFIXES = ("enc_p.", "dec.", "quantizer.", "cfm.", "ref_enc.", "bridge.", "ssl_proj.")
_NAMES = MappingProxyType(
    {
        CheckpointKind.T2S: "a GPT (text to semantic) checkpoint",
        CheckpointKind.SOVITS: "a SoVITS checkpoint",
        CheckpointKind.STATE_DICT: "a plain table of tensors",
    }
)


def tensors_of(file: CheckpointFile) -> dict[str, TensorRef]:
    """Return the weights of any known layout: the tree itself, or its ``weight``.

    Raises:
        CheckpointError: the file holds no table of tensors.
    """
    tree = file.tree
    if isinstance(tree, dict) and {"model", "optimizer"} <= tree.keys():
        raise CheckpointError(
            f"{file.path}: is a training state (with its optimizer), not a finished checkpoint; "
            "use the file that training exports beside it"
        )
    weights = tree.get("weight") if isinstance(tree, dict) else None
    if not isinstance(weights, dict):
        weights = tree  # a plain state dict, whose 'weight' may itself be a tensor
    if isinstance(weights, dict):
        tensors = {str(name): ref for name, ref in weights.items() if isinstance(ref, TensorRef)}
        if tensors:
            _check_sharing(file, tensors)
            return tensors
    raise CheckpointError(f"{file.path}: holds no table of tensors under 'weight' or by itself")


def _check_sharing(file: CheckpointFile, tensors: Mapping[str, TensorRef]) -> None:
    size_bytes = sum(ref.span * ITEM_SIZES[ref.dtype] for ref in tensors.values())
    if size_bytes > _MAX_SHARING * file.size_bytes:
        raise CheckpointError(
            f"{file.path}: its tensors share storages: read one by one they have {size_bytes} "
            f"bytes, more than {_MAX_SHARING} times the file's {file.size_bytes}"
        )


def kind_of(tensors: Mapping[str, TensorRef]) -> CheckpointKind:
    """Tell by the tensors' names what a checkpoint is for."""
    if any(name.startswith("model.ar_") for name in tensors):
        return CheckpointKind.T2S
    if any(name.startswith(_SOVITS_PREFIXES) for name in tensors):
        return CheckpointKind.SOVITS
    return CheckpointKind.STATE_DICT


def require_kind(file: CheckpointFile, kind: CheckpointKind) -> dict[str, TensorRef]:
    """Return the weights if the file is of this kind.

    Raises:
        CheckpointError: it is of another kind; the message names both.
    """
    tensors = tensors_of(file)
    found = kind_of(tensors)
    if found != kind:
        raise CheckpointError(f"{file.path}: is {_NAMES[found]}, {_NAMES[kind]} is needed here")
    return tensors


def detect_version(file: CheckpointFile) -> Detection:
    """Find the version of a SoVITS checkpoint.

    Raises:
        CheckpointError: the file is no SoVITS checkpoint, or carries an unknown mark.
    """
    tensors = require_kind(file, CheckpointKind.SOVITS)
    version, is_lora, reason = _detect_declared(file, tensors)
    symbols = _symbol_version(tensors)
    if not SPECS[version].has_speaker_embedding and SPECS[version].decoder == "generator":
        # As upstream: for these versions the symbols have the last word.
        version = ModelVersion(symbols.value)
    return Detection(version, symbols, is_lora, reason)


def _symbol_version(tensors: Mapping[str, TensorRef]) -> SymbolVersion:
    embedding = tensors.get("enc_p.text_embedding.weight")
    is_v1 = embedding is not None and embedding.shape[:1] == (V1_SYMBOLS,)
    return SymbolVersion.V1 if is_v1 else SymbolVersion.V2


def _detect_declared(
    file: CheckpointFile, tensors: Mapping[str, TensorRef]
) -> tuple[ModelVersion, bool, str]:
    tree = file.tree if isinstance(file.tree, dict) else {}
    if file.is_safetensors and "version" in tree:
        try:
            return ModelVersion(str(tree["version"])), bool(tree.get("is_lora")), "metadata"
        except ValueError:
            raise CheckpointError(
                f"{file.path}: its metadata name version {str(tree['version'])[:40]!r}; known are "
                + ", ".join(ModelVersion)
            ) from None
    digest = hashlib.md5(file.head(_HASHED_BYTES), usedforsecurity=False).hexdigest()
    if digest in _OFFICIAL:
        return _OFFICIAL[digest], False, "official file"
    if file.mark != b"PK" and not file.is_safetensors:
        return _detect_mark(file)
    return _detect_by_tensors(file, tensors)


def _detect_mark(file: CheckpointFile) -> tuple[ModelVersion, bool, str]:
    if file.mark not in MARKS:
        known = ", ".join(mark.decode() for mark in MARKS)
        raise CheckpointError(
            f"{file.path}: its first two bytes are {file.mark!r}; known version marks are {known}"
        )
    version, is_lora = MARKS[file.mark]
    return version, is_lora, f"mark {file.mark.decode()}"


def _detect_by_tensors(
    file: CheckpointFile, tensors: Mapping[str, TensorRef]
) -> tuple[ModelVersion, bool, str]:
    declared = _declared_version(file)
    is_lora = any(".lora_A." in name for name in tensors)
    if is_lora or any(name.startswith(("cfm.", "bridge.", "wns1.")) for name in tensors):
        version = ModelVersion.V4 if declared == ModelVersion.V4 else ModelVersion.V3
        return version, is_lora, "tensors"
    if "sv_emb.weight" in tensors:
        return _pro_version(tensors, declared), False, "tensors"
    if "enc_p.text_embedding.weight" in tensors:
        return ModelVersion(_symbol_version(tensors).value), False, "tensors"
    if declared is not None:
        return declared, False, "config"
    return _version_by_size(file.size_bytes), False, "size"


def _pro_version(tensors: Mapping[str, TensorRef], declared: ModelVersion | None) -> ModelVersion:
    if declared is not None and SPECS[declared].has_speaker_embedding:
        return declared
    first = tensors.get("dec.ups.0.weight_v") or tensors.get("dec.ups.0.weight")
    is_plus = first is not None and first.shape[-1:] == (20,)
    return ModelVersion.V2PROPLUS if is_plus else ModelVersion.V2PRO


def _declared_version(file: CheckpointFile) -> ModelVersion | None:
    config = file.tree.get("config") if isinstance(file.tree, dict) else None
    model = config.get("model") if isinstance(config, dict) else None
    declared = model.get("version") if isinstance(model, dict) else None
    return ModelVersion(declared) if declared in list(ModelVersion) else None


def _version_by_size(size_bytes: int) -> ModelVersion:
    if size_bytes < _V1_MAX_BYTES:
        return ModelVersion.V1
    return ModelVersion.V2 if size_bytes < _V2_MAX_BYTES else ModelVersion.V3
