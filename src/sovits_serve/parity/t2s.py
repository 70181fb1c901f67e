"""Goldens of the T2S model: logits, greedy, batched, sampled and streamed tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from sovits_serve.models.t2s.model import T2SModel
from sovits_serve.parity import limits, models, token_chunks
from sovits_serve.parity.generation import (
    End,
    Recorded,
    Row,
    Trace,
    batched_end,
    follow,
    serial_end,
)
from sovits_serve.parity.golden import (
    Arrays,
    GoldenDirectory,
    integer,
    integers,
    number,
    numbered,
    record,
    records,
    text,
)
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.report import Check, Lazy, Report, Step, Task
from sovits_serve.parity.sampler import read_params
from sovits_serve.parity.token_chunks import ChunkRule
from sovits_serve.protocol.messages import SamplingParams

# What greedy requests were recorded with where their meta does not say.
_GREEDY = SamplingParams(seed=0, top_k=1, repetition_penalty=1.35)


@dataclass(frozen=True)
class T2SGolden:
    """One golden of a T2S model, and our model of it."""

    name: str
    arrays: Arrays
    meta: dict[str, object]
    model: Lazy[T2SModel]
    precision: Precision

    @property
    def items(self) -> list[int]:
        """Return the numbers of the recorded texts."""
        return numbered(self.arrays.match(r"x(\d+)"))

    @property
    def prompt(self) -> Tensor:
        """Return the prompt that all texts share."""
        return self.arrays.tensor("prompt").flatten()

    def generated(self, key: str) -> list[int]:
        """Return a recorded sequence without its prompt."""
        return self.arrays.tokens(key)[len(self.prompt) :]

    def row(
        self,
        item: int,
        params: SamplingParams,
        recorded: Recorded,
        *,
        prompt: Tensor | None = None,
        noise: list[Tensor] | None = None,
    ) -> Row:
        """Return a row for a text; ``prompt`` replaces the recorded one."""
        return Row(
            self.arrays.tensor(f"x{item}").flatten(),
            self.arrays.tensor(f"bert{item}").T,
            self.prompt if prompt is None else prompt,
            params,
            recorded,
            noise,
        )

    def tokens_check(self, key: str, trace: Trace) -> Check:
        """Judge a followed sequence."""
        name = f"{self.name}/{key}"
        return self.precision.tokens(name, len(trace.wrong_steps), trace.num_decided)


def find(directory: GoldenDirectory, precision: Precision, report: Report) -> Iterator[Task]:
    """Yield a task per ``.npz`` with texts, features and a prompt beside a T2S recipe."""
    for stem, arrays in directory.arrays.items():
        if not {"prompt", "x0", "bert0"} <= arrays.keys:
            continue
        recipe = directory.recipe(stem)
        if recipe is None:
            report.note(f"parity: {stem} skipped: {stem}.weights.json is missing")
            continue
        golden = T2SGolden(
            stem,
            arrays,
            record(directory.json(f"{stem}.meta.json")),
            Lazy(partial(models.t2s_model, recipe, precision)),
            precision,
        )
        yield Task(stem, directory.files(stem), partial(_steps, golden))


def _steps(golden: T2SGolden) -> Iterator[Step]:
    if {"tf_tokens", "tf_logits"} <= golden.arrays.keys:
        yield Step(f"{golden.name}/tf", partial(_check_forced, golden))
    for case in records(golden.meta.get("greedy")):
        name = f"{golden.name}/greedy{integer(case['item'])}"
        yield Step(name, partial(_check_greedy, golden, case))
    for case in records(golden.meta.get("early")):
        name = f"{golden.name}/early{integer(case['early_stop_num'])}"
        yield Step(name, partial(_check_early, golden, case))
    for case in records(golden.meta.get("batch")):
        yield Step(f"{golden.name}/rp{case['rep']}", partial(_check_batch, golden, case))
    if noprompt := record(golden.meta.get("noprompt")):
        yield Step(f"{golden.name}/noprompt", partial(_check_noprompt, golden, noprompt))
    for index, case in enumerate(records(golden.meta.get("sampled"))):
        name = f"{golden.name}/sampled{index}"
        yield Step(name, partial(_check_sampled, golden, index, case))
    if "mute_sim" in golden.arrays:
        yield Step(f"{golden.name}/mute_sim", lambda: [_check_similarity(golden)])
    for index, case in enumerate(records(golden.meta.get("stream"))):
        name = f"{golden.name}/stream{index}_{case['mode']}"
        yield Step(name, partial(_check_stream, golden, name, case))


def _check_forced(golden: T2SGolden) -> Iterator[Check]:
    recorded = Recorded(golden.arrays.tokens("tf_tokens"), End.STOPPED)
    [trace] = follow(golden.model(), [golden.row(0, _GREEDY, recorded)], keep_logits=True)
    yield _compare_logits(golden, "tf_logits", trace.logits)


def _compare_logits(golden: T2SGolden, key: str, ours: list[Tensor]) -> Check:
    wanted = golden.arrays.tensor(key)
    name = f"{golden.name}/{key}"
    return golden.precision.close(name, torch.stack(ours), wanted, limits.AR_LOGITS)


def _check_greedy(golden: T2SGolden, case: dict[str, object]) -> Iterator[Check]:
    item = integer(case["item"])
    key = f"greedy{item}"
    tokens = golden.generated(f"{key}_y")
    end = serial_end(len(tokens), integer(case["idx"]), integer(case["early_stop_num"]))
    margins = golden.arrays.tensor(f"{key}_margin")
    row = golden.row(item, read_params(case), Recorded(tokens, end, margins.tolist()))
    [trace] = follow(golden.model(), [row], keep_logits=True)
    yield golden.tokens_check(f"{key}_y", trace)
    yield _compare_logits(golden, f"{key}_logits_first12", trace.logits[:12])
    yield _compare_logits(golden, f"{key}_logits_last2", trace.logits[-2:])
    if golden.precision.is_exact:
        name, ours = f"{golden.name}/{key}_margin", torch.tensor(trace.margins)
        yield limits.difference(name, ours, margins, 2 * limits.AR_LOGITS)


def _check_early(golden: T2SGolden, case: dict[str, object]) -> Iterator[Check]:
    """The batched path keeps ``early_stop_num`` tokens, the serial one a token more."""
    early_stop = integer(case["early_stop_num"])
    prefix = f"early{early_stop}"
    keys = {f"{prefix}_batch_y{item}": item for item in golden.items}
    rows = {key: _batched_row(golden, key, item, _GREEDY, early_stop) for key, item in keys.items()}
    key = f"{prefix}_naive_y"
    tokens = golden.generated(key)
    end = serial_end(len(tokens), integer(case["naive_idx"]), early_stop)
    rows[key] = golden.row(0, _GREEDY, Recorded(tokens, end))
    yield from _follow_named(golden, rows)


def _batched_row(
    golden: T2SGolden, key: str, item: int, params: SamplingParams, early_stop: int
) -> Row:
    tokens = golden.generated(key)
    return golden.row(item, params, Recorded(tokens, batched_end(len(tokens), early_stop)))


def _follow_named(golden: T2SGolden, rows: dict[str, Row]) -> Iterator[Check]:
    traces = follow(golden.model(), list(rows.values()))
    for key, trace in zip(rows, traces, strict=True):
        yield golden.tokens_check(key, trace)


def _check_batch(golden: T2SGolden, case: dict[str, object]) -> Iterator[Check]:
    """Both of upstream's paths, ours in one batch: a row does not depend on the others."""
    early_stop, params = integer(case["early_stop_num"]), read_params(case | {"top_k": 1})
    rows: dict[str, Row] = {}
    for item, idx in zip(golden.items, integers(case["naive_idx"]), strict=True):
        key = f"batch_rp{case['rep']}_y{item}"
        rows[key] = _batched_row(golden, key, item, params, early_stop)
        key = f"naiveb_rp{case['rep']}_y{item}"
        tokens = golden.generated(key)
        recorded = Recorded(tokens, serial_end(len(tokens), idx, early_stop))
        rows[key] = golden.row(item, params, recorded)
    yield from _follow_named(golden, rows)


def _check_noprompt(golden: T2SGolden, case: dict[str, object]) -> Iterator[Check]:
    """Without a prompt, with the penalty that upstream falls back to."""
    params = SamplingParams(seed=0, top_k=1, repetition_penalty=number(case["effective_rep"]))
    rows: dict[str, Row] = {}
    for item in golden.items:
        tokens = golden.arrays.tokens(f"noprompt_y{item}")
        end = serial_end(len(tokens), 0, integer(case["early_stop_num"]))
        empty = torch.zeros(0, dtype=torch.int64)
        rows[f"noprompt_y{item}"] = golden.row(item, params, Recorded(tokens, end), prompt=empty)
    yield from _follow_named(golden, rows)


def _check_sampled(golden: T2SGolden, index: int, case: dict[str, object]) -> Iterator[Check]:
    """Drawn tokens with the recorded noise, which comes in two widths."""
    key = f"sampled{index}"
    tokens = golden.generated(f"{key}_y")
    end = serial_end(len(tokens), integer(case["idx"]), integer(case["early_stop_num"]))
    noise = [
        *golden.arrays.tensor(f"{key}_q11").unbind(0),
        *golden.arrays.tensor(f"{key}_q").unbind(0),
    ]
    row = golden.row(integer(case["item"]), read_params(case), Recorded(tokens, end), noise=noise)
    yield from _follow_named(golden, {f"{key}_y": row})


def similarity_to(token: int, table: Tensor) -> Tensor:
    """Return float32 (V,): the cosine of each row of ``table`` (V, D) with one token's."""
    table = table.float().cpu()
    return functional.cosine_similarity(table[token][None], table, dim=1)


def _check_similarity(golden: T2SGolden) -> Check:
    token = integer(golden.meta.get("mute_token", token_chunks.MUTE_TOKEN))
    ours = similarity_to(token, golden.model().ar_audio_embedding.word_embeddings.weight)
    recorded = golden.arrays.tensor("mute_sim")
    return golden.precision.close(f"{golden.name}/mute_sim", ours, recorded, limits.FEATURES)


def _check_stream(golden: T2SGolden, name: str, case: dict[str, object]) -> Iterator[Check]:
    """Follow the tokens of a stream, then cut them as upstream does and compare the chunks."""
    similarity = golden.arrays.tensor("mute_sim") if text(case["mode"]) == "mute" else None
    rule = ChunkRule(integer(case["chunk_length"]), similarity, number(case["threshold"]))
    chunks = [integers(chunk["tokens"]) for chunk in records(case["chunks"])]
    tokens = token_chunks.join(chunks, rule)
    ended_by_eos = token_chunks.was_ended_by_eos(len(tokens), integer(case["early_stop_num"]))
    recorded = Recorded(tokens, End.EOS if ended_by_eos else End.STOPPED)
    [trace] = follow(golden.model(), [golden.row(integer(case["item"]), _GREEDY, recorded)])
    yield golden.precision.tokens(name, len(trace.wrong_steps), trace.num_decided)
    ours = [chunk.tokens for chunk in token_chunks.split(tokens, rule, ended_by_eos=ended_by_eos)]
    yield limits.same(f"{name}/chunks", ours, chunks)
