"""Our server beside GPT-SoVITS's own, on one machine, in one run, under the same loads.

The same random model, the same English sentences, one a request, every text different,
one reference. Ours speaks as long as the text says; upstream always as long as ours on average.
Servers run one after the other. Writes PREFIX.json, PREFIX.md and PREFIX.png.

    python bench/compare.py --upstream ../GPT-SoVITS --upstream-python ../venv/bin/python
    python bench/compare.py --device cuda --clients 1 16 64 256 --stream-clients 1 64 256
    python bench/compare.py --ours plain= --ours "int8=--decode-weights int8" --device cpu
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import fmean

from compare_report import machine, write_report
from compared_server import ComparedServer, our_server, sentence_target
from upstream_server import Upstream, UpstreamServer

from sovits_serve.bench.load import Target
from sovits_serve.bench.run import BenchJob, measure
from sovits_serve.bench.texts import texts
from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.models.spec import ModelVersion

_TOKENS_PER_PHONEME = 2
_SENTENCE_S = 5.0  # about what one of the texts takes to hear
_FASTEST_MODE = 3  # api_v2's streaming_mode: first audio before all tokens are known
_UPSTREAM = "upstream"
_VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus")
Row = dict[str, object]


def main() -> None:
    """Measure every server and write the report."""
    args = _arguments()
    if args.upstream and not (args.upstream / "api_v2.py").exists():
        raise SystemExit(f"--upstream: {args.upstream} has no api_v2.py")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end, too
    with _model(args) as model:
        num_tokens = args.upstream_tokens or _mean_tokens()
        settings: Row = {"command": " ".join(sys.argv), "upstream_tokens": num_tokens}
        settings |= {"version": args.version, "seconds": args.seconds, **machine(args.device)}
        rows: list[Row] = []
        for given in args.ours or ["ours="]:
            name, _, options = given.partition("=")
            with our_server(model, args.device, shlex.split(options)) as server:
                rows += _rows(args, name, server, model, (args.clients, args.stream_clients))
                rows += _paced_rows(args, name, server, model)
                if args.exact:
                    name += " exact"
                    clients = [], args.stream_clients
                    rows += _rows(args, name, server, model, clients, stream_mode=1)
                    rows += _paced_rows(args, name, server, model, stream_mode=1)
                write_report(args.out, settings, rows, _UPSTREAM)  # what there is, is kept
        if args.upstream:
            upstream = Upstream(
                args.upstream, args.upstream_python, model, args.device, num_tokens,
                args.upstream_pythonpath,
            )  # fmt: skip
            with UpstreamServer(upstream) as server:
                rows += _rows(args, _UPSTREAM, server, model, _upstream_clients(args))
    settings["load_after"] = round(os.getloadavg()[0], 2)
    print("\n" + write_report(args.out, settings, rows, _UPSTREAM))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--model", type=Path, help="made if it is not there; without: a temporary one")
    add("--version", choices=_VERSIONS, default="v2", help="of a model that is made")
    add("--size", choices=("tiny", "full"), default="full", help="of a model that is made")
    add("--ours", action="append", metavar="NAME=OPTIONS", help="our server with these options")
    add("--clients", type=int, nargs="*", default=[1, 8], help="not streaming")
    add("--stream-clients", type=int, nargs="*", default=[1])
    add(
        "--listeners",
        type=int,
        nargs="*",
        default=[],
        help="streams at random moments, in real time",
    )
    add("--exact", action="store_true", help="measure our streams in streaming_mode 1, too")
    add("--seconds", type=float, default=20.0, help="of each row, and the answers under way then")
    add("--warm-up", type=int, default=2, help="requests at once before the first row of a mode")
    add("--upstream-warm-up", type=int, default=2, help="likewise, one after the other")
    add("--upstream", type=Path, help="checkout of GPT-SoVITS; without: ours alone")
    add("--upstream-python", default=sys.executable)
    add("--upstream-pythonpath", default="")
    add("--upstream-clients", type=int, nargs="*", help="as --clients, which is the default")
    add("--upstream-stream-clients", type=int, nargs="*", help="likewise")
    add("--upstream-tokens", type=int, default=0, help="of every sentence; 0: ours on average")
    add("--out", type=Path, default=Path("compare"), metavar="PREFIX")
    return parser.parse_args()


@contextmanager
def _model(args: argparse.Namespace) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-model-") as temporary:
        directory = args.model or Path(temporary)
        if not (directory / "gpt.ckpt").exists():
            write_random_model(
                directory,
                version=ModelVersion(args.version),
                size=args.size,
                seed=0,
                tokens_per_phoneme=_TOKENS_PER_PHONEME,
            )
        yield directory


def _mean_tokens() -> int:
    """Return how many tokens our server speaks for one of the texts on average."""
    frontend = TextFrontend()
    some = islice(texts("en", "medium"), 200)
    segments = [frontend.one_segment(text, "en") for text in some]
    return round(fmean(_TOKENS_PER_PHONEME * len(segment.phonemes) for segment in segments))


def _upstream_clients(args: argparse.Namespace) -> tuple[list[int], list[int]]:
    whole, streams = args.upstream_clients, args.upstream_stream_clients
    return (
        args.clients if whole is None else whole,
        args.stream_clients if streams is None else streams,
    )


def _rows(
    args: argparse.Namespace,
    name: str,
    server: ComparedServer,
    model: Path,
    clients: tuple[list[int], list[int]],
    *,
    stream_mode: int = _FASTEST_MODE,
) -> list[Row]:
    start_s = server.wait_until_ready()
    print(f"{name}: ready after {start_s:.1f} s", flush=True)
    rows: list[Row] = []
    for mode, loads in zip((0, stream_mode), clients, strict=True):
        if not loads:
            continue
        target = sentence_target(server.url, model, streaming_mode=mode)
        # No text comes twice: a server may remember how it is read.
        seed = 10_000 + 20_000 * mode
        if name == _UPSTREAM:
            _warm_up(target, 1.0, args.upstream_warm_up, seed)
        else:  # all its workers, too
            _warm_up(target, float(args.warm_up), args.warm_up, seed)
        for load in map(float, loads):
            load_before = round(os.getloadavg()[0], 2)
            job = BenchJob(
                target,
                [load],
                seconds=args.seconds,
                num_warm_up=0,
                seed=seed + round(load),
                timeout_s=600,
            )
            figures = _measure(job, server)
            row: Row = {"server": name, "mode": "stream" if target.is_streaming else "whole"}
            row |= {"clients": round(load), **figures, "start_s": round(start_s, 1)}
            row |= {"rss_gib": round(server.rss_gib(), 2), "load_before": load_before}
            rows.append(row)
            print(
                f"{name} {row['mode']} {load:g}: {figures['audio_s_per_s']} audio-s/s, "
                f"{figures['num_good']}/{figures['num_requests']} {figures['problems']} "
                f"{figures['cpu_percent']}",
                flush=True,
            )
    return rows


def _paced_rows(
    args: argparse.Namespace,
    name: str,
    server: ComparedServer,
    model: Path,
    *,
    stream_mode: int = _FASTEST_MODE,
) -> list[Row]:
    """Measure our server with listeners who each ask for a sentence when one has been heard."""
    rows: list[Row] = []
    target = sentence_target(server.url, model, streaming_mode=stream_mode)
    for listeners in args.listeners:
        rate = listeners / _SENTENCE_S
        job = BenchJob(
            target,
            [rate],
            is_open=True,
            num_requests=max(4, round(rate * args.seconds)),
            num_warm_up=0,
            seed=100_000 + 20_000 * stream_mode + listeners,
            timeout_s=600,
        )
        figures = _measure(job, server)
        row: Row = {"server": name, "mode": "paced", "clients": listeners, **figures}
        row |= {"rss_gib": round(server.rss_gib(), 2)}
        rows.append(row)
        print(
            f"{name} paced {listeners}: first audio {figures['ttfa_ms']}, underruns "
            f"{figures.get('underruns')}, {figures['num_good']}/{figures['num_requests']} "
            f"{figures['cpu_percent']}",
            flush=True,
        )
    return rows


def _measure(job: BenchJob, server: ComparedServer) -> Row:
    """Return a job's figures, and what share of a core each kind of process took meanwhile."""
    before, begin_s = server.cpu_s(), time.perf_counter()
    figures = measure(job)[0]
    after, seconds = server.cpu_s(), time.perf_counter() - begin_s
    used = {kind: round(100 * (after[kind] - before.get(kind, 0)) / seconds) for kind in after}
    return {**figures, "cpu_percent": used}


def _warm_up(target: Target, load: float, num_requests: int, seed: int) -> None:
    if not num_requests:
        return
    job = BenchJob(target, [load], num_requests=num_requests, num_warm_up=0, seed=seed)
    figures = measure(job)[0]
    if not figures["num_good"]:
        raise SystemExit(f"not one good answer: {figures['problems']}")


if __name__ == "__main__":
    main()
