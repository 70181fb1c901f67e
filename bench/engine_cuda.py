"""Load an engine in this process, without HTTP: audio-s/s, first audio, how the host's time is spent.

    sovits-serve models random full --size full --tokens-per-phoneme 2
    python bench/engine_cuda.py full --clients 1 64 256 [--stream] [--chinese] [--profile]

A closed loop: each of N callers asks again as soon as it is answered, for about five seconds of
speech, every text different, with one of four recordings as reference. One line of JSON at the end.
"""

import argparse
import cProfile
import json
import logging
import pstats
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.config import EngineConfig
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.loader import load_engine
from sovits_serve.protocol.messages import (
    TERMINAL,
    AudioChunk,
    Finished,
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
    TextSpan,
)
from sovits_serve.voices.demo import DEMO_RATE_HZ, demo_sound

NUM_PHONEMES = 62
NUM_VOICES = 4
CHARACTERS = "今天气很好我们一起去公园看花吧你觉得怎么样他说明年春天想到海边走"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--max-running", type=int, default=256)
    parser.add_argument("--max-sequence-length", type=int, default=3072)
    parser.add_argument("--audio-rows", type=int, default=16)
    parser.add_argument("--kernels", default="auto")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--chinese", action="store_true")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    config = EngineConfig(
        device="cuda",
        max_running=args.max_running,
        max_sequence_length=args.max_sequence_length,
        max_audio_rows=args.audio_rows,
        max_prefill_rows=16,
        kernels=args.kernels,
    )
    begin = time.perf_counter()
    loaded = load_engine(locate_model(args.model), config)
    print(f"loaded and captured in {time.perf_counter() - begin:.1f} s", flush=True)
    rows = [Load(loaded.core, args, clients).run() for clients in args.clients]
    for row in rows:
        print(row)
    memory = torch.cuda.max_memory_reserved() / 2**30
    line = {"bench": "engine_cuda", "device": torch.cuda.get_device_name(), "rows": rows}
    print(json.dumps({**line, "torch": torch.__version__, "reserved_gib": round(memory, 2)}))


class Load:
    """One number of callers."""

    def __init__(self, core: EngineCore, args: argparse.Namespace, clients: int) -> None:
        self.core, self.args, self.clients = core, args, clients
        self.random = np.random.default_rng(clients)
        sounds = [demo_sound(voice).astype("<f4") / 32_768 for voice in range(NUM_VOICES)]
        self.voices = [
            ReferenceAudio(sound.tobytes(), DEMO_RATE_HZ, key=f"voice {voice}")
            for voice, sound in enumerate(sounds)
        ]
        self.count = 0
        self.begun: dict[str, float] = {}
        self.first: list[float] = []
        self.whole: list[float] = []
        self.heard: set[str] = set()
        self.samples = 0

    def run(self) -> dict[str, float]:
        """Return the figures."""
        self.loop(min(4.0, self.args.seconds))
        if self.args.profile:
            profiler = cProfile.Profile()
            profiler.enable()
        elapsed, gpu = self.loop(self.args.seconds)
        if self.args.profile:
            profiler.disable()
            pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
        rate_hz = self.core.scheduler.geometry.sample_rate_hz
        for request_id in list(self.core.scheduler.requests):
            self.core.abort(request_id)
        while self.core.has_work():
            self.core.step()
        return {
            "clients": self.clients,
            "audio_s_per_s": round(self.samples / rate_hz / elapsed, 1),
            "requests": len(self.whole),
            "first_p50_ms": round(1000 * statistics.median(self.first), 1),
            "first_p99_ms": round(1000 * float(np.percentile(self.first, 99)), 1),
            "whole_p50_ms": round(1000 * statistics.median(self.whole), 1),
            "steps_per_s": round(gpu / elapsed, 1),
        }

    def loop(self, seconds: float) -> tuple[float, int]:
        """Serve for a while; return how long it took, and the engine's steps."""
        self.first.clear()
        self.whole.clear()
        self.samples = steps = 0
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            while len(self.begun) < self.clients:
                self.add()
            for message in self.core.step():
                self.take(message)
            steps += 1
        return time.perf_counter() - begin, steps

    def add(self) -> None:
        """Ask for something new."""
        self.count += 1
        name = f"{self.clients}-{self.count}"
        self.begun[name] = time.perf_counter()
        text = self.text()
        self.core.add(
            SynthesisRequest(
                name,
                segments=(text,),
                reference=Reference(self.voices[self.count % NUM_VOICES], self.text(short=True)),
                sampling=SamplingParams(seed=self.count, top_k=15, repetition_penalty=1.35),
                is_streaming=self.args.stream,
            )
        )

    def text(self, *, short: bool = False) -> PhonemizedText:
        """Return new phonemes; a short one is a prompt, one of few."""
        random = np.random.default_rng(self.count % NUM_VOICES) if short else self.random
        number = 44 if short else NUM_PHONEMES
        ids = tuple(int(i) for i in random.integers(1, 320, number))
        if not self.args.chinese:
            return PhonemizedText(ids)
        characters = "".join(random.choice(list(CHARACTERS), number // 2))
        return PhonemizedText(ids, (TextSpan(0, characters, (2,) * (number // 2)),))

    def take(self, message: object) -> None:
        """Take in a message of the engine."""
        now = time.perf_counter()
        if isinstance(message, AudioChunk):
            self.samples += len(message.pcm) // 2
            if message.request_id not in self.heard:
                self.heard.add(message.request_id)
                self.first.append(now - self.begun[message.request_id])
        elif isinstance(message, TERMINAL):
            assert isinstance(message, Finished), message
            self.whole.append(now - self.begun.pop(message.request_id))
            self.heard.discard(message.request_id)


if __name__ == "__main__":
    main()
