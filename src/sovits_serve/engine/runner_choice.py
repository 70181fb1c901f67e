"""What computes for an engine: the kernels of ``models.cuda``, or plain PyTorch.

``kernels`` on or off is obeyed. On "auto" kernels are tried, and an engine where they fail runs
without them: slow is better than not at all, as long as it is said.
"""

import importlib.util
import logging
import os
from dataclasses import replace

import torch

from sovits_serve.config import EngineConfig
from sovits_serve.engine.conditioning import Conditioner, EncodeSpans
from sovits_serve.engine.core import Runner
from sovits_serve.engine.memory import usual_cache_tokens
from sovits_serve.engine.model_runner import ModelRunner
from sovits_serve.errors import ConfigError
from sovits_serve.models.bundle import Models
from sovits_serve.models.cuda.device import is_made_for
from sovits_serve.models.reference.features import ReferenceRules

_log = logging.getLogger(__name__)
_MAX_REASON = 400  # characters; a compiler's message may hold a whole kernel


def resolve_kernels(setting: str, device: torch.device) -> str:
    """Return ``kernels`` for a device: "auto" stays where kernels are worth a try, else is "off".

    Raises:
        ConfigError: they are wanted where there can be none.
    """
    is_cuda = device.type == "cuda"
    if setting == "on" and not is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise ConfigError(f"kernels: on is for CUDA, not for {device}")
    if setting != "auto":
        return setting
    has_triton = importlib.util.find_spec("triton") is not None
    return "auto" if is_cuda and has_triton and is_made_for(device) else "off"


def make_runner(models: Models, config: EngineConfig) -> tuple[Runner, EngineConfig]:
    """Build what computes, ready to run, and return it with the config that holds for it.

    Where plain PyTorch takes the place of kernels, ``max_running`` is what fits in the same memory:
    each of its slots is as long as the longest segment.

    Raises:
        ConfigError: ``kernels`` is on and they cannot be used, or there is not enough memory.
        torch.AcceleratorError: the device is lost.
    """
    if config.kernels == "off":
        return _plain(models, config)
    if not config.kv_cache_tokens:
        num_tokens = usual_cache_tokens(config.max_running, config.max_sequence_length)
        config = replace(config, kv_cache_tokens=num_tokens)
    try:
        return _with_kernels(models, config)
    except Exception as error:  # noqa: BLE001 -- whatever a compiler or driver may raise
        failure = error
    _raise_if_memory(failure, config)
    _raise_if_lost(failure, models.device)
    reason = f"{type(failure).__name__}: {' '.join(str(failure).split())[:_MAX_REASON]}"
    if config.kernels == "on":
        raise ConfigError(f"kernels: on, but they cannot be used here: {reason}") from failure
    _log.error(
        "kernels cannot be used here (%s): PLAIN PYTORCH IS USED, WHICH IS MANY TIMES SLOWER; "
        "set kernels=on to stop with the error, or kernels=off to say nothing",
        reason,
    )
    failure.__traceback__ = None  # its frames hold what had been allocated
    if models.device.type == "cuda":
        torch.cuda.empty_cache()
    return _plain(models, config)


def _plain(models: Models, config: EngineConfig) -> tuple[Runner, EngineConfig]:
    if config.kernels != "off":
        num_slots = max(1, config.kv_cache_tokens // config.max_sequence_length)
        config = replace(config, max_running=min(config.max_running, num_slots))
        _log.info("plain PyTorch: %d segments are decoded together", config.max_running)
    return ModelRunner(models, _conditioner(models, config), config), config


def _with_kernels(models: Models, config: EngineConfig) -> tuple[Runner, EngineConfig]:
    """Compile, allocate and capture everything."""
    from sovits_serve.engine.graph_decoder import can_decode  # loads Triton

    if not can_decode(models.t2s.dims):
        _log.warning("kernels: T2S dimensions that are no powers of two: plain PyTorch is used")
        return _plain(models, config)
    from sovits_serve.engine.graph_runner import GraphRunner
    from sovits_serve.models.cuda.bert import PackedBert

    encode_spans = None
    if models.bert is not None:
        packed_bert = PackedBert(models.bert)
        packed_bert.capture()
        encode_spans = packed_bert.encode
    return GraphRunner(models, _conditioner(models, config, encode_spans), config), config


def _conditioner(
    models: Models, config: EngineConfig, encode_spans: EncodeSpans | None = None
) -> Conditioner:
    return Conditioner(
        models,
        config.reference_cache_bytes,
        rules=ReferenceRules(trim=config.long_reference == "trim"),
        is_row_by_row=config.batch_invariant == "on",
        encode_spans=encode_spans,
    )


def _raise_if_memory(failure: Exception, config: EngineConfig) -> None:
    """Raise what names the settings, if the device had no memory left."""
    if isinstance(failure, ConfigError):  # of the slots: it names them already
        raise failure
    # Captures, libraries and Triton report it as other errors than torch's allocator.
    is_memory = isinstance(failure, torch.OutOfMemoryError)
    if is_memory or "out of memory" in str(failure) or "ALLOC_FAILED" in str(failure):
        failure.__traceback__ = None
        raise ConfigError(
            "gpu_memory: the device has no memory left for kernels and graphs with "
            f"max_running={config.max_running} and kv_cache_tokens={config.kv_cache_tokens}: "
            "raise gpu_memory, or lower one of the two"
        ) from failure


def _raise_if_lost(failure: Exception, device: torch.device) -> None:
    """Raise ``failure`` if the device is lost to this process, as any use of it tells."""
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except torch.AcceleratorError as error:
        raise error from failure
