"""Choosing the next token: penalty, top-p, temperature, top-k and a draw, per row.

Every row has its own parameters and its own random numbers, keyed by (seed, segment, position),
so that neighbours cannot change a row's token: everything that crosses a row is either exact
(sort, maximum, integer sums) or does not decide. Nothing here waits for the device; what chooses
between code paths is known on the host.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sovits_serve.engine.random_stream import as_signed, exponential
from sovits_serve.engine.request import MIN_TOKENS
from sovits_serve.protocol.messages import SamplingParams

# Noise of so many positions is drawn at once: a row's numbers depend on its name alone, and drawing
# costs little more for many than for one.
_NOISE_BLOCK = 16
# Upstream's lower bound; a temperature of 0 means this.
MIN_TEMPERATURE = 1e-5
# Top-p adds up weights as integers of this unit: exact, so in any order and on any device equal.
_WEIGHT_UNIT = 2.0**40


@dataclass(frozen=True)
class SampleResult:
    """What one step chose. ``is_eos`` rows end here and their token is dropped."""

    tokens: Tensor  # int64 (B)
    is_eos: Tensor  # bool (B)
    is_finite: Tensor  # bool (B): false where the logits held NaN or infinity


@dataclass
class SamplingRows:
    """Parameters of the rows of one step as tensors, and what the host knows about them."""

    seen: Tensor  # bool (B, V): tokens of the prompt or generated before
    top_k: Tensor  # int64 (B), V where there is no limit
    top_p: Tensor  # float32 (B)
    temperature: Tensor  # float32 (B)
    repetition_penalty: Tensor  # float32 (B)
    seeds: Tensor  # int64 (B)
    segments: Tensor  # int64 (B)
    min_tokens: Tensor  # int64 (B): EOS cannot come before so many
    max_top_k: int  # largest limit among the rows that have one; 0: none has
    is_one_top_k: bool  # all rows have that limit
    has_top_p: bool
    has_penalty: bool


class SamplingState:
    """Sampling parameters and seen tokens of every slot, on the device."""

    def __init__(self, num_slots: int, vocab_size: int, device: torch.device | str = "cpu") -> None:
        self.num_slots = num_slots
        self.vocab_size = vocab_size
        self.device = torch.device(device)
        self._params = [SamplingParams()] * num_slots
        self._seen = torch.zeros(num_slots, vocab_size, dtype=torch.bool, device=self.device)
        self._floats = torch.ones(3, num_slots, device=self.device)
        self._integers = torch.ones(4, num_slots, dtype=torch.int64, device=self.device)
        self._noise = torch.ones(num_slots, _NOISE_BLOCK, vocab_size, device=self.device)
        self._noise_starts: list[int | None] = [None] * num_slots
        self._last_rows: tuple[list[int], SamplingRows] | None = None

    def set_row(
        self,
        slot: int,
        params: SamplingParams,
        *,
        segment: int,
        seen: Tensor,
        min_tokens: int = MIN_TOKENS,
    ) -> None:
        """Give a slot to a row.

        Args:
            slot: which.
            params: how the row draws, in range (checked where requests come in).
            segment: names the row's random stream within ``params.seed``.
            seen: int64 (T_pr), the prompt: the repetition penalty covers it from the start.
            min_tokens: how many tokens the row has before EOS can come.
        """
        self._params[slot] = params
        self._noise_starts[slot] = self._last_rows = None
        top_k = min(params.top_k or self.vocab_size, self.vocab_size)
        temperature = max(params.temperature, MIN_TEMPERATURE)
        floats = (params.top_p, temperature, params.repetition_penalty)
        self._floats[:, slot] = torch.tensor(floats, device=self.device)
        integers = (top_k, as_signed(params.seed), segment, min_tokens)
        self._integers[:, slot] = torch.tensor(integers, device=self.device)
        self._seen[slot].zero_()
        self._seen[slot, seen.to(self.device)] = True

    def rows(self, slots: Tensor) -> SamplingRows:
        """Return the parameters of some slots (int64 (B), on the CPU), in the order given.

        They are good until the next call.
        """
        chosen, index = slots.tolist(), slots.to(self.device)
        if self._last_rows is not None and self._last_rows[0] == chosen:
            self._last_rows[1].seen = self._seen[index]
            return self._last_rows[1]
        params = [self._params[slot] for slot in chosen]
        top_p, temperature, penalty = self._floats[:, index].unbind(0)
        top_k, seeds, segments, min_tokens = self._integers[:, index].unbind(0)
        limits = {row.top_k or self.vocab_size for row in params}
        max_top_k = max((limit for limit in limits if limit < self.vocab_size), default=0)
        rows = SamplingRows(
            seen=self._seen[index],
            top_k=top_k,
            top_p=top_p,
            temperature=temperature,
            repetition_penalty=penalty,
            seeds=seeds,
            segments=segments,
            min_tokens=min_tokens,
            max_top_k=max_top_k,
            is_one_top_k=limits == {max_top_k},
            has_top_p=any(row.top_p < 1 for row in params),
            has_penalty=any(row.repetition_penalty != 1 for row in params),
        )
        self._last_rows = chosen, rows
        return rows

    def noise(self, slots: Tensor, positions: Tensor) -> Tensor:
        """Return unit exponential numbers (B, V) of each slot's stream at the row's position.

        Args:
            slots: int64 (B), on the CPU.
            positions: int64 (B), on the CPU.
        """
        offsets = []
        for slot, position in zip(slots.tolist(), positions.tolist(), strict=True):
            start = self._noise_starts[slot]
            if start is None or not start <= position < start + _NOISE_BLOCK:
                start = position
                block = torch.arange(position, position + _NOISE_BLOCK, device=self.device)
                seed, segment = self._integers[1:3, slot, None].expand(-1, _NOISE_BLOCK)
                # Drawing may run out of memory and be tried again: the start is true only after it.
                self._noise_starts[slot] = None
                self._noise[slot] = exponential(seed, segment, block, self.vocab_size)
                self._noise_starts[slot] = start
            offsets.append(position - start)
        index = slots.to(self.device), torch.tensor(offsets, device=self.device)
        return self._noise[index]

    def mark_seen(self, slots: Tensor, tokens: Tensor) -> None:
        """Take each slot's new token (B) into what its repetition penalty covers."""
        self._seen[slots.to(self.device), tokens] = True


@torch.inference_mode()
def sample(
    logits: Tensor,
    state: SamplingState,
    slots: Tensor,
    positions: Tensor,
    noise: Tensor | None = None,
) -> SampleResult:
    """Choose one token per row and take it into ``state`` as seen.

    Args:
        logits: float32 (B, V); V - 1 is EOS. Not changed.
        state: the slots' parameters.
        slots: int64 (B), on the CPU; each row's slot.
        positions: int64 (B), on the CPU; how many tokens the row has generated before this one.
        noise: float32 (B, V) unit exponential numbers; None draws them from the rows' streams.
    """
    rows = state.rows(slots)
    if noise is None:
        noise = state.noise(slots, positions)
    result = draw(logits, rows, positions.to(logits.device), noise)
    state.mark_seen(slots, result.tokens)
    return result


def draw(
    logits: Tensor, rows: SamplingRows, positions: Tensor, noise: Tensor | None = None
) -> SampleResult:
    """Choose one token per row; ``sample`` without state.

    Source: GPT-SoVITS 48b1a01, AR/models/t2s_model.py, infer_panel_naive, and AR/models/utils.py,
    sample. Differs: parameters per row, keyed noise; EOS is masked instead of cut off; the
    weights are not normalised, since a common factor of a row does not change its argmax.
    """
    eos = logits.shape[-1] - 1
    scores = penalize(logits, rows, positions)
    if noise is None:
        noise = exponential(rows.seeds, rows.segments, positions, eos + 1)
    tokens = (_weights(limit(scores, rows)) / noise).argmax(-1)
    is_eos = (tokens == eos) | (scores.argmax(-1) == eos)
    # A sum is finite only where all that is added up is.
    return SampleResult(tokens, is_eos, logits.sum(-1).isfinite())


def penalize(logits: Tensor, rows: SamplingRows, positions: Tensor) -> Tensor:
    """Forbid EOS in the first steps and apply the repetition penalty.

    Returns:
        float32 (B, V), a new tensor. Its argmax takes part in the stop test.
    """
    scores = logits.clone()
    scores[:, -1].masked_fill_(positions < rows.min_tokens, float("-inf"))
    if not rows.has_penalty:
        return scores
    penalty = rows.repetition_penalty[:, None]
    penalized = torch.where(scores < 0, scores * penalty, scores / penalty)
    return torch.where(rows.seen, penalized, scores)


def limit(scores: Tensor, rows: SamplingRows) -> Tensor:
    """Apply top-p, temperature and top-k to penalised scores (B, V): removed ones are -inf."""
    if rows.has_top_p:
        scores = scores.masked_fill(_beyond_top_p(scores, rows.top_p), float("-inf"))
    scores = scores / rows.temperature[:, None]
    if rows.max_top_k:
        scores = _keep_top_k(scores, rows)
    return scores


def probabilities(scores: Tensor, rows: SamplingRows) -> Tensor:
    """Return what penalised scores (B, V) are drawn with, as probabilities."""
    return limit(scores, rows).softmax(-1)


def _weights(scores: Tensor) -> Tensor:
    """Return probabilities times a factor of the row: 1 for the best token."""
    return (scores - scores.amax(-1, keepdim=True)).exp_()


def _beyond_top_p(scores: Tensor, top_p: Tensor) -> Tensor:
    """Mark what top-p removes: also the token that crosses p, but never the first one."""
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    weights = (_weights(ordered).double() * _WEIGHT_UNIT).round().long()
    cumulative = weights.cumsum(-1)  # at most V * 2**40, exact in float64 too
    allowed = top_p.double()[:, None] * cumulative[:, -1:]
    beyond = (cumulative > allowed) & (top_p < 1)[:, None]
    beyond[:, 0] = False
    return beyond.scatter(1, order, beyond)


def _keep_top_k(scores: Tensor, rows: SamplingRows) -> Tensor:
    """Keep scores not below the k-th; ties stay, so more than k can be left."""
    largest = scores.topk(rows.max_top_k, dim=-1).values
    if rows.is_one_top_k:
        return scores.masked_fill(scores < largest[:, -1:], float("-inf"))
    kth = largest.gather(1, (rows.top_k.clamp(max=rows.max_top_k) - 1)[:, None])
    has_limit = (rows.top_k <= rows.max_top_k)[:, None]
    return scores.masked_fill((scores < kth) & has_limit, float("-inf"))
