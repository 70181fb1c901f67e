"""How fast the fused generator is on a CUDA device, and with which tiles.

First every group of residual convolutions at full size with a few tiles: what
``models/cuda/generator_tiles.py`` should hold. Then whole generators of random weights: fused with
the table as it is (launched, and as a graph), fused with the fastest tiles of the first part (as a
graph), simple, and compiled if asked. Errors are root mean squares against the simple path in
float32, relative to its samples. Prints tables, then one JSON line.

    PYTHONPATH=src python bench/generator_cuda.py
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import torch
from generator_tiles import (
    CANDIDATES,
    DEVICE,
    DIMS,
    KINDS,
    STEPS_PER_FRAME,
    Job,
    StageJob,
    compile_job,
    short,
)
from torch import Tensor
from workloads import environment, print_json

from sovits_serve.models.cuda.convolution import Tile
from sovits_serve.models.cuda.generator import FusedGenerator
from sovits_serve.models.cuda.generator_tiles import HALF, GeneratorTiles
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.layers.time_convolution import lay_out_channels_last
from sovits_serve.models.sovits.generator import Generator
from sovits_serve.models.spec import SovitsDims

FRAMES_PER_S = 50


def main() -> None:
    options = parse_options()
    use_exact_kernels()
    started = time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    best: dict[int, Tile] = {}
    with torch.inference_mode(), ProcessPoolExecutor(options.processes, mp_context=spawn) as pool:
        stages = list(stage_jobs(options.versions, HALF))
        candidates = [] if options.skip_tiles else list(candidate_jobs(options))
        list(pool.map(compile_job, [*stages, *candidates]))
        print(f"compiled after {time.monotonic() - started:.0f} s")
        if candidates:
            best = compare_tiles(candidates)
            list(pool.map(compile_job, stage_jobs(options.versions, with_blocks(best))))
            print(f"tiles after {time.monotonic() - started:.0f} s")
        rows = [
            row for version in options.versions for row in compare_paths(version, best, options)
        ]
    print_json(
        benchmark="generator_cuda",
        environment=environment(DEVICE),
        rows=rows,
        best={channels: short(tile) for channels, tile in best.items()},
        seconds=round(time.monotonic() - started),
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", nargs="+", default=list(DIMS), choices=list(DIMS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 16])
    parser.add_argument("--frames", nargs="+", type=int, default=[50, 250])
    parser.add_argument("--skip-tiles", action="store_true", help="whole generators only")
    parser.add_argument("--compile", action="store_true", help="the simple path compiled as well")
    parser.add_argument("--processes", type=int, default=10, help="that compile kernels")
    return parser.parse_args()


def stage_jobs(versions: list[str], tiles: GeneratorTiles) -> Iterator[StageJob]:
    """Yield all stages of whole generators."""
    for version in versions:
        for stage in range(len(STEPS_PER_FRAME)):
            yield StageJob(version, stage, tiles)


def candidate_jobs(options: argparse.Namespace) -> Iterator[Job]:
    """Yield every tile at the largest batch and length."""
    batch, frames = max(options.batches), max(options.frames)
    for version in options.versions:
        for stage, steps in enumerate(STEPS_PER_FRAME, start=1):
            channels = DIMS[version].upsample_initial_channels >> stage
            for tile in (HALF.blocks[channels], *CANDIDATES[channels]):
                yield Job(channels, tile, batch, frames * steps)


def with_blocks(best: dict[int, Tile]) -> GeneratorTiles:
    """Return the table with other tiles for residual blocks."""
    return replace(HALF, blocks={**HALF.blocks, **best})


def compare_tiles(jobs: list[Job]) -> dict[int, Tile]:
    """Measure all tiles, and return the fastest by channels."""
    print(f"{'':60}" + "".join(f"{kind:>8} ms TFLOP/s  GB/s" for kind in KINDS) + "  stage ms")
    best: dict[int, tuple[float, Tile]] = {}
    for job in jobs:
        line, stage = f"{job.channels:4} {short(job.tile):55}", 0.0
        for kind, launch in job.launches():
            seconds = seconds_of(launch)
            tflops, gbytes = job.figures(kind, seconds)
            line += f"{seconds * 1e3:11.3f}{tflops:8.0f}{gbytes:6.0f}"
            stage += seconds * KINDS[kind]
        print(f"{line}{stage * 1e3:10.3f}", flush=True)
        if job.channels not in best or stage < best[job.channels][0]:
            best[job.channels] = stage, job.tile
    for channels, (stage, tile) in best.items():
        print(f"best {channels:4} {short(tile):55} {stage * 1e3:.3f} ms")
    return {channels: tile for channels, (_, tile) in best.items()}


def compare_paths(version: str, best: dict[int, Tile], options: argparse.Namespace) -> list[dict]:
    """Measure one version on all shapes."""
    exact = random_generator(DIMS[version])
    simple = random_generator(DIMS[version]).half()
    lay_out_channels_last(simple)
    table = FusedGenerator(simple)
    paths = {"fused": table, "fused graph": table, "simple": simple}
    if best:
        paths["best tiles graph"] = FusedGenerator(simple, with_blocks(best))
    if options.compile:
        paths["compiled"] = torch.compile(simple, dynamic=False)
    rows = []
    print(f"\n{version:12}{'batch':>6}{'frames':>8}  {'path':18}{'ms':>9}{'audio s/s':>11}  error")
    for batch in options.batches:
        for frames in options.frames:
            arguments = inputs(DIMS[version], batch, frames)
            wanted = exact(*widened(arguments))
            for name, path in paths.items():
                row = measure(name, path, arguments, wanted)
                rows.append({"version": version, "batch": batch, "frames": frames, **row})
                print(
                    f"{'':12}{batch:6}{frames:8}  {name:18}{row['ms']:9.3f}"
                    f"{row['audio_s_per_s']:11.0f}  {row['error']:.1e}",
                    flush=True,
                )
    return rows


def measure(
    name: str, path: Callable[..., Tensor], arguments: tuple[Tensor, ...], wanted: Tensor
) -> dict:
    """Return milliseconds, audio seconds per second and error of one path."""
    difference = path(*arguments) - wanted
    seconds = seconds_of(lambda: path(*arguments), is_graph=name.endswith("graph"))
    audio_s = arguments[0].size(0) * arguments[0].size(2) / FRAMES_PER_S
    return {
        "path": name,
        "ms": round(seconds * 1e3, 3),
        "audio_s_per_s": round(audio_s / seconds),
        "error": (difference.square().mean() / wanted.square().mean()).sqrt().item(),
    }


def seconds_of(launch: Callable[[], object], *, is_graph: bool = False, turns: int = 8) -> float:
    """Return seconds per call, after one to warm up."""
    launch()
    if is_graph:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            launch()
        launch = graph.replay
        launch()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(turns):
        launch()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / turns / 1e3


def random_generator(size: SovitsDims) -> Generator:
    """Return a seeded generator in float32 whose activations keep their size."""
    generator = Generator(size).to(DEVICE).eval().requires_grad_(False)
    random = torch.Generator(DEVICE).manual_seed(1)
    for parameter in generator.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
        parameter.normal_(generator=random).mul_(scale)
    return generator


def inputs(size: SovitsDims, batch: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return latent, lengths (all full) and styles."""
    half = {"device": DEVICE, "dtype": torch.float16}
    z = torch.randn(batch, size.inter_channels, frames, **half)
    lengths = torch.full((batch,), frames, device=DEVICE)
    return z, lengths, torch.randn(batch, size.style_dim, **half)


def widened(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    return [t.float() if t.is_floating_point() else t for t in tensors]


if __name__ == "__main__":
    main()
