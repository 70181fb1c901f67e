"""How long encoding takes: 5 s of speech-like audio in pieces of 200 ms, for every format.

    python bench/encoders.py [--rate 32000] [--repeat 5]

Prints a table and one JSON line. ``first`` is the time until the first bytes of audio are out.
"""

import argparse
import json
import statistics
import time

from sovits_serve.audio.encoding import AudioFormat, ByteSink, check_available, make_writer
from sovits_serve.audio.resample import resample_pcm
from sovits_serve.errors import UnsupportedFormat
from sovits_serve.voices.demo import DEMO_RATE_HZ, demo_sound

_DURATION_S = 5
_PIECE_S = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=32_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    rows = {}
    for kind in AudioFormat:
        try:
            check_available(kind)
        except UnsupportedFormat as error:
            print(error.message)
            continue
        measure(kind, options.rate)  # warm-up
        runs = [measure(kind, options.rate) for _ in range(options.repeat)]
        total, first, size = (statistics.median(values) for values in zip(*runs, strict=True))
        rows[kind.value] = {"ms_per_5_s": round(total, 2), "first_ms": round(first, 2)}
        rows[kind.value]["bytes"] = int(size)
        print(f"{kind:5} {total:7.1f} ms   first {first:6.2f} ms   {int(size):7} bytes")
    print(json.dumps({"bench": "encoders", "rate_hz": options.rate, "formats": rows}))


def measure(kind: AudioFormat, rate_hz: int) -> tuple[float, float, int]:
    """Return milliseconds for all, milliseconds until the first bytes, and the bytes."""
    sound = resample_pcm(demo_sound(0), DEMO_RATE_HZ, rate_hz)
    samples = sound.repeat(2)[: _DURATION_S * rate_hz]  # an octave lower, and longer
    piece = int(_PIECE_S * rate_hz)
    sink = ByteSink()
    num_bytes, first_ms = 0, 0.0
    start = time.perf_counter()
    with make_writer(sink, kind, rate_hz) as writer:
        for begin in range(0, len(samples), piece):
            writer.write(samples[begin : begin + piece])
            data = sink.take()
            first_ms = first_ms or (time.perf_counter() - start) * 1000 * bool(data)
            num_bytes += len(data)
    total_ms = (time.perf_counter() - start) * 1000
    return total_ms, first_ms, num_bytes + len(sink.take())


if __name__ == "__main__":
    main()
