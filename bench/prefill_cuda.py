"""Time T2S prefill and BERT on a CUDA device: the simple path row by row, and all rows packed.

    sovits-serve models random full --size full
    python bench/prefill_cuda.py full

Rows have 105 phonemes, 60 of them with features, and a prompt of 160 tokens. Prints tables (median
milliseconds; ``host`` is until the call returns, ``each`` one of many calls without waiting, and
the errors are against the simple path) and one line of JSON.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.loader import load_models
from sovits_serve.models.cuda.bert import PackedBert
from sovits_serve.models.cuda.prefill import PackedPrefill, PrefillRow
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.t2s import PrefillBatch, T2SModel
from sovits_serve.models.text_features.bert import BertFeatures

PROMPT_PHONEMES, OWN_PHONEMES, PROMPT_TOKENS = 45, 60, 160
NUM_TOKENS = PROMPT_PHONEMES + OWN_PHONEMES + PROMPT_TOKENS
SENTENCE = "今天天气很好我们一起去公园看花吧你觉得怎么样"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model directory")
    parser.add_argument("--dtype", default="float16", choices=["float16", "bfloat16", "float32"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 15])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--profile", action="store_true", help="print what kernels take")
    options = parser.parse_args()
    use_exact_kernels()
    device, dtype = torch.device("cuda"), getattr(torch, options.dtype)
    models = load_models(locate_model(options.model), device, dtype)
    lines = []
    with torch.inference_mode():
        for overlaps in (False, True):
            prefill = Prefill(models.t2s, max(options.batches), overlaps=overlaps)
            lines += [prefill.measure(batch, options) for batch in options.batches]
            if models.bert is not None:
                bert = Bert(models.bert, overlaps=overlaps)
                lines += [bert.measure(batch, options) for batch in options.batches]
    columns = list(lines[0])
    print(" ".join(f"{column:>12}" for column in columns))
    for line in lines:
        print(" ".join(f"{line[column]!s:>12}" for column in columns))
    versions = {"torch": torch.__version__, "device": torch.cuda.get_device_name()}
    print(json.dumps({"bench": "prefill_cuda", "dtype": options.dtype, **versions, "rows": lines}))


class Prefill:
    """Both ways to prefill rows of one length."""

    def __init__(self, model: T2SModel, max_rows: int, *, overlaps: bool) -> None:
        self.model = model
        self.overlaps = overlaps
        dims, dtype = model.dims, model.positions.dtype
        self.cache = KVCache(
            dims, num_slots=max_rows, max_length=NUM_TOKENS + 1, device="cuda", dtype=dtype
        )
        for _ in range(max_rows):
            self.cache.allocate()
        width = dims.hidden // dims.num_heads
        shape = dims.num_layers, 2, dims.num_heads, max_rows * NUM_TOKENS, width
        self.memory = torch.zeros(shape, device="cuda", dtype=dtype)
        layers = list(self.memory.unbind(0))
        self.packed = PackedPrefill(model, layers, max_rows=max_rows, overlaps=overlaps)
        self.capture_s = timed(self.packed.capture)
        self.rows = [self._row(slot) for slot in range(max_rows)]

    def measure(self, batch: int, options: argparse.Namespace) -> dict[str, object]:
        rows = self.rows[:batch]
        logits = [self._prefill(row, slot) for slot, row in enumerate(rows)]
        packed = self.packed.run(rows)[:batch].clone()
        layers = [self.cache.layer(index) for index in range(self.model.dims.num_layers)]
        memory = torch.stack(layers)[:, :batch, :, :, :NUM_TOKENS].permute(0, 2, 3, 1, 4, 5)
        packed_memory = self.memory[:, :, :, : batch * NUM_TOKENS].view(memory.shape)
        if options.profile:
            profile(lambda: self.packed.run(rows))
        line = figures(
            f"T2S {batch}",
            lambda: [self._prefill(row, slot) for slot, row in enumerate(rows)],
            lambda: self.packed.run(rows),
            options.repeats,
        )
        line |= errors(torch.cat(logits), packed)
        line["cache_error"] = f"{(memory.float() - packed_memory.float()).abs().max().item():.1e}"
        return line | {"overlaps": self.overlaps, "capture_s": round(self.capture_s, 1)}

    def _row(self, slot: int) -> PrefillRow:
        generator = torch.Generator().manual_seed(slot)
        dims, dtype = self.model.dims, self.model.positions.dtype
        phones = torch.randint(
            dims.phoneme_vocab_size, (PROMPT_PHONEMES + OWN_PHONEMES,), generator=generator
        )
        prompt = torch.randint(dims.eos, (PROMPT_TOKENS,), generator=generator)
        features = torch.randn(OWN_PHONEMES, dims.text_feature_dim, generator=generator)
        pieces = [(PROMPT_PHONEMES, features.to("cuda", dtype))]
        addresses = np.arange(NUM_TOKENS, dtype=np.int32) + slot * NUM_TOKENS
        return PrefillRow(phones.tolist(), pieces, prompt.tolist(), addresses)

    def _prefill(self, row: PrefillRow, slot: int) -> Tensor:
        cache, dtype = self.cache, self.model.positions.dtype
        cache.lengths[slot] = 0
        size = len(row.phone_ids), self.model.dims.text_feature_dim
        features = torch.zeros(size, device="cuda", dtype=dtype)
        for begin, values in row.features:
            features[begin : begin + len(values)] = values
        batch = PrefillBatch.collate(
            [torch.tensor(row.phone_ids)],
            [features],
            [torch.tensor(row.prompt_semantic)],
            [slot],
        )
        return self.model.prefill(batch, cache)


class Bert:
    """Both ways to encode copies of one sentence."""

    def __init__(self, bert: BertFeatures, *, overlaps: bool) -> None:
        self.bert = bert
        self.overlaps = overlaps
        self.packed = PackedBert(bert, overlaps=overlaps)
        self.capture_s = timed(self.packed.capture)

    def measure(self, batch: int, options: argparse.Namespace) -> dict[str, object]:
        items = [(SENTENCE[row % 7 :] + SENTENCE[: row % 7], [2] * 22) for row in range(batch)]
        simple = torch.cat([self.bert.encode([item])[0] for item in items])
        packed = torch.cat(self.packed.encode(items))
        if options.profile:
            profile(lambda: self.packed.encode(items))
        line = figures(
            f"BERT {batch}",
            lambda: [self.bert.encode([item]) for item in items],
            lambda: self.packed.encode(items),
            options.repeats,
        )
        line |= errors(simple, packed) | {"cache_error": "-"}
        return line | {"overlaps": self.overlaps, "capture_s": round(self.capture_s, 1)}


def figures(
    name: str, simple: Callable[[], object], packed: Callable[[], object], repeats: int
) -> dict[str, object]:
    for _ in range(3):
        packed()
    simple_s = statistics.median(timed(simple) for _ in range(3))
    packed_s = statistics.median(timed(packed) for _ in range(repeats))
    host_s = []
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        begin = time.perf_counter()
        packed()
        host_s.append(time.perf_counter() - begin)
    torch.cuda.synchronize()
    each_s = (time.perf_counter() - start) / repeats
    seconds = {
        "simple": simple_s,
        "packed": packed_s,
        "host": statistics.median(host_s),
        "each": each_s,
    }
    return {"what": name} | {key: round(1000 * value, 3) for key, value in seconds.items()}


def errors(simple: Tensor, packed: Tensor) -> dict[str, object]:
    both = torch.stack((simple.flatten(), packed.flatten())).float()
    largest = (both[0] - both[1]).abs().max().item()
    correlation = torch.corrcoef(both)[0, 1].item()
    return {"error": f"{largest:.1e}", "correlation": f"{correlation:.6f}"}


def timed(call: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    begin = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def profile(call: Callable[[], object]) -> None:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    table = seen.key_averages().table(sort_by="cuda_time_total", row_limit=9)
    print(table)


if __name__ == "__main__":
    main()
