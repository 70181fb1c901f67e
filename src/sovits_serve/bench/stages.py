"""How fast each stage of an engine is by itself, on one device: what bounds the whole.

Inputs are random; lengths are those of five seconds of speech with a reference of four. The
figures are medians over repeats, after a warm-up of the same shapes.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from sovits_serve import __version__
from sovits_serve.builtin import builtin_model_directory
from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.config import EngineConfig
from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.loader import load_models, resolve
from sovits_serve.engine.sampling import SamplingState, sample
from sovits_serve.models.bundle import Models
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.t2s.model import PrefillBatch
from sovits_serve.protocol.messages import SamplingParams

TOKENS_PER_S = 25
SPEECH_S = 5
REFERENCE_S = 4
_TEXT_PHONEMES, _PROMPT_PHONEMES = 60, 45
_WAVE_HZ = 16_000
_CHINESE = "今天天气很好我们一起去公园看花吧你觉得怎么样"


@dataclass(frozen=True)
class StagesJob:
    """What was asked for; see the command's options. ``num_steps`` are decode steps timed."""

    model: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    decode_weights: str = "float"
    batches: Sequence[int] = (1, 8, 32, 128)
    repeats: int = 5
    num_steps: int = 64
    json_path: Path | None = None


@dataclass(frozen=True)
class StageFigure:
    """One stage at one batch size.

    Attributes:
        ms: median of one call (of one step, where the stage is a loop of steps).
        per_s: how much of ``unit`` it makes per second.
    """

    stage: str
    batch: int
    ms: float
    per_s: float
    unit: str


def run_stages(job: StagesJob) -> None:
    """Measure every stage; print a table and one line of JSON.

    Raises:
        ConfigError: the device does not exist.
        CheckpointError: a file of the model is missing or wrong.
    """
    use_exact_kernels()
    config = resolve(
        EngineConfig(
            device=job.device,
            dtype=job.dtype,
            num_threads=job.threads,
            decode_weights=job.decode_weights,
        )
    )
    torch.set_num_threads(config.num_threads)
    device, dtype = torch.device(config.device), getattr(torch, config.dtype)
    files = locate_model(job.model or builtin_model_directory())
    models = load_models(files, device, dtype, decode_weights=config.decode_weights)
    figures = Stages(models, job).measure()
    columns = Table("stage", "batch", "ms", "per second", title=f"{config.device} {config.dtype}")
    for figure in figures:
        rate = f"{figure.per_s:.1f} {figure.unit}"
        columns.add_row(figure.stage, str(figure.batch), f"{figure.ms:.3f}", rate)
    Console().print(columns)
    is_cuda = device.type == "cuda"
    line = json.dumps(
        {
            "command": "sovits-serve " + " ".join(sys.argv[1:]),
            "version": __version__,
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if is_cuda else "cpu",
            "threads": config.num_threads,
            "dtype": config.dtype,
            "decode_weights": config.decode_weights,
            "model": models.spec.version.value,
            "peak_device_bytes": torch.cuda.max_memory_allocated(device) if is_cuda else 0,
            "stages": [vars(figure) for figure in figures],
        }
    )
    if job.json_path is None:
        sys.stdout.write(line + "\n")
    else:
        job.json_path.write_text(line + "\n", encoding="utf-8")


class Stages:
    """Times the stages of loaded models."""

    def __init__(self, models: Models, job: StagesJob) -> None:
        self._models = models
        self._job = job
        self._device = models.device
        self._random = torch.Generator().manual_seed(0)

    @torch.inference_mode()
    def measure(self) -> list[StageFigure]:
        """Return the figures of all stages at all batch sizes."""
        figures = [self._hubert()]
        if self._models.bert is not None:
            figures.append(self._bert())
        for batch in self._job.batches:
            figures += [*self._t2s(batch), self._latent(batch), self._generator(batch)]
        return figures

    def _hubert(self) -> StageFigure:
        wave = torch.randn(REFERENCE_S * _WAVE_HZ, generator=self._random) * 0.1
        seconds = self._median(lambda: self._models.hubert.encode([wave.to(self._device)]))
        return _figure("HuBERT, 4 s", 1, seconds, REFERENCE_S, "s of reference")

    def _bert(self) -> StageFigure:
        bert = self._models.bert
        assert bert is not None
        item = (_CHINESE, [2] * len(_CHINESE))
        seconds = self._median(lambda: bert.encode([item]))
        return _figure(f"BERT, {len(_CHINESE)} characters", 1, seconds, len(_CHINESE), "characters")

    def _t2s(self, batch: int) -> list[StageFigure]:
        t2s, steps = self._models.t2s, self._job.num_steps
        num_phones, num_prompt = _TEXT_PHONEMES + _PROMPT_PHONEMES, REFERENCE_S * TOKENS_PER_S
        cache = KVCache(
            t2s.dims,
            num_slots=batch,
            max_length=num_phones + num_prompt + steps + 1,
            device=self._device,
            dtype=self._models.t2s.dtype,
        )
        state = SamplingState(batch, t2s.dims.vocab_size, self._device)
        phones = self._integers(self._models.num_phonemes, batch, num_phones)
        prompts = self._integers(t2s.dims.eos, batch, num_prompt)
        features = torch.zeros(num_phones, t2s.dims.text_feature_dim, dtype=t2s.dtype)
        slots = list(range(batch))
        rows = PrefillBatch.collate(list(phones), [features] * batch, list(prompts), slots)
        rows = replace(rows, text_features=rows.text_features.to(self._device))

        def prefill() -> torch.Tensor:
            for slot in slots:
                cache.allocate()
                state.set_row(slot, SamplingParams(seed=slot), segment=0, seen=prompts[slot])
            return t2s.prefill(rows, cache)

        def free() -> None:
            for slot in slots:
                cache.free(slot)

        times: list[tuple[float, float]] = []
        index = torch.tensor(slots)
        for _ in range(self._job.repeats + 1):
            begin = self._now()
            logits = prefill()
            filled = self._now()
            for step in range(steps):
                positions = torch.full((batch,), step)
                tokens = sample(logits, state, index, positions).tokens
                tokens.tolist()  # the engine reads every token
                logits = t2s.decode(tokens, positions + num_prompt, slots, cache)
            times.append((filled - begin, (self._now() - filled) / steps))
            free()
        first_s, step_s = (statistics.median(part) for part in zip(*times[1:], strict=True))
        return [
            _figure("T2S prefill", batch, first_s, batch, "segments"),
            _figure("T2S decode, with sampling", batch, step_s, batch, "tokens"),
        ]

    def _latent(self, batch: int) -> StageFigure:
        sovits, length = self._models.sovits, SPEECH_S * TOKENS_PER_S
        tokens = self._integers(sovits.dims.codebook_size, batch, length).to(self._device)
        phones = self._integers(sovits.dims.num_symbols, batch, _TEXT_PHONEMES).to(self._device)
        num_frames = length * self._models.spec.frames_per_token
        noise = torch.randn(batch, sovits.dims.inter_channels, num_frames).to(self._device)
        lengths = torch.full((batch,), length), torch.full((batch,), _TEXT_PHONEMES)
        seconds = self._median(
            lambda: sovits.encode_latent(
                tokens,
                lengths[0],
                phones,
                lengths[1],
                self._style(batch),
                speeds=[1.0] * batch,
                noise=noise,
                noise_scale=0.5,
            )
        )
        return _figure("text encoder and flow, 5 s", batch, seconds, batch * SPEECH_S, "s of audio")

    def _generator(self, batch: int) -> StageFigure:
        sovits = self._models.sovits
        num_frames = SPEECH_S * TOKENS_PER_S * self._models.spec.frames_per_token
        z = torch.randn(batch, sovits.dims.inter_channels, num_frames, generator=self._random)
        z = z.to(self._device, self._models.dtype)
        full = torch.full((batch,), num_frames)
        seconds = self._median(lambda: sovits.generate(z, full, self._style(batch)))
        return _figure("generator, 5 s", batch, seconds, batch * SPEECH_S, "s of audio")

    def _style(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, self._models.sovits.dims.style_dim, device=self._device)

    def _integers(self, end: int, *shape: int) -> torch.Tensor:
        return torch.randint(end, shape, generator=self._random)

    def _median(self, call: Callable[[], object]) -> float:
        times = []
        for _ in range(self._job.repeats + 1):
            begin = self._now()
            call()
            times.append(self._now() - begin)
        return statistics.median(times[1:])

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _figure(stage: str, batch: int, seconds: float, amount: float, unit: str) -> StageFigure:
    return StageFigure(stage, batch, round(1000 * seconds, 4), round(amount / seconds, 2), unit)
