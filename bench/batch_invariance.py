"""How many seeded requests draw the same tokens alone and in a batch of strangers.

Runs every request alone, then all together, with ``batch_invariant`` on and off, and counts the
requests whose tokens differ anywhere. Example:

    python bench/batch_invariance.py --device cuda --dtype float16 --requests 64 --size full
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
import workloads

from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.config import EngineConfig
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.loader import build_engine, load_models, resolve
from sovits_serve.models.bundle import Models
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.protocol.messages import SynthesisRequest


def main() -> None:
    """Run the comparison and print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", nargs="+")
    parser.add_argument("--version", default="v2")
    parser.add_argument("--size", default="tiny", choices=("tiny", "full"))
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=125)
    parser.add_argument("--mode", nargs="+", default=["on", "off"], choices=("on", "off"))
    args = parser.parse_args()
    dtypes = [args.dtype] if isinstance(args.dtype, str) else args.dtype
    use_exact_kernels()
    with tempfile.TemporaryDirectory() as scratch:
        directory = workloads.model_directory(Path(scratch), args.version, args.size)
        for dtype in dtypes:
            models = load_models(
                locate_model(directory), torch.device(args.device), getattr(torch, dtype)
            )
            for mode in args.mode:
                compare(models, args, dtype, mode)


def compare(models: Models, args: argparse.Namespace, dtype: str, mode: str) -> None:
    """Run all requests alone and together in one mode."""
    config = EngineConfig(
        device=args.device,
        dtype=dtype,
        num_threads=torch.get_num_threads(),
        batch_invariant=mode,
        max_running=args.requests,
        max_sequence_length=512,
        max_window_frames=400,
    )
    requests = [
        workloads.request(seed, num_tokens=args.tokens, voice=seed % 4)
        for seed in range(args.requests)
    ]
    engine = build_engine(models, resolve(config))
    begin = time.perf_counter()
    together = run(engine, requests)
    together_s = time.perf_counter() - begin
    begin = time.perf_counter()
    alone = {}
    for request in requests:
        alone |= run(engine, [request])
    alone_s = time.perf_counter() - begin
    different = sum(alone[key] != together[key] for key in alone)
    print(
        f"{args.device} {dtype} batch_invariant={mode}: {different} of {len(requests)} differ; "
        f"together {together_s:.1f} s, one by one {alone_s:.1f} s"
    )
    workloads.print_json(
        benchmark="batch_invariance",
        dtype=dtype,
        batch_invariant=mode,
        size=args.size,
        requests=len(requests),
        tokens=args.tokens,
        different=different,
        together_s=round(together_s, 2),
        alone_s=round(alone_s, 2),
        **workloads.environment(args.device),
    )


def run(engine: EngineCore, requests: list[SynthesisRequest]) -> dict[str, list[int]]:
    """Run requests together and return their tokens."""
    tokens = {}
    for request in requests:
        engine.add(request)
        (sequence,) = engine.scheduler.requests[request.request_id].sequences
        tokens[request.request_id] = sequence.tokens
    while engine.has_work():
        engine.step()
    return tokens


if __name__ == "__main__":
    main()
