"""How fast and how large: a fresh process that loads a model, speaks alone on all cores, and ends.

    python -m tools.builtin_voice.evaluate_speed --model DIR --voice ada-en --language en < TEXTS

Prints one line of JSON. Everything is in that one process, the frontend too, so its memory is an
upper bound for the engine's. Times include the frontend. Linux only (memory).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.builtin_voice.evaluate_speech import ModelSpeech

_TIMEOUT_S = 1800
_NUM_WARM_UP = 2
_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def measure_in_child(
    model: Path, voice: str, language: str, texts: Sequence[str]
) -> dict[str, float]:
    """Run this module in a process of its own and return what it measured.

    Raises:
        subprocess.SubprocessError: it failed; what it said is on standard error.
    """
    command = [sys.executable, "-m", __name__, "--model", str(model)]
    command += ["--voice", voice, "--language", language]
    done = subprocess.run(
        command,
        input="\n".join(texts),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_TIMEOUT_S,
        env={name: value for name, value in os.environ.items() if name not in _THREAD_LIMITS},
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(model: Path, voice: str, language: str, texts: Sequence[str]) -> dict[str, float]:
    """Load, warm up, speak every text whole and then streamed."""
    load_average = os.getloadavg()[0]
    begin = time.perf_counter()
    from tools.builtin_voice.evaluate_speech import ModelSpeech

    imported = time.perf_counter()
    speaker = ModelSpeech(model, num_threads=0)
    loaded = time.perf_counter()
    cold_s = _first_audio_s(speaker, texts[0], voice, language)
    for text in texts[:_NUM_WARM_UP]:
        speaker.speak(text, voice, language)
    compute_s = audio_s = 0.0
    for text in texts:
        started = time.perf_counter()
        speech = speaker.speak(text, voice, language)
        compute_s += time.perf_counter() - started
        audio_s += len(speech.samples) / speech.rate_hz
    firsts_s = [_first_audio_s(speaker, text, voice, language) for text in texts]
    return {
        "load_average_before": round(load_average, 2),
        "num_texts": len(texts),
        "import_s": round(imported - begin, 2),
        "load_s": round(loaded - imported, 2),
        "first_audio_cold_ms": round(1000 * cold_s, 1),
        "real_time_factor": round(compute_s / audio_s, 4),
        "first_audio_median_ms": round(1000 * statistics.median(firsts_s), 1),
        "first_audio_max_ms": round(1000 * max(firsts_s), 1),
        "peak_rss_mb": round(peak_bytes() / 1e6, 1),
    }


def _first_audio_s(speaker: "ModelSpeech", text: str, voice: str, language: str) -> float:
    """Return the time from the text to the first piece of audio; the rest is not made."""
    begin = time.perf_counter()
    stream = speaker.pieces(text, voice, language)
    next(stream)
    elapsed = time.perf_counter() - begin
    stream.close()
    return elapsed


def peak_bytes(pid: int | str = "self") -> int:
    """Return the peak of a process's resident memory; what getrusage tells may be the parent's."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/status has no VmHWM")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--voice", required=True)
    parser.add_argument("--language", required=True)
    args = parser.parse_args()
    texts = [line for line in sys.stdin.read().splitlines() if line.strip()]
    print(json.dumps(measure(args.model, args.voice, args.language, texts)))


if __name__ == "__main__":
    main()
