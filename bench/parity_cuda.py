"""Compare the CUDA kernels with plain PyTorch on the same device, and with themselves in company.

    python bench/parity_cuda.py FULL_SIZE_MODEL

Greedy tokens of 500 prompts; seeded tokens alone and among 128; 660 seeded runs of the built-in
voice that end by themselves; audio streamed and whole. One line each, then JSON.
"""

import argparse
import json
import time
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import torch

from sovits_serve.bench.texts import texts
from sovits_serve.builtin import builtin_model_directory
from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.config import EngineConfig
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.loader import load_engine
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.protocol.messages import (
    AudioChunk,
    Failed,
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)
from sovits_serve.voices.demo import DEMO_RATE_HZ, demo_sound
from sovits_serve.voices.registry import VoiceRegistry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--runs", type=int, default=660)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    results: dict[str, object] = {"device": torch.cuda.get_device_name()}
    for part in args.parts:
        results |= PARTS[part](args)
    print(json.dumps(results))


def compare_greedy(args: argparse.Namespace) -> dict[str, object]:
    """Compare greedy tokens with those of plain PyTorch."""
    results: dict[str, object] = {}
    greedy = [request(n, SamplingParams(top_k=1, max_tokens=50)) for n in range(args.prompts)]
    for dtype in ("float32", "float16"):
        fast, simple = (
            run(engine(args.model, dtype, kernels), greedy)[0] for kernels in ("on", "off")
        )
        equal = sum(fast[name] == simple[name] for name in fast)
        results[f"greedy equal, {dtype}"] = f"{equal} of {len(greedy)}"
        print(
            f"greedy tokens equal to plain PyTorch, {dtype}: {equal} of {len(greedy)}", flush=True
        )
    return results


def compare_company(args: argparse.Namespace) -> dict[str, object]:
    """Compare requests alone with the same among 128, and streams with the whole."""
    core = engine(args.model, "float16", "on")
    drawn = [request(n, SamplingParams(seed=n, top_k=15, temperature=1.0)) for n in range(128)]
    together, whole = run(core, drawn)
    alone = {name: tokens for one in drawn[:40] for name, tokens in run(core, [one])[0].items()}
    equal = sum(together[name] == tokens for name, tokens in alone.items())
    results: dict[str, object] = {"seeded, alone and among 128": f"{equal} of {len(alone)}"}
    print(f"seeded tokens equal alone and among 128, float16: {equal} of {len(alone)}", flush=True)

    streams = [replace_streaming(one) for one in drawn[:16]]
    _, streamed = run(core, streams)
    largest = max(
        int(np.abs(streamed[name].astype(int) - whole[name].astype(int)).max()) for name in streamed
    )
    results["streamed against whole, largest difference"] = largest
    print(f"streamed against whole, float16, 16 requests: at most {largest} of 32768", flush=True)
    return results


def compare_ends(args: argparse.Namespace) -> dict[str, object]:
    """Count runs of the built-in voice that only plain PyTorch ends."""
    phrases = spoken(args.runs)
    ended: dict[str, list[int]] = {}
    for kernels in ("off", "on"):
        core = engine(builtin_model_directory(), "float16", kernels)
        tokens, _ = run(core, phrases)
        limit = core.limits.max_tokens
        ended[kernels] = [len(tokens[one.request_id]) for one in phrases]
        print(
            f"longest of {len(phrases)} runs, kernels {kernels}: {max(ended[kernels])} of {limit}"
        )
    runaways = sum(
        fast >= limit > simple for fast, simple in zip(ended["on"], ended["off"], strict=True)
    )
    print(f"runs that only plain PyTorch ends: {runaways} of {len(phrases)}", flush=True)
    return {"runaways that plain PyTorch ends": runaways}


PARTS = {"greedy": compare_greedy, "company": compare_company, "ends": compare_ends}


def engine(model: Path, dtype: str, kernels: str) -> EngineCore:
    """Return an engine of 128 rows."""
    torch.cuda.empty_cache()
    config = EngineConfig(
        device="cuda",
        dtype=dtype,
        kernels=kernels,
        batch_invariant="off",
        max_running=128,
        max_sequence_length=2048,
    )
    return load_engine(locate_model(model), config).core


def run(
    core: EngineCore, requests: list[SynthesisRequest]
) -> tuple[dict[str, tuple[int, ...]], dict[str, np.ndarray]]:
    """Return tokens and samples of each request, served together."""
    begin = time.perf_counter()
    accepted = {}
    pcm: dict[str, bytes] = {}
    for one in requests:
        core.add(one)
        accepted[one.request_id] = core.scheduler.requests[one.request_id]
    while core.has_work():
        for message in core.step():
            if isinstance(message, AudioChunk):
                pcm[message.request_id] = pcm.get(message.request_id, b"") + message.pcm
            elif isinstance(message, Failed) and "ended it at once" not in message.message:
                raise RuntimeError(message)
    if len(requests) > 1:
        print(f"  {len(requests)} requests in {time.perf_counter() - begin:.1f} s", flush=True)
    tokens = {name: tuple(one.sequences[0].tokens) for name, one in accepted.items()}
    return tokens, {name: np.frombuffer(data, "<i2") for name, data in pcm.items()}


def request(number: int, sampling: SamplingParams) -> SynthesisRequest:
    """Return one of many texts of different lengths in four voices."""
    random = np.random.default_rng(number)
    phones = tuple(int(i) for i in random.integers(1, 320, 20 + number % 50))
    return SynthesisRequest(
        f"request {number}",
        segments=(PhonemizedText(phones),),
        reference=reference(number % 4),
        sampling=sampling,
    )


def reference(voice: int) -> Reference:
    """Return a made-up voice."""
    sound = demo_sound(voice).astype("<f4") / 32_768
    random = np.random.default_rng(voice)
    prompt = PhonemizedText(tuple(int(i) for i in random.integers(1, 320, 44)))
    return Reference(ReferenceAudio(sound.tobytes(), DEMO_RATE_HZ, key=f"voice {voice}"), prompt)


def replace_streaming(one: SynthesisRequest) -> SynthesisRequest:
    """Return the same request, streamed."""
    return SynthesisRequest(
        one.request_id,
        segments=one.segments,
        reference=one.reference,
        sampling=one.sampling,
        is_streaming=True,
    )


def spoken(count: int) -> list[SynthesisRequest]:
    """Return English sentences of the built-in voices, each with its own seed."""
    frontend = TextFrontend("v2")
    voices = []
    for voice in VoiceRegistry(builtin_model_directory() / "voices").voices():
        if voice.name.endswith("-en"):
            samples, rate_hz = soundfile.read(voice.reference, dtype="float32")
            audio = ReferenceAudio(samples.astype("<f4").tobytes(), rate_hz, key=voice.name)
            prompt = frontend.prompt(voice.prompt_text, "en").phonemized()
            voices.append(Reference(audio, prompt))
    sentences = islice(texts("en", "medium", 5), count)
    return [
        SynthesisRequest(
            f"run {number}",
            segments=(frontend.segments(text, "en")[0].phonemized(),),
            reference=voices[number % len(voices)],
            sampling=SamplingParams(seed=number, top_k=15, top_p=1.0, temperature=1.0),
        )
        for number, text in enumerate(sentences)
    ]


if __name__ == "__main__":
    main()
