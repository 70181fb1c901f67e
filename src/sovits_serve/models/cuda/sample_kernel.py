"""The draw of one token per row as one Triton kernel; ``engine.sampling`` is its reference.

Same order of operations, same random numbers (Philox4x32-10, keyed by seed, segment and position),
exact comparisons and integer sums, so that a row's token depends on its own logits alone.
"""

import triton
import triton.language as tl

from sovits_serve.models.cuda.decode_kernels import NUM_FIELDS, SlotField, begin
from sovits_serve.models.cuda.math import exp, log

IS_EOS = 1 << 16
IS_NOT_FINITE = 1 << 17
IS_VALID = 1 << 18

_IS_EOS = tl.constexpr(IS_EOS)
_IS_NOT_FINITE = tl.constexpr(IS_NOT_FINITE)
_IS_VALID = tl.constexpr(IS_VALID)
_FIELDS = tl.constexpr(NUM_FIELDS)
_ACTIVE = tl.constexpr(int(SlotField.ACTIVE))
_LENGTH = tl.constexpr(int(SlotField.LENGTH))
_GENERATED = tl.constexpr(int(SlotField.GENERATED))
_TOKEN = tl.constexpr(int(SlotField.TOKEN))
_MAX_TOKENS = tl.constexpr(int(SlotField.MAX_TOKENS))
_MIN_TOKENS = tl.constexpr(int(SlotField.MIN_TOKENS))
_TOP_K = tl.constexpr(int(SlotField.TOP_K))
_TOP_P = tl.constexpr(int(SlotField.TOP_P))
_TEMPERATURE = tl.constexpr(int(SlotField.TEMPERATURE))
_PENALTY = tl.constexpr(int(SlotField.PENALTY))
_SEED_LOW = tl.constexpr(int(SlotField.SEED_LOW))
_SEED_HIGH = tl.constexpr(int(SlotField.SEED_HIGH))
_SEGMENT = tl.constexpr(int(SlotField.SEGMENT))
_WEIGHT_UNIT = tl.constexpr(2.0**40)


@triton.jit
def _ordered(scores):
    """Map float32 to uint32 of the same order; -0 and 0 are equal."""
    bits = (scores + 0.0).to(tl.int32, bitcast=True)
    flipped = tl.where(bits < 0, ~bits, bits ^ -2147483648)
    return flipped.to(tl.uint32, bitcast=True)


@triton.jit
def _kth_largest(keys, k):
    """Return the k-th largest of ``keys``, ties counted."""
    found = tl.zeros((), tl.uint32)
    bit = tl.full((), 0x80000000, tl.uint32)
    for _ in tl.range(0, 32):
        candidate = found | bit
        count = tl.sum((keys >= candidate).to(tl.int32), 0)
        found = tl.where(count >= k, candidate, found)
        bit = bit >> 1
    return found


@triton.jit
def _within_top_p(scores, keys, top_p):
    """Mark what top-p keeps: as long as the sum, in falling order, is at most p; and the first."""
    best = tl.max(scores, 0)
    exact = exp(scores - best).to(tl.float64) * _WEIGHT_UNIT + 0.5
    weights = exact.to(tl.int64)
    allowed = top_p.to(tl.float64) * tl.sum(weights, 0).to(tl.float64)
    edge = tl.zeros((), tl.uint32)  # the largest key with more than ``allowed`` at and above it
    bit = tl.full((), 0x80000000, tl.uint32)
    for _ in tl.range(0, 32):
        candidate = edge | bit
        above = tl.sum(tl.where(keys >= candidate, weights, 0), 0).to(tl.float64)
        edge = tl.where(above > allowed, candidate, edge)
        bit = bit >> 1
    is_edge = keys == edge
    higher = tl.sum(tl.where(keys > edge, weights, 0), 0)
    rank = tl.cumsum(is_edge.to(tl.int32), 0)
    reached = (higher + rank.to(tl.int64) * weights).to(tl.float64)
    is_first = is_edge & (rank == 1) & (tl.max(keys, 0) == edge)
    return (keys > edge) | (is_edge & (reached <= allowed)) | is_first


@triton.jit
def sample_kernel(
    out_ptr,  # int32 (B): token and flags
    logits_ptr,  # float32 (B, V)
    rows_ptr,  # int32 (B)
    table_ptr,  # int32 (S, 16)
    seen_ptr,  # int8 (S, V)
    vocab: tl.constexpr,
    block_v: tl.constexpr,  # a power of two, at least V
    is_appended: tl.constexpr,  # whether this step has written a token to the cache
    early: tl.constexpr,
):
    """Choose each active row's next token, take it into the slot's state, and end what is to end."""
    begin(early)
    row = tl.program_id(0)
    slot = tl.load(rows_ptr + row)
    is_active = 0
    if slot >= 0:
        is_active = tl.load(table_ptr + slot * _FIELDS + _ACTIVE)
    if is_active == 0:
        tl.store(out_ptr + row, 0)
    else:
        fields = table_ptr + slot * _FIELDS
        column = tl.arange(0, block_v)
        there = column < vocab
        raw = tl.load(logits_ptr + row * vocab + column, mask=there, other=0.0)
        is_finite = tl.sum(raw, 0) - tl.sum(raw, 0) == 0.0
        generated = tl.load(fields + _GENERATED)
        scores = tl.where(there, raw, float("-inf"))
        is_early = generated < tl.load(fields + _MIN_TOKENS)
        scores = tl.where((column == vocab - 1) & is_early, float("-inf"), scores)
        penalty = tl.load(fields + _PENALTY).to(tl.float32, bitcast=True)
        seen = tl.load(seen_ptr + slot * vocab + column, mask=there, other=0)
        penalised = tl.where(scores < 0, scores * penalty, tl.div_rn(scores, penalty))
        scores = tl.where(seen != 0, penalised, scores)
        likeliest = tl.argmax(scores, 0)

        top_p = tl.load(fields + _TOP_P).to(tl.float32, bitcast=True)
        if top_p < 1.0:
            kept = _within_top_p(scores, _ordered(scores), top_p)
            scores = tl.where(kept, scores, float("-inf"))
        temperature = tl.load(fields + _TEMPERATURE).to(tl.float32, bitcast=True)
        scores = tl.div_rn(scores, temperature)
        top_k = tl.load(fields + _TOP_K)
        if top_k < vocab:
            keys = _ordered(scores)
            scores = tl.where(keys >= _kth_largest(keys, top_k), scores, float("-inf"))

        low = tl.load(fields + _SEED_LOW).to(tl.uint32, bitcast=True).to(tl.uint64)
        high = tl.load(fields + _SEED_HIGH).to(tl.uint32, bitcast=True).to(tl.uint64)
        lane = tl.arange(0, block_v // 4)
        same = tl.zeros_like(lane)
        segment = tl.load(fields + _SEGMENT)
        w0, w1, w2, w3 = tl.philox(low | (high << 32), lane, same + generated, same + segment, same)
        words = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))
        uniform = (
            (words >> 9).to(tl.int32, bitcast=True).to(tl.float32) + 0.5
        ) * 1.1920928955078125e-07
        weights = exp(scores - tl.max(scores, 0))
        token = tl.argmax(tl.div_rn(weights, -log(uniform)), 0)

        is_eos = (token == vocab - 1) | (likeliest == vocab - 1)
        count = generated + tl.where(is_eos, 0, 1)
        goes_on = is_finite & (is_eos == 0) & (count < tl.load(fields + _MAX_TOKENS))
        flags = tl.where(is_eos, _IS_EOS, 0) + tl.where(is_finite, 0, _IS_NOT_FINITE)
        tl.store(out_ptr + row, token.to(tl.int32) + flags + _IS_VALID)
        tl.store(seen_ptr + slot * vocab + token, 1)
        tl.store(fields + _TOKEN, token.to(tl.int32))
        tl.store(fields + _GENERATED, count)
        tl.store(fields + _ACTIVE, goes_on.to(tl.int32))
        if is_appended:
            tl.store(fields + _LENGTH, tl.load(fields + _LENGTH) + 1)
