"""Several pairs of weights on one device, each with its own ``EngineCore``.

Encoders are shared, and T2S or SoVITS weights where two models name the same file. One step of
the pool is one step of one core, in turn. All but ``load`` belongs to the engine's loop.
"""

import ctypes
import gc
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sovits_serve.checkpoints.locate import ModelFiles
from sovits_serve.config import EngineConfig
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.loader import Progress, build_engine, load_models, settle
from sovits_serve.errors import InvalidRequest, QueueFull, UnknownModel
from sovits_serve.models.bundle import Encoders, Models, Reuse
from sovits_serve.protocol.messages import Message, ModelInfo, SynthesisRequest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that speaks."""

    info: ModelInfo
    files: ModelFiles
    models: Models
    core: EngineCore
    config: EngineConfig  # settled by the memory that there is
    stamps: tuple[int, ...]  # when its T2S and SoVITS files were written


class ModelPool:
    """Models by name; the first one is what requests that name none get."""

    def __init__(self, config: EngineConfig, *, budget_bytes: int = 0, max_models: int = 1) -> None:
        """Take a resolved config; what is 0 in it is settled by the first model."""
        self.num_steps = 0
        self.config = config
        self._budget_bytes = budget_bytes
        self._max_models = max_models
        self._first = ""
        self._loaded: dict[str, LoadedModel] = {}
        self._leaving: set[str] = set()
        self._encoders: Encoders | None = None
        self._core_of: dict[str, EngineCore] = {}  # by request_id
        self._turn = 0

    def load(
        self,
        name: str,
        files: ModelFiles,
        *,
        dtype: str | None = None,
        progress: Progress | None = None,
    ) -> LoadedModel:
        """Load a model, without adding it. Any one thread may call it, beside the loop.

        Raises:
            CheckpointError: a file is missing or wrong.
            ConfigError: there is not enough memory.
        """
        config = _in_dtype(self.config, dtype or self.config.dtype)
        device, torch_dtype = torch.device(config.device), getattr(torch, config.dtype)
        stamps = files.t2s.stat().st_mtime_ns, files.sovits.stat().st_mtime_ns
        reuse = self._reuse(files, stamps, torch_dtype)
        models = load_models(
            files,
            device,
            torch_dtype,
            decode_weights=config.decode_weights,
            reuse=reuse,
            progress=progress,
        )
        config = settle(config, models, self._budget_bytes, max_models=self._max_models)
        if progress is not None and config.kernels != "off":
            progress("kernels and graphs", 1.0)
        info = ModelInfo(
            name,
            models.spec.version.value,
            models.symbol_version.value,
            models.spec.sample_rate_hz,
            can_read_chinese=models.can_read_chinese,
        )
        return LoadedModel(info, files, models, build_engine(models, config), config, stamps)

    def put(self, loaded: LoadedModel) -> None:
        """Let requests name a model."""
        name = loaded.info.name
        self._first = self._first or name
        self._loaded[name] = loaded
        self._leaving.discard(name)
        encoders = loaded.models.encoders
        if self._encoders is not None:
            encoders = replace(
                encoders,
                bert=encoders.bert or self._encoders.bert,
                speaker=encoders.speaker or self._encoders.speaker,
            )
        self._encoders = encoders
        if name == self._first:
            self.config = replace(
                self.config,
                max_running=loaded.config.max_running,
                kv_cache_tokens=loaded.config.kv_cache_tokens,
            )

    @property
    def max_running(self) -> int:
        """Return how many segments the first model decodes together."""
        first = self._loaded.get(self._first)
        return first.core.scheduler.limits.max_running if first else self.config.max_running

    def remove(self, name: str) -> None:
        """Take no more requests for a model, and free it once its last one has ended."""
        if name in self._loaded:
            self._leaving.add(name)
            self._free()

    def keep(self, name: str) -> LoadedModel | None:
        """Return a model that is there, which then no longer leaves."""
        self._leaving.discard(name)
        return self._loaded.get(name)

    def infos(self) -> tuple[ModelInfo, ...]:
        """Return what requests can name."""
        return tuple(
            loaded.info for name, loaded in self._loaded.items() if name not in self._leaving
        )

    def add(self, request: SynthesisRequest) -> None:
        """Accept a request for the model that it names.

        Raises:
            ServingError: it was not accepted.
        """
        name = request.model or self._first
        if name not in self._loaded or name in self._leaving:
            known = ", ".join(info.name for info in self.infos())
            raise UnknownModel(f"model: {name!r} is not loaded; there is {known}")
        if request.request_id in self._core_of:
            raise InvalidRequest(f"request_id: {request.request_id!r} is in use")
        if len(self._core_of) >= self.config.max_waiting:
            raise QueueFull(f"{len(self._core_of)} requests wait; the limit is the same")
        core = self._loaded[name].core
        core.add(request)
        self._core_of[request.request_id] = core

    def abort(self, request_id: str) -> None:
        """End a request on demand; unknown ones are left alone."""
        if request_id in self._core_of:
            self._core_of[request_id].abort(request_id)

    def abort_all(self) -> None:
        """End all requests, without a word."""
        for request_id in list(self._core_of):
            self.abort(request_id)
        for loaded in self._loaded.values():
            loaded.core.scheduler.take_messages()
        self._core_of.clear()
        self._free()

    def has_work(self) -> bool:
        """Return whether a step would do or say anything."""
        return any(loaded.core.has_work() for loaded in self._loaded.values())

    def step(self) -> list[Message]:
        """Do one step of the next core that has work."""
        cores = [loaded.core for loaded in self._loaded.values() if loaded.core.has_work()]
        if not cores:
            return []
        self._turn += 1
        messages = cores[self._turn % len(cores)].step()
        self.num_steps += 1
        has_ended = False
        for message in messages:
            request_id = getattr(message, "request_id", "")
            core = self._core_of.get(request_id)
            if core is not None and request_id not in core.scheduler.requests:
                del self._core_of[request_id]
                has_ended = True
        if has_ended and self._leaving:
            self._free()
        return messages

    @property
    def num_running(self) -> int:
        """Return the segments in the batches."""
        return sum(len(loaded.core.scheduler.running) for loaded in self._loaded.values())

    @property
    def num_waiting(self) -> int:
        """Return the requests that have not begun."""
        return sum(
            not request.next_waiting
            for loaded in self._loaded.values()
            for request in loaded.core.scheduler.requests.values()
        )

    def check_integrity(self) -> None:
        """Assert that every core's books are right."""
        for loaded in self._loaded.values():
            loaded.core.check_integrity()

    def _reuse(
        self, files: ModelFiles, stamps: tuple[int, ...], dtype: torch.dtype
    ) -> Reuse | None:
        """Return what of a model is loaded already: in the same precision, from the same files."""
        same = [m for m in list(self._loaded.values()) if m.models.dtype == dtype]
        t2s = [m for m in same if _same(m.files.t2s, m.stamps[0], files.t2s, stamps[0])]
        sovits = [m for m in same if _same(m.files.sovits, m.stamps[1], files.sovits, stamps[1])]
        encoders = self._encoders
        if encoders is not None and not same:
            # BERT has the model's precision; the others are float32 always.
            encoders = None
        return Reuse(
            t2s=t2s[0].models.t2s if t2s else None,
            sovits_of=sovits[0].models if sovits else None,
            encoders=encoders,
        )

    def _free(self) -> None:
        """Drop models that leave and have no request any more, and give their memory back."""
        idle = [name for name in self._leaving if not self._loaded[name].core.has_work()]
        for name in idle:
            del self._loaded[name]
            self._leaving.discard(name)
            _log.info("model %s is unloaded", name)
        if idle:
            give_memory_back()


def _in_dtype(config: EngineConfig, dtype: str) -> EngineConfig:
    """Return the config for a model in another precision, whose cache takes no more memory."""
    if dtype == config.dtype or not config.kv_cache_tokens:
        return replace(config, dtype=dtype)
    had, has = (getattr(torch, name).itemsize for name in (config.dtype, dtype))
    num_tokens = max(config.kv_cache_tokens * had // has, config.max_sequence_length)
    return replace(config, dtype=dtype, kv_cache_tokens=num_tokens)


def _same(path: Path, stamp: int, other: Path, other_stamp: int) -> bool:
    return path == other and stamp == other_stamp


def give_memory_back() -> None:
    """Return freed memory to device and system, which allocators else keep for later."""
    # An engine's loop has put what it began with out of the collector's sight; a model that has
    # left may be among it.
    is_frozen = gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.collect()
    if is_frozen:
        gc.freeze()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)
