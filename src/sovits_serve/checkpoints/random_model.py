"""A whole model directory full of seeded noise, in the layout of a real one.

What it says is babble, but every file has the names, shapes and formats of the published ones, so
tests, benchmarks and a first try need no download. The same seed gives the same tensors.
"""

import json
import math
import wave
import zlib
from pathlib import Path

import torch
from torch import Tensor

from sovits_serve.checkpoints.detect import MARKS
from sovits_serve.checkpoints.layout import write_sovits, write_state_dict, write_t2s
from sovits_serve.checkpoints.random_configs import (
    Size,
    bert_config,
    bert_vocabulary,
    hubert_config,
    sovits_config,
    sovits_dims,
    t2s_config,
    t2s_dims,
)
from sovits_serve.checkpoints.random_encoders import plan_bert, plan_hubert, plan_speaker
from sovits_serve.checkpoints.random_plan import Plan, TensorPlan, plan_sovits, plan_t2s
from sovits_serve.checkpoints.safetensors_format import write_tensors
from sovits_serve.errors import ConfigError
from sovits_serve.models.spec import SPECS, ModelVersion

REFERENCE_TEXT = "This is a made-up voice."
_REFERENCE_RATE_HZ = 32_000
_REFERENCE_S = 4


def write_random_model(
    directory: Path | str, *, version: ModelVersion, size: Size, seed: int
) -> Path:
    """Write a model directory of seeded noise.

    It holds ``gpt.ckpt``, ``sovits.pth``, ``chinese-hubert-base/``,
    ``chinese-roberta-wwm-ext-large/``, for the Pro versions
    ``sv/pretrained_eres2netv2w24s4ep4.ckpt``, and a synthetic ``reference.wav`` of four seconds
    with its ``reference.txt``. Tensors are float16.

    Args:
        directory: where to write; made if it does not exist, files in it are replaced.
        version: a version with a generator (v1, v2, v2Pro, v2ProPlus).
        size: "full" has the published dimensions (1.1 GB), "tiny" about 60 MB, and 90 MB more
            for the Pro versions, whose speaker encoder has one size only.
        seed: selects the noise.

    Returns:
        The directory.

    Raises:
        ConfigError: the version has no generator.
    """
    spec = SPECS[version]
    if spec.decoder != "generator":
        raise ConfigError(f"a random model of version {version} is not supported yet")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_random_t2s(directory / "gpt.ckpt", version=version, size=size, seed=seed)
    write_random_sovits(directory / "sovits.pth", version=version, size=size, seed=seed + 1)
    _write_encoders(directory, size, seed + 2)
    if spec.has_speaker_embedding:
        path = directory / "sv" / "pretrained_eres2netv2w24s4ep4.ckpt"
        path.parent.mkdir(exist_ok=True)
        write_state_dict(path, _build(plan_speaker(sovits_dims(version, size)), seed + 3))
    _write_reference(directory / "reference.wav", seed)
    (directory / "reference.txt").write_text(REFERENCE_TEXT + "\n", encoding="utf-8")
    return directory


def write_random_t2s(path: Path, *, version: ModelVersion, size: Size, seed: int) -> None:
    """Write one GPT checkpoint of seeded noise, in the trainer's layout."""
    dims = t2s_dims(version, size)
    write_t2s(path, _build(plan_t2s(dims), seed), t2s_config(dims))


def write_random_sovits(path: Path, *, version: ModelVersion, size: Size, seed: int) -> None:
    """Write one SoVITS checkpoint of seeded noise, in the trainer's layout."""
    dims = sovits_dims(version, size)
    tensors = _build(plan_sovits(SPECS[version], dims), seed)
    write_sovits(path, tensors, sovits_config(version, dims), header=_mark(version))


def _mark(version: ModelVersion) -> str | None:
    """Return the mark of a version's files; v1 and v2 files start with a plain ``PK``."""
    if not SPECS[version].has_speaker_embedding:
        return None
    return next(mark.decode() for mark, entry in MARKS.items() if entry == (version, False))


def _build(plan: Plan, seed: int) -> dict[str, Tensor]:
    return {entry.name: _fill(entry, seed) for entry in plan}


def _fill(plan: TensorPlan, seed: int) -> Tensor:
    if plan.is_counter:
        return torch.zeros(plan.shape, dtype=torch.int64)
    generator = torch.Generator().manual_seed(zlib.crc32(plan.name.encode()) ^ seed)
    values = torch.randn(plan.shape, generator=generator).mul_(plan.scale).add_(plan.offset)
    if plan.row_gain is not None:
        row, gain = plan.row_gain
        values[row] *= gain
    return values.half()


def _write_encoders(directory: Path, size: Size, seed: int) -> None:
    vocabulary = bert_vocabulary(size)
    hubert, bert = hubert_config(size), bert_config(size, len(vocabulary))
    _write_hub(directory / "chinese-hubert-base", hubert, plan_hubert(hubert), seed)
    bert_directory = directory / "chinese-roberta-wwm-ext-large"
    plan = plan_bert(bert, num_stored_layers=1 if size == "tiny" else 24)
    _write_hub(bert_directory, bert, plan, seed + 1)
    (bert_directory / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def _write_hub(directory: Path, config: dict[str, object], plan: Plan, seed: int) -> None:
    """Write a Hugging Face directory, one tensor in memory at a time."""
    entries = {entry.name: entry for entry in plan}
    layout = {name: ("float16", entry.shape) for name, entry in entries.items()}

    def read(name: str) -> memoryview:
        return _fill(entries[name], seed).view(torch.uint8).numpy().data

    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tensors(directory / "model.safetensors", layout, read, {"format": "pt"})


def _write_reference(path: Path, seed: int) -> None:
    """Write four seconds of a gliding, pulsating buzz: voiced, with pauses, far from clipping."""
    time = torch.arange(_REFERENCE_S * _REFERENCE_RATE_HZ) / _REFERENCE_RATE_HZ
    pitch_hz = 120 + seed % 80 + 25 * torch.sin(2 * math.pi * 0.6 * time)
    phase = 2 * math.pi * torch.cumsum(pitch_hz, 0) / _REFERENCE_RATE_HZ
    sound = torch.zeros_like(time)
    for harmonic in range(1, 25):
        formant = 1 + 2 * math.exp(-(((harmonic - 5) / 2) ** 2))
        sound += formant / harmonic * torch.sin(harmonic * phase)
    syllables = torch.sin(math.pi * 3 * time).clamp(min=0).sqrt()
    sound = 0.5 * sound * syllables / sound.abs().max()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_REFERENCE_RATE_HZ)
        file.writeframes((sound * 32767).short().numpy().tobytes())
