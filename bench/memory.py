"""Memory of loading and of serving, measured in processes of their own.

``loading``: peak resident memory while a model loads, over the size of its files and over what is
resident afterwards. ``serving``: resident memory after every 100 of N requests on a tiny model.

    python bench/memory.py --version v2 --size full
    python bench/memory.py --requests 1000
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import workloads


def main() -> None:
    """Run one of the two measurements, each in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="v2")
    parser.add_argument("--size", default="tiny", choices=("tiny", "full"))
    parser.add_argument("--dtype", nargs="+", default=["float32", "float16"])
    parser.add_argument("--requests", type=int, default=0, help="serve this many instead")
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.directory is not None:
        if args.requests:
            serve(args)
        else:
            load(args)
        return
    with tempfile.TemporaryDirectory() as scratch:
        directory = workloads.model_directory(Path(scratch), args.version, args.size)
        for dtype in args.dtype[:1] if args.requests else args.dtype:
            command = [sys.executable, *sys.argv, "--directory", str(directory)]
            subprocess.run([*command, "--dtype", dtype], check=True)


def load(args: argparse.Namespace) -> None:
    """Load a model and report peak memory, beyond what imports take."""
    import torch
    import transformers.models.bert.modeling_bert
    import transformers.models.hubert.modeling_hubert  # noqa: F401 -- imports do not count

    from sovits_serve.checkpoints.locate import locate_model
    from sovits_serve.engine.loader import load_models

    files = locate_model(args.directory)
    voice_bytes = files.t2s.stat().st_size + files.sovits.stat().st_size
    all_bytes = sum(file.stat().st_size for file in args.directory.rglob("*") if file.is_file())
    dtype = getattr(torch, args.dtype[0])
    base = resident_bytes()
    begin = time.perf_counter()
    with PeakMemory() as peak:
        models = load_models(files, torch.device("cpu"), dtype)
    seconds = time.perf_counter() - begin
    kept = resident_bytes() - base
    workloads.print_json(
        benchmark="loading",
        version=args.version,
        size=args.size,
        dtype=args.dtype[0],
        seconds=round(seconds, 2),
        file_mb=round(all_bytes / 1e6, 1),
        voice_file_mb=round(voice_bytes / 1e6, 1),
        peak_mb=round((peak.bytes - base) / 1e6, 1),
        kept_mb=round(kept / 1e6, 1),
        peak_over_files=round((peak.bytes - base) / all_bytes, 2),
        peak_over_kept=round((peak.bytes - base) / kept, 2),
        **workloads.environment("cpu"),
    )
    del models


def serve(args: argparse.Namespace) -> None:
    """Serve requests of all lengths, some aborted, and report memory on the way."""
    import torch

    from sovits_serve.checkpoints.locate import locate_model
    from sovits_serve.config import EngineConfig
    from sovits_serve.engine.loader import build_engine, load_models, resolve

    models = load_models(locate_model(args.directory), torch.device("cpu"), torch.float32)
    config = EngineConfig(
        device="cpu",
        dtype="float32",
        batch_invariant="off",
        num_threads=torch.get_num_threads(),
        reference_cache_bytes=1 << 20,
        max_sequence_length=512,
    )
    engine = build_engine(models, resolve(config))
    resident = []
    for number in range(args.requests):
        # A new recording every tenth request, so that the reference cache turns over.
        engine.add(workloads.request(number, num_tokens=10 + number % 40, voice=number // 10))
        while len(engine.scheduler.requests) >= 8:  # keep eight in flight
            engine.step()
        if number % 7 == 3:
            engine.abort(f"request-{number}")
        if number % 100 == 99:
            resident.append(round(resident_bytes() / 1e6, 1))
            print(f"{number + 1} requests: {resident[-1]} MB")
    while engine.has_work():
        engine.step()
    engine.check_integrity()
    half = len(resident) // 2
    slope = (resident[-1] - resident[half]) * 1e3 / max(1, (len(resident) - 1 - half) * 100)
    workloads.print_json(
        benchmark="serving",
        requests=args.requests,
        resident_mb=resident,
        kb_per_request_in_second_half=round(slope, 2),
        **workloads.environment("cpu"),
    )


class PeakMemory:
    """Watches resident memory from a thread."""

    def __enter__(self) -> "PeakMemory":
        """Start watching."""
        self.bytes = resident_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.bytes = max(self.bytes, resident_bytes())


def resident_bytes() -> int:
    """Return the resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    main()
