"""Checkpoints as dimensions plus weights: what the model modules are built from.

Original files and those that ``convert`` wrote load through the same functions. Tensors are read
when asked for, one at a time; their names are as stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sovits_serve.checkpoints.config_reader import ConfigReader, ShapeChecker
from sovits_serve.checkpoints.detect import (
    CheckpointKind,
    Detection,
    detect_version,
    require_kind,
    tensors_of,
)
from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.checkpoints.tensor_ref import TensorRef
from sovits_serve.errors import CheckpointError
from sovits_serve.models.spec import SPECS, ModelVersion, SovitsDims, SymbolVersion, T2SDims
from sovits_serve.models.weights import WeightSource

_PUBLISHED_CODEBOOK = (1024, 768)


class CheckpointWeights:
    """A ``WeightSource`` over an open checkpoint, which stays open as long as this lives."""

    def __init__(self, file: CheckpointFile, tensors: Mapping[str, TensorRef]) -> None:
        self._file = file
        self._tensors = tensors

    @property
    def origin(self) -> str:
        """Return the file's path."""
        return str(self._file.path)

    def names(self) -> Iterable[str]:
        """Return all tensor names, in the order of the file."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return self._ref(name).shape

    def dtype(self, name: str) -> str:
        """Return a tensor's stored element type, such as ``float16``."""
        return self._ref(name).dtype

    def tensor(self, name: str) -> Tensor:
        """Read one tensor, contiguous, in its stored dtype.

        Raises:
            CheckpointError: there is no such tensor, or its bytes are damaged.
        """
        ref = self._ref(name)
        if ref.num_elements == 0:
            return torch.empty(ref.shape, dtype=_torch_dtype(ref.dtype))
        flat = torch.frombuffer(self._file.read(ref), dtype=torch.uint8)
        if ref.dtype == "bool":
            flat = flat.ne(0)  # any other byte in a bool tensor is undefined behaviour
        else:
            flat = flat.view(_torch_dtype(ref.dtype))
        return flat.as_strided(ref.shape, ref.strides).contiguous()

    def _ref(self, name: str) -> TensorRef:
        if name not in self._tensors:
            raise CheckpointError(f"{self.origin}: tensor {name!r} is missing")
        return self._tensors[name]


@dataclass(frozen=True)
class T2SCheckpoint:
    """A GPT checkpoint: text to semantic tokens."""

    dims: T2SDims
    weights: WeightSource
    info: str
    config: dict[str, object]


@dataclass(frozen=True)
class SovitsCheckpoint:
    """A SoVITS checkpoint: semantic tokens to audio."""

    version: ModelVersion
    symbol_version: SymbolVersion
    dims: SovitsDims
    weights: WeightSource
    info: str
    is_lora: bool
    config: dict[str, object]


def load_t2s(path: Path | str) -> T2SCheckpoint:
    """Open a GPT checkpoint and check its config against its tensors.

    Raises:
        CheckpointError: the file is no GPT checkpoint, damaged, or contradicts itself.
    """
    file = CheckpointFile(path)
    tensors = require_kind(file, CheckpointKind.T2S)
    config, info = _config_and_info(file)
    dims = _t2s_dims(ConfigReader(str(path), config), ShapeChecker(str(path), tensors))
    return T2SCheckpoint(dims, CheckpointWeights(file, tensors), info, config)


def load_sovits(path: Path | str, *, allow_cfm: bool = False) -> SovitsCheckpoint:
    """Open a SoVITS checkpoint, find its version and check its config against its tensors.

    Args:
        path: the file.
        allow_cfm: also return v3 and v4 models and their LoRA files; their dims are those of
            the config, unchecked.

    Raises:
        CheckpointError: the file is no SoVITS checkpoint, damaged, contradicts itself, or is of
            a version that is not supported.
    """
    file = CheckpointFile(path)
    tensors = require_kind(file, CheckpointKind.SOVITS)
    found = detect_version(file)
    has_generator = SPECS[found.version].decoder == "generator"
    if not (has_generator or allow_cfm):
        name = f"{found.version} LoRA" if found.is_lora else str(found.version)
        raise CheckpointError(f"{path}: is a {name} model, which is not supported yet")
    config, info = _config_and_info(file)
    dims = _sovits_dims(ConfigReader(str(path), config), tensors)
    if has_generator:
        _check_sovits(ShapeChecker(str(path), tensors), dims, found)
    weights = CheckpointWeights(file, tensors)
    return SovitsCheckpoint(
        found.version, found.symbol_version, dims, weights, info, found.is_lora, config
    )


def load_state_dict(path: Path | str) -> CheckpointWeights:
    """Open a plain table of tensors: a ``torch.save`` file or a safetensors file.

    Raises:
        CheckpointError: the file is damaged or holds no tensors.
    """
    file = CheckpointFile(path)
    return CheckpointWeights(file, tensors_of(file))


def _torch_dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype


def _config_and_info(file: CheckpointFile) -> tuple[dict[str, object], str]:
    tree = file.tree
    assert isinstance(tree, dict)
    config = tree.get("config")
    if not isinstance(config, dict):
        raise CheckpointError(f"{file.path}: has no 'config' beside its weights")
    return config, str(tree.get("info", ""))


def _t2s_dims(config: ConfigReader, tensors: ShapeChecker) -> T2SDims:
    bert_proj = tensors.shape("model.bert_proj.weight")
    dims = T2SDims(
        hidden=config.integer("model.hidden_dim"),
        num_heads=config.integer("model.head"),
        num_layers=config.integer("model.n_layer"),
        vocab_size=config.integer("model.vocab_size"),
        phoneme_vocab_size=config.integer("model.phoneme_vocab_size"),
        max_sec=config.integer("data.max_sec"),
        text_feature_dim=bert_proj[-1] if bert_proj else 0,
        reads_text_features=config.choice("model.text_features", ("bert", "none")) == "bert",
        tokens_per_phoneme=config.integer_or_zero("model.tokens_per_phoneme"),
    )
    hidden, vocab = dims.hidden, dims.vocab_size
    config.require("model.embedding_dim", config.integer("model.embedding_dim"), hidden)
    config.require("model.EOS", config.integer("model.EOS"), dims.eos)
    config.require("model.hidden_dim % model.head", hidden % dims.num_heads, 0)
    sizes = "model.hidden_dim"
    tensors.require("model.bert_proj.weight", (hidden, dims.text_feature_dim), sizes)
    tensors.require(
        "model.ar_text_embedding.word_embeddings.weight",
        (dims.phoneme_vocab_size, hidden),
        "model.phoneme_vocab_size, model.hidden_dim",
    )
    for name in ("ar_audio_embedding.word_embeddings", "ar_predict_layer"):
        wanted = "model.vocab_size, model.hidden_dim"
        tensors.require(f"model.{name}.weight", (vocab, hidden), wanted)
    tensors.require_count("model.h.layers.{}.linear1.weight", dims.num_layers, "model.n_layer")
    tensors.require("model.h.layers.0.linear1.weight", (4 * hidden, hidden), sizes)
    return dims


def _sovits_dims(config: ConfigReader, tensors: Mapping[str, TensorRef]) -> SovitsDims:
    embedding = tensors.get("enc_p.text_embedding.weight")
    # Published files hold 1024 codes of 768; no config says so, and other trainers may differ.
    codebook = tensors.get("quantizer.vq.layers.0._codebook.embed")
    codes = codebook.shape if codebook and len(codebook.shape) == 2 else _PUBLISHED_CODEBOOK
    return SovitsDims(
        inter_channels=config.integer("model.inter_channels"),
        hidden_channels=config.integer("model.hidden_channels"),
        filter_channels=config.integer("model.filter_channels"),
        num_heads=config.integer("model.n_heads"),
        num_layers=config.integer("model.n_layers"),
        kernel_size=config.integer("model.kernel_size"),
        style_dim=config.integer("model.gin_channels"),
        num_symbols=embedding.shape[0] if embedding and embedding.shape else 0,
        upsample_rates=config.integers("model.upsample_rates"),
        upsample_kernel_sizes=config.integers("model.upsample_kernel_sizes"),
        upsample_initial_channels=config.integer("model.upsample_initial_channel"),
        resblock_kernel_sizes=config.integers("model.resblock_kernel_sizes"),
        resblock_dilation_sizes=config.integer_lists("model.resblock_dilation_sizes"),
        codebook_size=codes[0],
        ssl_dim=codes[1],
    )


def _check_sovits(tensors: ShapeChecker, dims: SovitsDims, found: Detection) -> None:
    spec = SPECS[found.version]
    hidden, style = dims.hidden_channels, dims.style_dim
    text = "enc_p.encoder_text"
    tensors.require("enc_p.text_embedding.weight", (dims.num_symbols, hidden), "hidden_channels")
    tensors.require(
        "enc_p.proj.weight", (2 * dims.inter_channels, hidden, 1), "inter_channels, hidden_channels"
    )
    tensors.require_count(text + ".ffn_layers.{}.conv_1.weight", dims.num_layers, "model.n_layers")
    tensors.require(
        f"{text}.ffn_layers.0.conv_1.weight",
        (dims.filter_channels, hidden, dims.kernel_size),
        "filter_channels, hidden_channels, kernel_size",
    )
    tensors.require(f"{text}.attn_layers.0.emb_rel_k", (1, 9, hidden // dims.num_heads), "n_heads")
    tensors.require("ref_enc.fc.fc.weight", (style, 128), "gin_channels")
    tensors.require(
        "ref_enc.spectral.0.fc.weight", (128, spec.style_bins), f"version {found.version}"
    )
    tensors.require(
        "quantizer.vq.layers.0._codebook.embed",
        (dims.codebook_size, dims.ssl_dim),
        "(two dimensions)",
    )
    tensors.require("ssl_proj.weight", (dims.ssl_dim, dims.ssl_dim, 2), "and the codebook's width")
    tensors.require(
        "enc_p.ssl_proj.weight",
        (hidden, dims.ssl_dim, 1),
        "hidden_channels and the codebook's width",
    )
    if spec.has_speaker_embedding:
        tensors.require("sv_emb.weight", (style, dims.speaker_dim), "gin_channels")
    _check_generator(tensors, dims)


def _check_generator(tensors: ShapeChecker, dims: SovitsDims) -> None:
    channels = dims.upsample_initial_channels
    tensors.require(
        "dec.conv_pre.weight",
        (channels, dims.inter_channels, 7),
        "upsample_initial_channel, inter_channels",
    )
    tensors.require("dec.cond.weight", (channels, dims.style_dim, 1), "gin_channels")
    for index, kernel_size in enumerate(dims.upsample_kernel_sizes):
        name = f"dec.ups.{index}.weight"
        wanted = (channels, channels // 2, kernel_size)
        tensors.require((name + "_v", name), wanted, "upsample_kernel_sizes")
        channels //= 2
    for key, stages in (
        ("rates", dims.upsample_rates),
        ("kernel_sizes", dims.upsample_kernel_sizes),
    ):
        tensors.require_count("dec.ups.{}.bias", len(stages), f"model.upsample_{key}")
    for key, blocks in (
        ("kernel_sizes", dims.resblock_kernel_sizes),
        ("dilation_sizes", dims.resblock_dilation_sizes),
    ):
        count = len(dims.upsample_rates) * len(blocks)
        tensors.require_count("dec.resblocks.{}.convs1.0.bias", count, f"model.resblock_{key}")
    for index, dilations in enumerate(dims.resblock_dilation_sizes):
        template = f"dec.resblocks.{index}.convs1." + "{}.bias"
        tensors.require_count(template, len(dilations), "model.resblock_dilation_sizes")
