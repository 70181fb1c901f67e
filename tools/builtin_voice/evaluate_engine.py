"""How fast and how large behind HTTP: a server of its own, one listener, texts it has not seen.

    python -m tools.builtin_voice.evaluate_engine --model DIR --voice ada-en --language en

Prints one line of JSON. Every text is spoken once, streamed, from request to first and last sample;
the memory is the engine process's own, which holds the models and nothing of HTTP or text. Linux
only (memory). The machine should have nothing else to do.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tools.builtin_voice import texts
from tools.builtin_voice.evaluate_speed import peak_bytes

_NUM_WARM_UP = 2
_READY_S = 120.0
_STOP_S = 20.0
_BYTES_PER_SECOND = 2 * 32_000  # PCM as the model makes it


def measure(model: Path, voice: str, lines: Sequence[str]) -> dict[str, float]:
    """Start a server, have it speak every line, and end it."""
    port = _free_port()
    command = [sys.executable, "-m", "sovits_serve", "serve", "--port", str(port), "--devices"]
    command += ["cpu", "--model", str(model), "--voices", str(model / "voices")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as server:
        try:
            _wait_ready(server, port)
            for line in lines[:_NUM_WARM_UP]:
                _speak(port, voice, line)
            spoken = [_speak(port, voice, line) for line in lines[_NUM_WARM_UP:]]
            [engine] = json.loads(_get(port, "/health"))["engines"]
            peak = peak_bytes(engine["pid"])
        finally:
            server.terminate()
            try:
                server.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
    firsts = [first for first, _, _ in spoken]
    return {
        "num_cores": len(os.sched_getaffinity(0)),
        "num_texts": len(spoken),
        "first_audio_median_ms": round(1000 * statistics.median(firsts), 1),
        "first_audio_p95_ms": round(1000 * statistics.quantiles(firsts, n=20)[-1], 1),
        "real_time_factor": round(
            sum(whole for _, whole, _ in spoken) / sum(audio for _, _, audio in spoken), 4
        ),
        "peak_rss_mb": round(peak / 1e6, 1),
    }


def _speak(port: int, voice: str, text: str) -> tuple[float, float, float]:
    """Return seconds to the first sample, to the last one, and of speech."""
    body = {
        "input": text,
        "voice": voice,
        "response_format": "pcm",
        "stream": True,
        "sample_rate": 32_000,
    }
    begin = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(
            "POST", "/v1/audio/speech", json.dumps(body), {"content-type": "application/json"}
        )
        response = connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"{response.status}: {response.read().decode()}")
        num_bytes = len(response.read1())
        first = time.perf_counter() - begin
        num_bytes += len(response.read())
    return first, time.perf_counter() - begin, num_bytes / _BYTES_PER_SECOND


def _get(port: int, path: str) -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read() if response.status == 200 else b""


def _wait_ready(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            if _get(port, "/readyz"):
                return
        except OSError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise SystemExit(f"no server: {server.stderr.read().decode() if server.stderr else ''}")
        time.sleep(0.2)  # nothing tells a client when to ask again


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--voice", required=True)
    parser.add_argument("--language", choices=("en", "zh"), required=True)
    parser.add_argument("--count", type=int, default=40)
    args = parser.parse_args()
    lines = texts.held_out(args.language, args.count + _NUM_WARM_UP)
    print(json.dumps(measure(args.model, args.voice, lines)))


if __name__ == "__main__":
    main()
