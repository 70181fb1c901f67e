"""Files and settings to a running engine. "auto" becomes a device and a precision here."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sovits_serve.checkpoints.load import load_sovits, load_state_dict, load_t2s
from sovits_serve.checkpoints.locate import ModelFiles
from sovits_serve.config import EngineConfig
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.kv_cache import slot_bytes
from sovits_serve.engine.memory import (
    CPU_MAX_RUNNING,
    choose_max_running,
    choose_paged_cache,
    memory_budget,
    usual_cache_tokens,
)
from sovits_serve.engine.request import ModelLimits
from sovits_serve.engine.runner_choice import make_runner, resolve_kernels
from sovits_serve.engine.scheduler import AudioGeometry, Scheduler, SchedulerLimits
from sovits_serve.errors import CheckpointError, ConfigError
from sovits_serve.models.bundle import Encoders, Models, Reuse
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.reference.speaker import SpeakerEncoder
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.spec import SPECS, ModelSpec, SymbolVersion
from sovits_serve.models.t2s.model import T2SModel
from sovits_serve.models.text_features.bert import BertFeatures

# Called with what is loaded next and the share of the whole that is done.
Progress = Callable[[str, float], None]

# One step's audio on the CPU is kept to 4 s of speech, so that token steps come often enough;
# a GPU decodes that many seconds per row in the time of a token step.
_CPU_AUDIO_FRAMES = 200
# Segments prefilled, and windows decoded, in one step.
_CPU_ROWS, _CUDA_ROWS = 8, 16


@dataclass(frozen=True)
class LoadedEngine:
    """A ready engine and what its callers need to know of the model."""

    core: EngineCore
    symbol_version: str
    sample_rate_hz: int


def resolve(config: EngineConfig) -> EngineConfig:
    """Replace every "auto" by what this machine has, but ``kernels`` where they are to be tried.

    Raises:
        ConfigError: the device does not exist, or cannot do what is asked of it.
    """
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
        if kind != "cuda" and device != "cpu":
            raise ConfigError(f"device: {device!r} is not cpu, cuda or cuda:N")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device: {device!r} cannot be used here: {reason}") from error
    is_cuda = kind == "cuda"
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float16" if is_cuda else "float32"
    if config.decode_weights == "int8" and (is_cuda or dtype == "float16"):
        raise ConfigError(
            f"decode_weights: int8 is for a CPU in float32 or bfloat16, not for {device} in {dtype}"
        )
    kernels = resolve_kernels(config.kernels, torch.device(device))
    if kernels != "off" and 0 < config.kv_cache_tokens < config.max_sequence_length:
        raise ConfigError(
            f"kv_cache_tokens: {config.kv_cache_tokens} is neither 0 nor at least "
            f"max_sequence_length ({config.max_sequence_length}), the tokens of one segment"
        )
    invariant = config.batch_invariant
    if invariant == "auto":
        invariant = "on" if is_cuda else "off"
    rows = _CUDA_ROWS if is_cuda else _CPU_ROWS
    threads = config.num_threads or _usable_cores()
    return replace(
        config,
        device=device,
        dtype=dtype,
        batch_invariant=invariant,
        kernels=kernels,
        max_prefill_rows=config.max_prefill_rows or rows,
        max_audio_rows=config.max_audio_rows or rows,
        num_threads=threads,
    )


def _usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_models(
    files: ModelFiles,
    device: torch.device,
    dtype: torch.dtype,
    *,
    decode_weights: str = "float",
    reuse: Reuse | None = None,
    progress: Progress | None = None,
) -> Models:
    """Load every model of a voice.

    Args:
        files: where they are.
        device: where they go.
        dtype: of T2S, BERT and decoder.
        decode_weights: "int8": T2S computes with 8-bit weights and, whatever ``dtype``, in float32
            otherwise.
        reuse: parts that are loaded already, on that device and in that precision.
        progress: told the name of each part before it is loaded, and the share already done.

    Raises:
        CheckpointError: a file is missing or wrong, or two files do not fit each other.
    """
    reuse = reuse or Reuse()
    begin = _Progress(files, progress or _ignore).begin
    begin("T2S", files.t2s)
    is_int8 = decode_weights == "int8"
    t2s = reuse.t2s or _load_t2s(files.t2s, device, torch.float32 if is_int8 else dtype)
    if is_int8:
        t2s.use_int8()
    begin("SoVITS", files.sovits)
    spec, symbol_version, sovits = _load_decoder(files.sovits, device, dtype, reuse.sovits_of)
    encoders = reuse.encoders or _load_hubert(files, device, begin)
    if t2s.dims.reads_text_features and encoders.bert is None and files.bert is not None:
        begin("BERT", files.bert)
        bert = BertFeatures.from_directory(files.bert, device=device, dtype=dtype)
        encoders = replace(encoders, bert=bert)
    if spec.has_speaker_embedding and encoders.speaker is None:
        begin("speaker encoder", files.speaker)
        encoders = replace(encoders, speaker=_load_speaker(files, spec, device))
    models = Models(
        spec=spec,
        symbol_version=symbol_version,
        t2s=t2s,
        sovits=sovits,
        hubert=encoders.hubert,
        bert=encoders.bert if t2s.dims.reads_text_features else None,
        speaker=encoders.speaker if spec.has_speaker_embedding else None,
        device=device,
        dtype=dtype,
    )
    _check_fit(models, files)
    return models


def _load_t2s(path: Path, device: torch.device, dtype: torch.dtype) -> T2SModel:
    file = load_t2s(path)
    return T2SModel.from_weights(file.dims, file.weights, device=device, dtype=dtype)


def _load_decoder(
    path: Path, device: torch.device, dtype: torch.dtype, like: Models | None
) -> tuple[ModelSpec, SymbolVersion, SovitsModel]:
    if like is not None:
        return like.spec, like.symbol_version, like.sovits
    file = load_sovits(path)
    spec = SPECS[file.version]
    sovits = SovitsModel.from_weights(spec, file.dims, file.weights, device=device, dtype=dtype)
    return spec, file.symbol_version, sovits


def _load_hubert(
    files: ModelFiles, device: torch.device, begin: Callable[[str, Path | None], None]
) -> Encoders:
    """Load the encoder that all models need; the others come when a model needs them."""
    begin("HuBERT", files.hubert)
    hubert = HubertEncoder.from_directory(files.hubert, device=device, dtype=torch.float32)
    return Encoders(hubert, bert=None, speaker=None)


def _load_speaker(files: ModelFiles, spec: ModelSpec, device: torch.device) -> SpeakerEncoder:
    if files.speaker is None:
        raise CheckpointError(
            f"{files.sovits}: a {spec.version} model needs the speaker encoder "
            "sv/pretrained_eres2netv2w24s4ep4.ckpt, which was not found"
        )
    weights = load_state_dict(files.speaker)
    return SpeakerEncoder.from_weights(weights, device=device, dtype=torch.float32)


class _Progress:
    """Tells how much of a model is loaded, by the sizes of its files."""

    def __init__(self, files: ModelFiles, tell: Progress) -> None:
        paths = (files.t2s, files.sovits, files.hubert, files.bert, files.speaker)
        self._sizes = {path: _size_bytes(path) for path in paths if path is not None}
        self._total = max(1, sum(self._sizes.values()))
        self._done = self._current = 0
        self._tell = tell

    def begin(self, what: str, path: Path | None) -> None:
        """Tell that a part is next; the one before is done."""
        self._done += self._current
        self._current = self._sizes.get(path, 0) if path is not None else 0
        self._tell(what, self._done / self._total)


def _size_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files of a directory; 0 for what is not there."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size if path.exists() else 0


def _ignore(_what: str, _share: float) -> None:
    """Tell nobody."""


def load_engine(files: ModelFiles, config: EngineConfig) -> LoadedEngine:
    """Load a model and build an engine around it.

    Sets, for the whole process, torch's CPU threads and ``use_exact_kernels``.

    Raises:
        CheckpointError: a file is missing or wrong.
        ConfigError: a setting does not fit this machine.
    """
    config = resolve(config)
    torch.set_num_threads(config.num_threads)
    use_exact_kernels()
    budget_bytes = limit_memory(config)
    models = load_models(
        files,
        torch.device(config.device),
        getattr(torch, config.dtype),
        decode_weights=config.decode_weights,
    )
    core = build_engine(models, settle(config, models, budget_bytes, max_models=1))
    return LoadedEngine(core, models.symbol_version.value, models.spec.sample_rate_hz)


def limit_memory(config: EngineConfig) -> int:
    """Keep this process within ``gpu_memory`` of its device; return that in bytes, 0 on the CPU.

    Raises:
        ConfigError: the device has less.
    """
    device = torch.device(config.device)
    if device.type != "cuda":
        return 0
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    budget_bytes = memory_budget(config.gpu_memory, free_bytes, total_bytes)
    if ":" not in config.device:  # the function below wants to be told which
        device = torch.device("cuda", torch.cuda.current_device())
    torch.cuda.set_per_process_memory_fraction(min(1.0, budget_bytes / total_bytes), device)
    return budget_bytes


def settle(
    config: EngineConfig, models: Models, budget_bytes: int, *, max_models: int
) -> EngineConfig:
    """Replace ``max_running`` and ``kv_cache_tokens`` 0 by what the memory allows.

    Args:
        config: resolved.
        models: the first model, loaded.
        budget_bytes: of ``limit_memory``.
        max_models: models that may be loaded at once.

    Raises:
        ConfigError: not one segment fits.
    """
    max_length = config.max_sequence_length
    has_pages = config.kernels != "off"
    if config.max_running and (config.kv_cache_tokens or not has_pages):
        return config
    if not budget_bytes:
        max_running = config.max_running or CPU_MAX_RUNNING
        num_tokens = config.kv_cache_tokens or usual_cache_tokens(max_running, max_length)
        return replace(config, max_running=max_running, kv_cache_tokens=num_tokens)
    sizes = {
        "budget_bytes": budget_bytes,
        "loaded_bytes": torch.cuda.memory_allocated(models.device),
        "model_bytes": _num_bytes(models.t2s) + _num_bytes(models.sovits),
        "max_models": max_models,
    }
    dims, item_bytes = models.t2s.dims, models.dtype.itemsize
    if not has_pages:
        one_slot = slot_bytes(dims, max_length, item_bytes)
        return replace(config, max_running=choose_max_running(slot_bytes=one_slot, **sizes))
    max_running, num_tokens = choose_paged_cache(
        token_bytes=dims.num_layers * 2 * dims.hidden * item_bytes,
        max_sequence_length=max_length,
        max_running=config.max_running,
        **sizes,
    )
    num_tokens = config.kv_cache_tokens or num_tokens
    return replace(config, max_running=max_running, kv_cache_tokens=num_tokens)


def _num_bytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def build_engine(models: Models, config: EngineConfig) -> EngineCore:
    """Build an engine from loaded models and a resolved config.

    Raises:
        ConfigError: its memory cannot be had, or kernels are wanted and cannot be used.
    """
    assert "auto" not in (config.device, config.dtype, config.batch_invariant)
    assert config.max_running > 0
    assert config.max_prefill_rows > 0
    assert config.max_audio_rows > 0
    runner, config = make_runner(models, config)
    is_cpu = models.device.type == "cpu"
    frames = config.max_window_frames
    limits = SchedulerLimits(
        max_running=config.max_running,
        max_waiting=config.max_waiting,
        max_prefill_rows=config.max_prefill_rows,
        max_audio_rows=config.max_audio_rows,
        max_audio_frames=_CPU_AUDIO_FRAMES if is_cpu else config.max_audio_rows * frames,
        first_window_frames=config.first_window_frames,
        max_window_frames=frames,
        max_tokens=models.t2s.dims.early_stop_tokens,
        early_tokens=config.early_tokens,
        tokens_per_phoneme=models.t2s.dims.tokens_per_phoneme,
    )
    geometry = AudioGeometry(
        models.spec.frames_per_token,
        models.sovits.dims.samples_per_frame,
        models.spec.sample_rate_hz,
    )
    model_limits = ModelLimits(
        num_phonemes=models.num_phonemes,
        max_sequence_length=config.max_sequence_length,
        max_tokens=limits.max_tokens,
        max_segments=config.max_segments,
        max_auxiliary=config.max_auxiliary,
        can_read_chinese=models.can_read_chinese,
    )
    return EngineCore(Scheduler(limits, geometry), runner, model_limits)


def _check_fit(models: Models, files: ModelFiles) -> None:
    """Check that the files belong together."""
    codes = models.t2s.dims.vocab_size - 1
    if codes != models.sovits.dims.codebook_size:  # a reference may hold any of them
        raise CheckpointError(
            f"{files.t2s}: {codes} semantic tokens, but {files.sovits} has "
            f"{models.sovits.dims.codebook_size}"
        )
    if models.hubert.feature_dim != models.sovits.dims.ssl_dim:
        raise CheckpointError(
            f"{files.hubert}: features of {models.hubert.feature_dim}, but {files.sovits} reads "
            f"{models.sovits.dims.ssl_dim}"
        )
    if models.bert is not None and models.bert.feature_dim != models.t2s.dims.text_feature_dim:
        raise CheckpointError(
            f"{files.bert}: features of {models.bert.feature_dim}, but {files.t2s} reads "
            f"{models.t2s.dims.text_feature_dim}"
        )
