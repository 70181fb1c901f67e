"""Files and settings to a running engine. "auto" becomes a device and a precision here."""

import os
from dataclasses import dataclass, replace

import torch

from sovits_serve.checkpoints.load import load_sovits, load_state_dict, load_t2s
from sovits_serve.checkpoints.locate import ModelFiles
from sovits_serve.config import EngineConfig
from sovits_serve.engine.conditioning import Conditioner
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.model_runner import ModelRunner
from sovits_serve.engine.request import ModelLimits
from sovits_serve.engine.scheduler import AudioGeometry, Scheduler, SchedulerLimits
from sovits_serve.errors import CheckpointError, ConfigError
from sovits_serve.models.bundle import Models
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.reference.features import ReferenceRules
from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.reference.speaker import SpeakerEncoder
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.spec import SPECS
from sovits_serve.models.t2s.model import T2SModel
from sovits_serve.models.text_features.bert import BertFeatures

# One step's audio on the CPU is kept to 4 s of speech, so that token steps come often enough;
# a GPU decodes that many seconds per row in the time of a token step.
_CPU_AUDIO_FRAMES = 200


@dataclass(frozen=True)
class LoadedEngine:
    """A ready engine and what its callers need to know of the model."""

    core: EngineCore
    symbol_version: str
    sample_rate_hz: int


def resolve(config: EngineConfig) -> EngineConfig:
    """Replace every "auto" by what this machine has.

    Raises:
        ConfigError: the device does not exist.
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
    invariant = config.batch_invariant
    if invariant == "auto":
        invariant = "on" if is_cuda else "off"
    threads = config.num_threads or _usable_cores()
    return replace(
        config, device=device, dtype=dtype, batch_invariant=invariant, num_threads=threads
    )


def _usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_models(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Models:
    """Load every model of a voice.

    Raises:
        CheckpointError: a file is missing or wrong, or two files do not fit each other.
    """
    t2s_file = load_t2s(files.t2s)
    sovits_file = load_sovits(files.sovits)
    spec = SPECS[sovits_file.version]
    t2s = T2SModel.from_weights(t2s_file.dims, t2s_file.weights, device=device, dtype=dtype)
    sovits = SovitsModel.from_weights(
        spec, sovits_file.dims, sovits_file.weights, device=device, dtype=dtype
    )
    speaker = None
    if spec.has_speaker_embedding:
        if files.speaker is None:
            raise CheckpointError(
                f"{files.sovits}: a {spec.version} model needs the speaker encoder "
                "sv/pretrained_eres2netv2w24s4ep4.ckpt, which was not found"
            )
        weights = load_state_dict(files.speaker)
        speaker = SpeakerEncoder.from_weights(weights, device=device, dtype=torch.float32)
    models = Models(
        spec=spec,
        symbol_version=sovits_file.symbol_version,
        t2s=t2s,
        sovits=sovits,
        hubert=HubertEncoder.from_directory(files.hubert, device=device, dtype=torch.float32),
        bert=None
        if files.bert is None
        else BertFeatures.from_directory(files.bert, device=device, dtype=dtype),
        speaker=speaker,
        device=device,
        dtype=dtype,
    )
    _check_fit(models, files)
    return models


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
    models = load_models(files, torch.device(config.device), getattr(torch, config.dtype))
    core = build_engine(models, config)
    return LoadedEngine(core, models.symbol_version.value, models.spec.sample_rate_hz)


def build_engine(models: Models, config: EngineConfig) -> EngineCore:
    """Build an engine from loaded models and a resolved config."""
    assert "auto" not in (config.device, config.dtype, config.batch_invariant)
    is_invariant = config.batch_invariant == "on"
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
    )
    geometry = AudioGeometry(
        models.spec.frames_per_token,
        models.sovits.dims.samples_per_frame,
        models.spec.sample_rate_hz,
    )
    conditioner = Conditioner(
        models,
        config.reference_cache_bytes,
        rules=ReferenceRules(trim=config.long_reference == "trim"),
        is_row_by_row=is_invariant,
    )
    runner = ModelRunner(models, conditioner, config)
    model_limits = ModelLimits(
        num_phonemes=models.num_phonemes,
        max_sequence_length=config.max_sequence_length,
        max_tokens=limits.max_tokens,
        max_segments=config.max_segments,
        max_auxiliary=config.max_auxiliary,
        has_text_features=models.bert is not None,
    )
    return EngineCore(Scheduler(limits, geometry), runner, model_limits)


def _check_fit(models: Models, files: ModelFiles) -> None:
    """Check that the files belong together."""
    codes = models.t2s.dims.vocab_size - 1
    if codes > models.sovits.dims.codebook_size:
        raise CheckpointError(
            f"{files.t2s}: {codes} semantic tokens, but {files.sovits} knows "
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
