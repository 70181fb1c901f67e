"""What an engine process holds: models, voices and recordings, behind the loop's ``Host``.

Models are loaded by ``load``, once, and never at import.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import torch

from sovits_serve.builtin import builtin_model_directory, uses_builtin, voices_directory
from sovits_serve.checkpoints.locate import ModelFiles, locate_model
from sovits_serve.config import EngineConfig, EngineSetup, ModelConfig
from sovits_serve.engine.loader import limit_memory, resolve
from sovits_serve.engine.loop import HostStatus
from sovits_serve.engine.model_pool import LoadedModel, ModelPool, give_memory_back
from sovits_serve.engine.warm_up import NotFinite, warm_up_model, warm_up_voices
from sovits_serve.errors import (
    CheckpointError,
    EngineError,
    OutOfMemory,
    ServingError,
    UnknownModel,
    UnknownRecording,
)
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.protocol.messages import (
    DropRecording,
    EngineReady,
    LoadModel,
    Message,
    ModelFailed,
    ModelLoaded,
    PutRecording,
    Reference,
    ReferenceAudio,
    SynthesisRequest,
    UnloadModel,
)
from sovits_serve.protocol.reports import Loading, Report, Setup, Warming
from sovits_serve.voices.registry import VoiceRegistry
from sovits_serve.voices.voice import Voice

_log = logging.getLogger(__name__)

DEFAULT_MODEL = "default"
Tell = Callable[[Report], None]


@dataclass(frozen=True)
class _Job:
    """A model to load beside the others; of interest only to the dispatcher that asked."""

    message: LoadModel
    epoch: int


class EngineHost:
    """Models, voices and recordings of one engine."""

    def __init__(self, setup: Setup, wake: Callable[[], None]) -> None:
        self._setup = msgspec.json.decode(setup.config, type=EngineSetup)
        self._wake = wake
        self._files: ModelFiles | None = None
        self._budget_bytes = 0
        self._recordings: dict[str, ReferenceAudio] = {}
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._done: deque[tuple[_Job, LoadedModel | ServingError]] = deque()
        self._pending: set[str] = set()
        self._messages: list[Message] = []
        self._epoch = 0
        self._loader: threading.Thread | None = None
        self._pool: ModelPool

    # Starting.

    def load(self, report: Tell) -> None:
        """Load the configured model, or the built-in one."""
        config = resolve(self._setup.engine)
        torch.set_num_threads(config.num_threads)
        use_exact_kernels()
        self._budget_bytes = limit_memory(config)
        self._pool = ModelPool(
            config, budget_bytes=self._budget_bytes, max_models=self._setup.model.max_models
        )
        report(Loading("files", 0.0))
        self._files = self._locate(self._setup.model)
        self._pool.put(self._load_first(report, config))

    def warm_up(self, report: Tell) -> None:
        """Speak once, and once with each voice; in float32 if the precision does not suffice."""
        try:
            self._speak(report)
        except NotFinite as error:
            self._fall_back(report, error)

    def close(self) -> None:
        """Do nothing: all that is held here goes with the process."""

    def ready(self) -> EngineReady:
        """Return what the dispatcher is to know."""
        assert self._files is not None
        is_builtin = uses_builtin(self._setup.model)
        return EngineReady(
            self._pool.config.device,
            self._pool.infos(),
            self._pool.max_running,
            t2s="" if is_builtin else str(self._files.t2s.resolve()),
            sovits="" if is_builtin else str(self._files.sovits.resolve()),
            max_models=self._setup.model.max_models,
        )

    def _locate(self, config: ModelConfig) -> ModelFiles:
        if uses_builtin(config):
            _log.info("no model is configured: the built-in voice speaks")
            return locate_model(builtin_model_directory())
        return locate_model(
            _path(config.model),
            t2s=_path(config.t2s),
            sovits=_path(config.sovits),
            pretrained=_path(config.pretrained),
        )

    def _load_first(self, report: Tell, config: EngineConfig) -> LoadedModel:
        assert self._files is not None
        return self._pool.load(
            DEFAULT_MODEL,
            self._files,
            dtype=config.dtype,
            progress=lambda what, share: report(Loading(what, share)),
        )

    def _speak(self, report: Tell) -> None:
        first = self._pool.keep(DEFAULT_MODEL)
        assert first is not None
        report(Warming("first synthesis", 0.0))
        warm_up_model(first.core, first.info.symbol_version)
        voices = self._voices()
        tried = warm_up_voices(first.core, first.info.symbol_version, voices)
        for index, (name, problem) in enumerate(tried):
            what = f"voice {name}: {problem}" if problem else f"voice {name}"
            report(Warming(what, (index + 1) / len(voices)))

    def _voices(self) -> list[Voice]:
        """Return the voices that speak with the first model."""
        directory = voices_directory(self._setup.model)
        is_there = directory is not None and directory.is_dir()
        found = VoiceRegistry(directory if is_there else None).voices()
        return [voice for voice in found if voice.model in {"", DEFAULT_MODEL}]

    def _fall_back(self, report: Tell, error: NotFinite) -> None:
        """Load the first model again in float32.

        Raises:
            CheckpointError: it is not finite in float32 either.
        """
        assert self._files is not None
        error.__traceback__ = None  # its frames hold the model that is to go
        config = self._pool.config
        if config.dtype == "float32":
            raise CheckpointError(f"{self._files.t2s}, {self._files.sovits}: {error.message}")
        _log.error(
            "%s is not enough for this model (%s): IT RUNS IN float32, SLOWER AND LARGER; set "
            "dtype=float32 to start so",
            config.dtype,
            error.message,
        )
        report(Warming("loading again in float32", 0.0))
        asked = self._setup.engine
        config = replace(
            config,
            dtype="float32",
            max_running=asked.max_running,
            kv_cache_tokens=asked.kv_cache_tokens,
        )
        self._pool = ModelPool(
            config, budget_bytes=self._budget_bytes, max_models=self._setup.model.max_models
        )
        give_memory_back()
        self._pool.put(self._load_first(lambda _: None, config))
        try:
            self._speak(report)
        except NotFinite as again:
            self._fall_back(report, again)

    # Requests.

    def add(self, request: SynthesisRequest) -> None:
        """Accept a request, its recordings put in."""
        reference = request.reference
        whole = Reference(
            self._recording(reference.audio),
            reference.prompt_text,
            tuple(self._recording(audio) for audio in reference.auxiliary),
        )
        self._pool.add(msgspec.structs.replace(request, reference=whole))

    def abort(self, request_id: str) -> None:
        """End a request on demand."""
        self._pool.abort(request_id)

    def put_recording(self, message: PutRecording) -> None:
        """Keep a recording."""
        self._recordings[message.key] = msgspec.structs.replace(message.audio, key=message.key)

    def drop_recording(self, message: DropRecording) -> None:
        """Forget a recording; requests that run have it still."""
        self._recordings.pop(message.key, None)

    def has_work(self) -> bool:
        """Return whether ``step`` would do or say anything."""
        return bool(self._messages or self._done or self._pool.has_work())

    def step(self) -> list[Message]:
        """Take in models that are loaded, and do one step of the pool."""
        while self._done:
            self._take_model(*self._done.popleft())
        messages, self._messages = self._messages, []
        return messages + self._pool.step()

    def status(self) -> HostStatus:
        """Return counts and memory."""
        device = torch.device(self._pool.config.device)
        is_cuda = device.type == "cuda"
        return HostStatus(
            self._pool.num_steps,
            self._pool.num_running,
            self._pool.num_waiting,
            device_bytes=torch.cuda.memory_reserved(device) if is_cuda else 0,
            device_limit_bytes=self._budget_bytes,
        )

    def reset(self) -> None:
        """Forget the dispatcher that is gone: its requests, recordings, and models on their way."""
        self._pool.abort_all()
        self._recordings.clear()
        self._messages.clear()
        self._pending.clear()
        self._epoch += 1

    def _recording(self, audio: ReferenceAudio) -> ReferenceAudio:
        if audio.samples:
            return audio
        found = self._recordings.get(audio.key)
        if found is None:
            raise UnknownRecording(f"recording {audio.key!r} is not here; send it first")
        return found

    # Further models.

    def load_model(self, message: LoadModel) -> None:
        """Load a model beside the others, on a thread of its own."""
        there = self._pool.keep(message.model)
        if there is not None:
            self._messages.append(ModelLoaded(there.info))
        elif message.model not in self._pending:
            self._pending.add(message.model)
            self._jobs.put(_Job(message, self._epoch))
            self._start_loader()

    def unload_model(self, message: UnloadModel) -> None:
        """Forget a model once its last request has ended, also one that is still loading."""
        self._pending.discard(message.model)
        self._pool.remove(message.model)

    def _start_loader(self) -> None:
        if self._loader is None:
            self._loader = threading.Thread(target=self._run_jobs, name="loader", daemon=True)
            self._loader.start()

    def _run_jobs(self) -> None:
        while True:
            job = self._jobs.get()
            self._done.append((job, self._run_job(job)))
            del job
            self._wake()

    def _run_job(self, job: _Job) -> LoadedModel | ServingError:
        """Load and try a model; whatever goes wrong is the answer, and the engine serves on."""
        try:
            return self._load_beside(job.message)
        except ServingError as error:
            return error
        except OSError as error:
            return CheckpointError(f"{job.message.model}: {error}")
        except torch.OutOfMemoryError:
            return OutOfMemory(f"{job.message.model}: the device has no memory for it")
        except Exception as error:  # noqa: BLE001 -- around one request to load
            _log.exception("model %s cannot be loaded", job.message.model)
            return EngineError(f"{job.message.model}: {type(error).__name__}: {error}")

    def _load_beside(self, message: LoadModel) -> LoadedModel:
        assert self._files is not None
        if uses_builtin(self._setup.model):
            raise UnknownModel(
                "other weights need other encoders than the built-in voice's: start the server "
                "with --model DIR, or with --t2s, --sovits and --pretrained"
            )
        files = replace(
            self._files,
            t2s=Path(message.t2s) if message.t2s else self._files.t2s,
            sovits=Path(message.sovits) if message.sovits else self._files.sovits,
        )
        for path in (files.t2s, files.sovits):
            if not path.is_file():
                raise CheckpointError(f"{path}: no such file")
        for dtype in dict.fromkeys((self._pool.config.dtype, "float32")):
            loaded = self._pool.load(message.model, files, dtype=dtype)
            try:
                warm_up_model(loaded.core, loaded.info.symbol_version)
            except NotFinite as error:
                _log.error("model %s in %s: %s", message.model, dtype, error.message)
                del loaded  # before the next one takes its memory
            else:
                return loaded
        raise CheckpointError(f"{files.t2s}, {files.sovits}: not finite in float32")

    def _take_model(self, job: _Job, result: LoadedModel | ServingError) -> None:
        name = job.message.model
        is_wanted = job.epoch == self._epoch and name in self._pending
        if is_wanted:
            self._pending.discard(name)
        if isinstance(result, ServingError):
            _log.error("model %s cannot be loaded: %s", name, result.message)
            if is_wanted:
                self._messages.append(ModelFailed(name, result.code, result.message))
        elif is_wanted:
            self._pool.put(result)
            self._messages.append(ModelLoaded(result.info))
            _log.info("model %s is loaded", name)
        else:
            _log.info("model %s is no longer wanted", name)
            del result
            give_memory_back()


def _path(text: str) -> Path | None:
    return Path(text) if text else None
