"""Triton kernels of one T2S decode step. A row's bits do not depend on the other rows.

Rows are places in a batch; a table names each row's slot, -1 where there is none. A slot's numbers
(``SlotField``) lie in one int32 table on the device, floats by their bits. Every product adds up
its terms in the same order whatever the batch, since only the tile over outputs varies.
"""

from enum import IntEnum

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


class SlotField(IntEnum):
    """Columns of the slot table."""

    ACTIVE = 0  # 0 or 1: the row computes
    LENGTH = 1  # cached tokens
    GENERATED = 2  # tokens drawn so far
    PROMPT = 3  # semantic tokens of the prompt
    TOKEN = 4  # drawn last
    MAX_TOKENS = 5
    MIN_TOKENS = 6  # EOS cannot come before
    TOP_K = 7
    TOP_P = 8  # float32 bits
    TEMPERATURE = 9  # float32 bits
    PENALTY = 10  # float32 bits
    SEED_LOW = 11
    SEED_HIGH = 12
    SEGMENT = 13


NUM_FIELDS = 16
_ACTIVE = tl.constexpr(int(SlotField.ACTIVE))
_LENGTH = tl.constexpr(int(SlotField.LENGTH))
_GENERATED = tl.constexpr(int(SlotField.GENERATED))
_PROMPT = tl.constexpr(int(SlotField.PROMPT))
_TOKEN = tl.constexpr(int(SlotField.TOKEN))
_FIELDS = tl.constexpr(NUM_FIELDS)


@triton.jit
def begin(has_early_launch: tl.constexpr):
    """Let the next kernel be launched already, and wait for what the one before wrote.

    Its launch says ``launch_pdl``. What a kernel reads before this it reads while others still run:
    weights, and what was written before ``begin_step``.
    """
    if has_early_launch:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def begin_step(has_early_launch: tl.constexpr):
    """Wait for all that came before, and only then let the next kernel be launched.

    So none of a step's kernels begins before the steps before it have ended.
    """
    if has_early_launch:
        gdc_wait()
        gdc_launch_dependents()


@triton.jit
def embed_kernel(
    x_ptr,  # float32 (B, D)
    h_ptr,  # model dtype (B, D)
    rows_ptr,  # int32 (B)
    table_ptr,  # int32 (S, 16)
    tokens_ptr,  # model dtype (V, D)
    places_ptr,  # model dtype (P, D)
    alpha_ptr,  # model dtype (1)
    hidden: tl.constexpr,
    early: tl.constexpr,
):
    """Write each row's input: the token drawn last, at its place."""
    begin_step(early)
    row = tl.program_id(0)
    column = tl.arange(0, hidden)
    slot = tl.load(rows_ptr + row)
    if slot >= 0:
        fields = table_ptr + slot * _FIELDS
        token = tl.load(fields + _TOKEN)
        place = tl.load(fields + _PROMPT) + tl.load(fields + _GENERATED) - 1
        alpha = tl.load(alpha_ptr).to(tl.float32)
        value = tl.load(tokens_ptr + token * hidden + column).to(tl.float32)
        value += alpha * tl.load(places_ptr + place * hidden + column).to(tl.float32)
        tl.store(x_ptr + row * hidden + column, value)
        tl.store(h_ptr + row * hidden + column, value.to(h_ptr.dtype.element_ty))


@triton.jit
def linear_kernel(
    out_ptr,  # (splits, B, N): float32 parts, or the model's dtype with one split
    x_ptr,  # model dtype (B, K)
    weight_ptr,  # model dtype (N, K)
    bias_ptr,  # model dtype (N); read with one split only
    num_rows,
    num_outputs,
    depth: tl.constexpr,  # K of one split, a power of two
    splits: tl.constexpr,
    has_bias: tl.constexpr,
    has_relu: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    precision: tl.constexpr,
    early: tl.constexpr,
):
    """Multiply rows with weights; split over K, parts are left for the reader to add up."""
    row = tl.program_id(1) * 16 + tl.arange(0, 16)
    column = tl.program_id(0) * block_n + tl.arange(0, block_n)
    split = tl.program_id(2)
    k = tl.arange(0, block_k)
    row_there = row < num_rows
    column_there = column < num_outputs
    x_at = x_ptr + row[:, None] * (depth * splits) + split * depth + k[None, :]
    w_at = weight_ptr + column[:, None] * (depth * splits) + split * depth + k[None, :]
    total = tl.zeros((16, block_n), tl.float32)
    if block_k == depth:  # weights are here before what they are multiplied with
        w = tl.load(w_at, mask=column_there[:, None], other=0.0)
        begin(early)
        x = tl.load(x_at, mask=row_there[:, None], other=0.0)
        total = tl.dot(x, tl.trans(w), total, input_precision=precision)
    else:
        begin(early)
    for _ in tl.range(0, 0 if block_k == depth else depth, block_k):
        w = tl.load(w_at, mask=column_there[:, None], other=0.0)
        x = tl.load(x_at, mask=row_there[:, None], other=0.0)
        total = tl.dot(x, tl.trans(w), total, input_precision=precision)
        x_at += block_k
        w_at += block_k
    if has_bias:
        total += tl.load(bias_ptr + column, mask=column_there, other=0.0).to(tl.float32)[None, :]
    if has_relu:
        total = tl.maximum(total, 0.0)
    out_at = out_ptr + (split * num_rows + row[:, None]) * num_outputs + column[None, :]
    there = row_there[:, None] & column_there[None, :]
    tl.store(out_at, total.to(out_ptr.dtype.element_ty), mask=there)


@triton.jit
def add_norm_kernel(
    x_ptr,  # float32 (B, D): read and written
    h_ptr,  # model dtype (B, D): the same, rounded
    parts_ptr,  # float32 (splits, B, D)
    bias_ptr,  # model dtype (D)
    gain_ptr,  # model dtype (D)
    shift_ptr,  # model dtype (D)
    num_rows,
    eps,
    hidden: tl.constexpr,
    splits: tl.constexpr,
    early: tl.constexpr,
):
    """Add what a split product left to the residual, and normalise."""
    row = tl.program_id(0)
    column = tl.arange(0, hidden)
    bias = tl.load(bias_ptr + column).to(tl.float32)
    gain = tl.load(gain_ptr + column).to(tl.float32)
    shift = tl.load(shift_ptr + column).to(tl.float32)
    begin(early)
    value = tl.load(x_ptr + row * hidden + column) + bias
    for split in tl.static_range(splits):
        value += tl.load(parts_ptr + (split * num_rows + row) * hidden + column)
    mean = tl.sum(value, 0) / hidden
    centred = value - mean
    scale = tl.rsqrt(tl.sum(centred * centred, 0) / hidden + eps)
    value = centred * scale * gain + shift
    tl.store(x_ptr + row * hidden + column, value)
    tl.store(h_ptr + row * hidden + column, value.to(h_ptr.dtype.element_ty))


@triton.jit
def _attend_page(best, weight, summed, query, key, value, there):
    """Take some keys and values into a running softmax."""
    scores = tl.sum(key.to(tl.float32) * query[None, :], 1)
    scores = tl.where(there, scores, float("-inf"))
    highest = tl.maximum(best, tl.max(scores, 0))
    # The first position's weight is carried apart, in ``best`` alone.
    shrink = tl.exp2(best - highest)
    share = tl.exp2(scores - highest)
    weight = weight * shrink + share
    summed = summed * shrink + share[:, None] * value.to(tl.float32)
    return highest, weight, summed


@triton.jit
def attend_kernel(
    out_ptr,  # model dtype (B, H * D_head)
    qkv_ptr,  # model dtype (B, 3 * H * D_head)
    layer_ptr,  # model dtype (2, H, T, D_head), see ``pages``
    pages_ptr,  # int32 (S, max_pages)
    rows_ptr,  # int32 (B)
    table_ptr,  # int32 (S, 16)
    max_pages,
    num_cached,  # T
    scale,  # of scores, times log2(e)
    num_heads: tl.constexpr,
    width: tl.constexpr,
    block_t: tl.constexpr,  # tokens of a page
    stages: tl.constexpr,
    early: tl.constexpr,
):
    """Append a row's key and value to its slot, and attend over all that the slot holds."""
    row = tl.program_id(0)
    head = tl.program_id(1)
    hidden: tl.constexpr = num_heads * width
    lane = tl.arange(0, width)
    time = tl.arange(0, block_t)
    slot = tl.load(rows_ptr + row)
    is_active = 0
    if slot >= 0:
        is_active = tl.load(table_ptr + slot * _FIELDS + _ACTIVE)
    if is_active > 0:
        length = tl.load(table_ptr + slot * _FIELDS + _LENGTH)
        pages = pages_ptr + slot * max_pages
        head_stride = num_cached.to(tl.int64) * width
        keys = layer_ptr + head * head_stride
        values = keys + num_heads * head_stride
        offsets = time[:, None] * width + lane[None, :]
        # The first page is here before the query is.
        there = time < length
        at_page = tl.load(pages).to(tl.int64) * (block_t * width)
        first_key = tl.load(keys + at_page + offsets, mask=there[:, None], other=0.0)
        first_value = tl.load(values + at_page + offsets, mask=there[:, None], other=0.0)
        new_page = tl.load(pages + length // block_t).to(tl.int64)
        new_at = (new_page * block_t + length % block_t) * width + lane
        begin(early)
        at = qkv_ptr + row * 3 * hidden + head * width + lane
        query = tl.load(at).to(tl.float32) * scale
        new_key = tl.load(at + hidden)
        new_value = tl.load(at + 2 * hidden)
        tl.store(keys + new_at, new_key)
        tl.store(values + new_at, new_value)
        # What this program has just written need not be visible to it: begin with it.
        best = tl.sum(query * new_key.to(tl.float32), 0)
        weight = tl.zeros((block_t,), tl.float32)
        summed = tl.zeros((block_t, width), tl.float32)
        best, weight, summed = _attend_page(
            best, weight, summed, query, first_key, first_value, there
        )
        for start in tl.range(block_t, length, block_t, num_stages=stages):
            there = start + time < length
            at_page = tl.load(pages + start // block_t).to(tl.int64) * (block_t * width)
            key = tl.load(keys + at_page + offsets, mask=there[:, None], other=0.0)
            value = tl.load(values + at_page + offsets, mask=there[:, None], other=0.0)
            best, weight, summed = _attend_page(best, weight, summed, query, key, value, there)
        own = tl.exp2(tl.sum(query * new_key.to(tl.float32), 0) - best)
        total = tl.sum(weight, 0) + own
        result = (tl.sum(summed, 0) + own * new_value.to(tl.float32)) / total
        out_at = out_ptr + row * hidden + head * width + lane
        tl.store(out_at, result.to(out_ptr.dtype.element_ty))
    else:
        begin(early)
