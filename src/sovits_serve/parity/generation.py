"""Following recorded token sequences with our T2S model, cache and sampler.

At each step our choice is compared with the recorded token, and the recorded token is fed back
("teacher forcing"). While all choices agree this is the same as running freely; where two logits
were nearly equal it keeps one harmless difference from spoiling all later steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import torch
from torch import Tensor

from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.sampling import SamplingState, draw, penalize
from sovits_serve.models.t2s.model import PrefillBatch, T2SModel
from sovits_serve.parity.limits import decided_margin
from sovits_serve.protocol.messages import SamplingParams

HARD_CAP = 1500
"""Most steps of one sequence upstream."""


class End(Enum):
    """How a recorded sequence ended."""

    EOS = auto()
    STOPPED = auto()  # early stop or hard cap; every sampled token is recorded
    CUT = auto()  # early stop or hard cap; the last sampled token was dropped


@dataclass(frozen=True)
class Recorded:
    """The generated part of a sequence, how it ended, and per step the gap between the two best.

    Without ``margins`` only our own gap says whether a step was decided.
    """

    tokens: list[int]
    end: End
    margins: list[float] | None = None

    @property
    def num_steps(self) -> int:
        """How many steps of ours can be judged."""
        return len(self.tokens) + (self.end is End.EOS)


def serial_end(num_tokens: int, idx: int, early_stop: int) -> End:
    """Return how a serially generated sequence ended, from upstream's ``idx``.

    Without a prompt upstream returns 0 for ``idx``; then only the length tells.
    """
    if idx == 0:
        return End.STOPPED if num_tokens in (early_stop + 1, HARD_CAP) else End.EOS
    return End.STOPPED if num_tokens == idx + 1 else End.EOS


def batched_end(num_tokens: int, early_stop: int) -> End:
    """Return how a sequence of upstream's batched generation ended."""
    return End.CUT if num_tokens in (early_stop, HARD_CAP - 1) else End.EOS


@dataclass(frozen=True)
class Row:
    """What one sequence is generated from. ``noise`` per step, or None where nothing is drawn."""

    phone_ids: Tensor  # int64 (T_ph)
    text_features: Tensor  # (T_ph, D)
    prompt: Tensor  # int64 (T_pr), empty without one
    params: SamplingParams
    recorded: Recorded
    noise: list[Tensor] | None = None  # float32 (V) or (V - 1) each


@dataclass
class Trace:
    """What we did along one recorded sequence."""

    recorded: Recorded
    decided_margin: float
    logits: list[Tensor] = field(default_factory=list)  # float32 (V) each, on the CPU
    margins: list[float] = field(default_factory=list)
    wrong_steps: list[int] = field(default_factory=list)
    num_decided: int = 0

    def judge(self, step: int, token: int, *, is_eos: bool, is_drawn: bool) -> None:
        """Compare our choice of one step with the recorded one, if the step was decided."""
        margin = self.margins[step]
        if self.recorded.margins is not None and step < len(self.recorded.margins):
            margin = min(margin, self.recorded.margins[step])
        if not is_drawn and margin <= self.decided_margin:
            return
        self.num_decided += 1
        if step < len(self.recorded.tokens):
            is_right = token == self.recorded.tokens[step] and not is_eos
        else:
            is_right = is_eos
        if not is_right:
            self.wrong_steps.append(step)


def follow(model: T2SModel, rows: Sequence[Row], *, keep_logits: bool = False) -> list[Trace]:
    """Run all rows as one batch; a row leaves it when its recorded sequence is over."""
    device, dtype = model.positions.device, model.positions.dtype
    longest = max(len(row.phone_ids) + len(row.prompt) + row.recorded.num_steps + 1 for row in rows)
    cache = KVCache(model.dims, num_slots=len(rows), max_length=longest, device=device, dtype=dtype)
    state = SamplingState(len(rows), model.dims.vocab_size, device)
    for index, row in enumerate(rows):
        state.set_row(cache.allocate(), row.params, segment=index, seen=row.prompt)
    traces = [Trace(row.recorded, decided_margin(dtype)) for row in rows]
    active = [index for index, row in enumerate(rows) if row.recorded.num_steps > 0]
    logits = _prefill(model, rows, cache)[active]
    for step in range(max(row.recorded.num_steps for row in rows)):
        _judge_step(logits, step, active, rows, traces, state)
        if keep_logits:
            for index, values in zip(active, logits.cpu(), strict=True):
                traces[index].logits.append(values)
        active = [index for index in active if step + 1 < rows[index].recorded.num_steps]
        if active:
            logits = _advance(model, cache, state, [(index, rows[index]) for index in active], step)
    return traces


def _prefill(model: T2SModel, rows: Sequence[Row], cache: KVCache) -> Tensor:
    batch = PrefillBatch.collate(
        [row.phone_ids for row in rows],
        [row.text_features for row in rows],
        [row.prompt for row in rows],
        range(len(rows)),
    )
    return model.prefill(batch, cache)


def _advance(
    model: T2SModel,
    cache: KVCache,
    state: SamplingState,
    rows: Sequence[tuple[int, Row]],
    step: int,
) -> Tensor:
    """Feed each row its recorded token of this step."""
    slots = [slot for slot, _ in rows]
    tokens = torch.tensor([row.recorded.tokens[step] for _, row in rows], device=cache.device)
    state.mark_seen(torch.tensor(slots), tokens)
    positions = torch.tensor([len(row.prompt) + step for _, row in rows])
    return model.decode(tokens, positions, slots, cache)


def _judge_step(
    logits: Tensor,
    step: int,
    active: list[int],
    rows: Sequence[Row],
    traces: list[Trace],
    state: SamplingState,
) -> None:
    params = state.rows(torch.tensor(active))
    positions = torch.full((len(active),), step, device=logits.device)
    noise = torch.stack([_noise(rows[index], step, logits.shape[1]) for index in active])
    result = draw(logits, params, positions, noise.to(logits.device))
    best = penalize(logits, params, positions).topk(2, dim=-1).values
    margins = (best[:, 0] - best[:, 1]).tolist()
    chosen = zip(active, margins, result.tokens.tolist(), result.is_eos.tolist(), strict=True)
    for index, margin, token, is_eos in chosen:
        traces[index].margins.append(margin)
        is_drawn = rows[index].noise is not None
        traces[index].judge(step, token, is_eos=is_eos, is_drawn=is_drawn)


def _noise(row: Row, step: int, width: int) -> Tensor:
    """Return one step's noise; where upstream cut EOS off, the forbidden column gets a 1."""
    noise = torch.ones(width)
    if row.noise is not None:
        recorded = row.noise[step]
        noise[: len(recorded)] = recorded
    return noise
