"""Requests and models that the benchmarks share: seeded, every text different."""

import json
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

from sovits_serve import __version__
from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.models.spec import ModelVersion
from sovits_serve.protocol.messages import (
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)


def model_directory(root: Path, version: str, size: str) -> Path:
    """Return a directory with a random model, made once."""
    directory = root / f"random-{version}-{size}"
    if not directory.exists():
        write_random_model(directory, version=ModelVersion(version), size=size, seed=0)
    return directory


def recording(seed: int = 0, seconds: float = 4.0, rate_hz: int = 32_000) -> ReferenceAudio:
    """Return smoothed noise as a reference."""
    noise = np.random.default_rng(seed).standard_normal(int(seconds * rate_hz))
    smooth = np.convolve(noise, np.hanning(9) / 4, mode="same") * 0.1
    return ReferenceAudio(smooth.astype("<f4").tobytes(), rate_hz)


def text(seed: int, num_phonemes: int) -> PhonemizedText:
    """Return random phonemes."""
    ids = np.random.default_rng(seed).integers(1, 320, num_phonemes)
    return PhonemizedText(tuple(int(i) for i in ids))


def request(
    seed: int, *, num_tokens: int = 125, voice: int = 0, top_k: int | None = 15
) -> SynthesisRequest:
    """Return a request of one segment of ``num_tokens`` (25 tokens are one second)."""
    return SynthesisRequest(
        request_id=f"request-{seed}",
        segments=(text(seed, 20 + seed % 41),),
        reference=Reference(recording(voice), text(-1 - voice & 0xFFFF, 30)),
        sampling=SamplingParams(seed=seed, max_tokens=num_tokens, top_k=top_k),
        segment_pause_s=0.0,
    )


def environment(device: str) -> dict[str, str]:
    """Return what a figure depends on: hardware, versions, commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return {
        "hardware": name,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "sovits_serve": __version__,
        "commit": commit,
    }


def print_json(**fields: object) -> None:
    """Print one JSON line, the last word of every benchmark."""
    print(json.dumps(fields))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
