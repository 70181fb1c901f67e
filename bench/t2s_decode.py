"""How fast the T2S model generates: tokens per second at several batch sizes.

Every row generates ``--steps`` tokens after one prefill, sampling included, from random weights of
the real size that never stop early. With ``--upstream`` the same weights also run in upstream's
own code, taking turns with ours in the same process. Prints a table, then one JSON line.

    PYTHONPATH=src python bench/t2s_decode.py --threads 2 --upstream ../GPT-SoVITS
"""

import argparse
import contextlib
import importlib
import io
import json
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.sampling import SamplingState, sample
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.spec import T2SDims
from sovits_serve.models.t2s import PrefillBatch, T2SModel
from sovits_serve.models.weights import DictWeights
from sovits_serve.protocol.messages import SamplingParams

DIMS = T2SDims(512, 16, 24, vocab_size=1025, phoneme_vocab_size=732, max_sec=54)
SEED = 20260818


@dataclass(frozen=True)
class Run:
    """One line of the table: ``generate`` returns seconds per step."""

    name: str
    batch: int
    generate: Callable[[], float]


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    use_exact_kernels()
    weights = random_weights(DIMS)
    ours = Ours(weights, options)
    batches = options.batches
    runs = [Run("sovits-serve", size, partial(ours.generate, size)) for size in batches]
    if options.fixed:
        fixed = partial(ours.generate, is_fixed=True)
        runs += [Run("fixed batch", size, partial(fixed, size)) for size in batches]
    if options.int8:
        rounded = Ours(weights, options)
        rounded.model.use_int8()
        runs += [Run("8-bit weights", size, partial(rounded.generate, size)) for size in batches]
    if options.upstream:
        upstream = Upstream(weights, options)
        runs.append(Run("upstream naive", 1, upstream.generate_naive))
        batched = upstream.generate_batch
        runs += [
            Run("upstream batch", size, partial(batched, size)) for size in options.upstream_batches
        ]
    seconds = [[run.generate() for run in runs] for _ in range(options.repeats + 1)]
    # The first turn warms up; all runs take turns, so that a busy minute hits everyone.
    report(runs, list(zip(*seconds[1:], strict=True)), options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=125, help="tokens per row (25 are a second)")
    parser.add_argument("--text", type=int, default=60, help="phonemes, prompt and target")
    parser.add_argument("--prompt", type=int, default=100, help="semantic tokens of the prompt")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--spread", action="store_true", help="give rows different lengths")
    parser.add_argument("--fixed", action="store_true", help="also time the fixed batch")
    parser.add_argument("--int8", action="store_true", help="also time 8-bit weights (CPU)")
    parser.add_argument("--upstream", type=Path, help="a checkout of GPT-SoVITS")
    parser.add_argument(
        "--upstream-batches", type=int, nargs="*", default=[], help="its batched path too"
    )
    return parser.parse_args()


def random_weights(dims: T2SDims) -> dict[str, Tensor]:
    """Return weights scaled like trained ones, whose EOS logit is always 0 and never wins."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in T2SModel(dims).state_dict().items()}
    generator = torch.Generator().manual_seed(SEED)
    weights = {}
    for name, shape in shapes.items():
        if "norm" in name or name.endswith("alpha"):
            value = torch.ones(shape) if not name.endswith("bias") else torch.zeros(shape)
        elif len(shape) == 1:
            value = torch.zeros(shape)
        else:
            scale = 0.7 if "embedding" in name else shape[1] ** -0.5
            value = torch.randn(shape, generator=generator) * scale
        weights["model." + name] = value
    weights["model.ar_predict_layer.weight"] *= 2.5
    weights["model.ar_predict_layer.weight"][dims.eos] = 0
    return weights


def inputs(options: argparse.Namespace, row: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return phone ids, text features and prompt of one row."""
    generator = torch.Generator().manual_seed(row)
    text = options.text + (17 * row % 40 if options.spread else 0)
    phones = torch.randint(0, DIMS.phoneme_vocab_size, (text,), generator=generator)
    prompt = torch.randint(0, DIMS.eos, (options.prompt,), generator=generator)
    return phones, torch.zeros(text, DIMS.text_feature_dim), prompt


class Ours:
    """This package's model, cache and sampling."""

    def __init__(self, weights: dict[str, Tensor], options: argparse.Namespace) -> None:
        self.options = options
        dtype = getattr(torch, options.dtype)
        self.model = T2SModel.from_weights(
            DIMS, DictWeights(weights), device=options.device, dtype=dtype
        )
        length = options.text + 40 + options.prompt + options.steps
        self.cache = KVCache(
            DIMS,
            num_slots=max(options.batches),
            max_length=length,
            device=options.device,
            dtype=dtype,
        )
        self.state = SamplingState(max(options.batches), DIMS.vocab_size, options.device)

    def generate(self, batch: int, *, is_fixed: bool = False) -> float:
        """Generate for ``batch`` rows; return the seconds per step after the prefill."""
        slots = [self.cache.allocate() for _ in range(batch)]
        rows = [inputs(self.options, row) for row in range(batch)]
        phones, features, prompts = zip(*rows, strict=True)
        for slot, prompt in zip(slots, prompts, strict=True):
            self.state.set_row(slot, SamplingParams(seed=slot), segment=0, seen=prompt)
        prefill = PrefillBatch.collate(phones, features, prompts, slots)
        logits = self.model.prefill(prefill, self.cache)
        width = self.cache.num_slots if is_fixed else batch
        active = [slot < batch for slot in range(width)] if is_fixed else None
        index = torch.tensor(slots)
        tokens = torch.zeros(width, dtype=torch.int64, device=self.options.device)
        synchronize(self.options.device)
        begin = time.perf_counter()
        for step in range(self.options.steps):
            positions = torch.full((width,), step)
            tokens[:batch] = sample(logits[:batch], self.state, index, positions[:batch]).tokens
            tokens.tolist()  # the engine reads every token
            place = positions + self.options.prompt
            logits = self.model.decode(tokens, place, range(width), self.cache, active)
        synchronize(self.options.device)
        seconds = time.perf_counter() - begin
        for slot in slots:
            self.cache.free(slot)
        return seconds / float(self.options.steps)


class Upstream:
    """Upstream's own code, imported from a checkout."""

    def __init__(self, weights: dict[str, Tensor], options: argparse.Namespace) -> None:
        self.options = options
        sys.path.insert(0, str(options.upstream / "GPT_SoVITS"))
        with mock.patch.dict(sys.modules, training_imports()):
            module = importlib.import_module("AR.models.t2s_model")

        model = {
            "hidden_dim": DIMS.hidden,
            "embedding_dim": DIMS.hidden,
            "head": DIMS.num_heads,
            "n_layer": DIMS.num_layers,
            "vocab_size": DIMS.vocab_size,
            "phoneme_vocab_size": DIMS.phoneme_vocab_size,
            "dropout": 0,
            "EOS": DIMS.eos,
        }
        self.model = module.Text2SemanticDecoder({"model": model}).eval()
        state = {name.removeprefix("model."): value for name, value in weights.items()}
        self.model.load_state_dict(state, strict=False)
        self.model = self.model.to(options.device, getattr(torch, options.dtype))

    def generate_naive(self) -> float:
        """Run its batch-1 path; return the seconds per step, the prefill's time taken out."""
        phones, features, prompt = (part.to(self.options.device) for part in self._row(0))
        lengths = torch.tensor([len(phones)])

        def run(steps: int) -> None:
            next(
                self.model.infer_panel_naive(
                    phones[None],
                    lengths,
                    prompt[None],
                    features.T[None],
                    top_k=15,
                    top_p=1.0,
                    early_stop_num=steps,
                )
            )

        return self._time(run)

    def generate_batch(self, batch: int) -> float:
        """Run its batched path, every row with the prompt of row 0."""
        device = self.options.device
        rows = [self._row(row) for row in range(batch)]
        phones = [row[0].to(device) for row in rows]
        features = [row[1].T.to(device) for row in rows]
        prompts = rows[0][2].to(device).expand(batch, -1)
        lengths = torch.tensor([len(row) for row in phones], device=device)

        def run(steps: int) -> None:
            self.model.infer_panel_batch_infer(
                phones, lengths, prompts, features, top_k=15, top_p=1.0, early_stop_num=steps
            )

        return self._time(run)

    def _row(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        phones, features, prompt = inputs(self.options, row)
        return phones, features.to(getattr(torch, self.options.dtype)), prompt

    @torch.inference_mode()
    def _time(self, run: Callable[[int], None]) -> float:
        seconds: list[float] = []
        # Early stop after 0 is one step and a prefill; taking it out leaves `steps` steps.
        for steps in (0, self.options.steps):
            synchronize(self.options.device)
            begin = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                run(steps)
            synchronize(self.options.device)
            seconds.append(time.perf_counter() - begin)
        return (seconds[1] - seconds[0]) / float(self.options.steps)


def training_imports() -> dict[str, types.ModuleType]:
    """Stand in for what upstream's model file imports for training and progress bars."""
    metrics = types.ModuleType("torchmetrics.classification")
    metrics.MulticlassAccuracy = lambda *_, **__: None  # type: ignore[attr-defined]
    bar = types.ModuleType("tqdm")
    bar.tqdm = iter  # type: ignore[attr-defined]
    package = types.ModuleType("torchmetrics")
    return {"torchmetrics": package, "torchmetrics.classification": metrics, "tqdm": bar}


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def report(runs: list[Run], seconds: list[tuple[float, ...]], options: argparse.Namespace) -> None:
    print(f"{'':15} batch  ms/step (best)  tokens/s (best)")
    lines = []
    for run, times in zip(runs, seconds, strict=True):
        median, best = statistics.median(times), min(times)
        print(
            f"{run.name:15} {run.batch:5}  {median * 1e3:7.2f} {best * 1e3:7.2f}"
            f"  {run.batch / median:8.1f} {run.batch / best:8.1f}"
        )
        lines.append(
            {
                "name": run.name,
                "batch": run.batch,
                "ms_per_step": round(median * 1e3, 3),
                "best_ms_per_step": round(best * 1e3, 3),
                "tokens_per_second": round(run.batch / median, 1),
            }
        )
    settings = {key: str(value) for key, value in vars(options).items() if key != "upstream"}
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    print(json.dumps({"bench": "t2s_decode", "results": lines, **settings, **versions}))


if __name__ == "__main__":
    main()
