"""A whole model directory full of seeded noise, in the layout of a real one.

What it says is babble, but every file has the names, shapes and formats of the published ones, so
tests and benchmarks need no download. The same seed gives the same tensors.
"""

import json
import zlib
from dataclasses import replace
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
from sovits_serve.voices.demo import DEMO_TEXT, write_demo_recording


def write_random_model(
    directory: Path | str,
    *,
    version: ModelVersion,
    size: Size,
    seed: int,
    tokens_per_phoneme: int = 0,
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
        tokens_per_phoneme: not 0: the length of what is said follows from the text alone, as
            speech does roughly; 2 is 12.5 phonemes per second. 0: it ends where noise ends it.

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
    write_random_t2s(
        directory / "gpt.ckpt",
        version=version,
        size=size,
        seed=seed,
        tokens_per_phoneme=tokens_per_phoneme,
    )
    write_random_sovits(directory / "sovits.pth", version=version, size=size, seed=seed + 1)
    _write_encoders(directory, size, seed + 2)
    if spec.has_speaker_embedding:
        path = directory / "sv" / "pretrained_eres2netv2w24s4ep4.ckpt"
        path.parent.mkdir(exist_ok=True)
        write_state_dict(path, _build(plan_speaker(sovits_dims(version, size)), seed + 3))
    write_demo_recording(directory / "reference.wav", seed)
    (directory / "reference.txt").write_text(DEMO_TEXT + "\n", encoding="utf-8")
    return directory


def write_random_t2s(
    path: Path,
    *,
    version: ModelVersion,
    size: Size,
    seed: int,
    reads_text_features: bool = True,
    tokens_per_phoneme: int = 0,
) -> None:
    """Write one GPT checkpoint of seeded noise, in the trainer's layout."""
    dims = replace(
        t2s_dims(version, size),
        reads_text_features=reads_text_features,
        tokens_per_phoneme=tokens_per_phoneme,
    )
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
