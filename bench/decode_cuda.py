"""Time T2S decode steps of the CUDA path: ms per step, tokens/s, against the memory they must read.

python bench/decode_cuda.py [--batches 1 8 64 128 256] [--cached 400]
Dimensions of the published models, random weights. Prints one line of JSON at the end.
"""

import argparse
import json
import statistics
import time

import torch

from sovits_serve.engine import graph_decoder
from sovits_serve.engine.graph_decoder import GraphDecoder
from sovits_serve.engine.paged_cache import PagedCache
from sovits_serve.engine.row_table import NewRow, RowTable
from sovits_serve.models.cuda.pages import PAGE_TOKENS, num_pages
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.spec import T2SDims
from sovits_serve.models.t2s import T2SModel
from sovits_serve.protocol.messages import SamplingParams

DIMS = T2SDims(512, 16, 24, 1025, 732, 54)
BANDWIDTH_GB_S = 4300  # of a copy on one H200, bytes read and written


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64, 128, 256])
    parser.add_argument("--cached", type=int, default=192)
    parser.add_argument("--steps-per-graph", type=int, default=4)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--tune", action="store_true", help="try settings of the kernels")
    args = parser.parse_args()
    use_exact_kernels()
    model = random_model(torch.float16)
    if args.tune:
        tune(model, args)
        return
    rows = [measure(model, batch, args) for batch in args.batches]
    print(
        f"{'batch':>6} {'ms/step':>9} {'tokens/s':>10} {'GB/s':>7} {'of roof':>8} {'capture s':>9}"
    )
    for row in rows:
        print(
            f"{row['batch']:6} {row['ms']:9.3f} {row['tokens_s']:10.0f} {row['gb_s']:7.0f} "
            f"{row['gb_s'] / BANDWIDTH_GB_S:8.0%} {row['capture_s']:9.1f}"
        )
    print(
        json.dumps(
            {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": rows}
        )
    )


def tune(model: T2SModel, args: argparse.Namespace) -> None:
    """Print ms per step of each batch under each setting."""
    names = ("_NARROW", "_BROAD")
    before = [getattr(graph_decoder, name) for name in names]
    tries = [
        ((16, 128, 1, 4), (64, 64, 4, 4)),
        ((32, 512, 2, 1), (64, 64, 4, 4)),
        ((32, 512, 1, 1), (64, 64, 8, 4)),
        ((64, 512, 4, 1), (64, 64, 4, 3)),
        ((64, 512, 2, 1), (64, 64, 2, 4)),
    ]
    for settings in tries:
        for name, setting in zip(names, settings, strict=True):
            setattr(graph_decoder, name, setting)
        found = {batch: measure(model, batch, args)["ms"] for batch in args.batches}
        print(settings, found, flush=True)
    for name, setting in zip(names, before, strict=True):
        setattr(graph_decoder, name, setting)


def random_model(dtype: torch.dtype) -> T2SModel:
    """Return a model of random weights that decodes to finite numbers."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = T2SModel(DIMS)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(requires_grad=False)
        if "norm" in name and name.endswith("weight"):
            parameter.fill_(1)
        elif parameter.dim() < 2:
            parameter.normal_(0, 0.02)
        else:
            parameter.normal_(0, parameter.shape[1] ** -0.5)
    model.positions = model.positions.to("cuda")
    model.positions = model.positions.to(dtype)
    return model.to(dtype)


def measure(model: T2SModel, batch: int, args: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one batch size."""
    steps = 128
    longest = args.cached + 2 * steps + 8
    cache = PagedCache(
        DIMS,
        num_slots=batch,
        num_tokens=batch * num_pages(longest) * PAGE_TOKENS,
        max_length=longest,
        device="cuda",
        dtype=torch.float16,
    )
    slots = [cache.allocate() for _ in range(batch)]
    for length in range(PAGE_TOKENS, longest + PAGE_TOKENS, PAGE_TOKENS):
        for slot in slots:  # in turns, as they grow together
            cache.grow(slot, min(length, longest))
    cache.upload()
    table = RowTable(batch, DIMS.vocab_size, torch.device("cuda"))
    decoder = GraphDecoder(model, cache, table, num_slots=batch, num_steps=args.steps_per_graph)
    begin = time.perf_counter()
    decoder.capture()
    torch.cuda.synchronize()
    capture_s = time.perf_counter() - begin
    params = SamplingParams(seed=1, top_k=15, temperature=1.0, repetition_penalty=1.35)
    prompt = torch.arange(100, device="cuda")
    table.admit(
        [NewRow(slot, args.cached, prompt, params, slot, 9999, 9999) for slot in range(batch)]
    )
    logits = torch.randn(batch, DIMS.vocab_size, device="cuda")
    table.draw_first(logits, batch)
    times = []
    for _ in range(steps // args.steps_per_graph):
        torch.cuda.synchronize()
        start = time.perf_counter()
        decoder.decode(slots)
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / args.steps_per_graph)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps // args.steps_per_graph):
        decoder.decode(slots)
    torch.cuda.synchronize()
    ms = 1000 * (time.perf_counter() - start) / steps
    if args.profile:
        profile(decoder, slots)
    weights = sum(p.nbytes for name, p in model.named_parameters() if "layers" in name)
    cached = batch * (args.cached + 1.5 * steps) * DIMS.num_layers * 2 * DIMS.hidden * 2
    return {
        "batch": batch,
        "ms": round(ms, 4),
        "ms_waiting": round(1000 * statistics.median(times), 4),
        "tokens_s": round(1000 * batch / ms, 1),
        "gb_s": round((weights + cached) / ms / 1e6, 1),
        "capture_s": round(capture_s, 2),
    }


def profile(decoder: GraphDecoder, slots: list[int]) -> None:
    """Print what the kernels of some steps take."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CUDA]) as seen:
        decoder.decode(slots)
        torch.cuda.synchronize()
    print(
        seen.key_averages().table(sort_by="cuda_time_total", row_limit=8, max_name_column_width=30)
    )


if __name__ == "__main__":
    main()
