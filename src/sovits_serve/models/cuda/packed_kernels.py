"""Triton kernels over packed rows: the tokens of several rows one after another, no padding.

Counts live on the device: programs past them do nothing, so that one launch of a fixed grid serves
any batch up to it. An output's bits depend on its own row alone: the terms of every sum are added
in the same order wherever the row lies. With ``overlaps`` a kernel is launched while the one
before it still runs, and waits for its results (programmatic dependent launch, Hopper).
"""
# Triton types what it compiles.
# mypy: disable-error-code="no-untyped-def,untyped-decorator"

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

# Queries, and keys, that one program of ``attention_kernel`` holds at once.
ATTENTION_TILE = 64
_TILE = tl.constexpr(ATTENTION_TILE)


@triton.jit
def wait_for_inputs(overlaps: tl.constexpr):
    """Let the next kernel be launched, and wait until the previous one has finished."""
    if overlaps:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def product(
    x_ptr,  # (M, K), readable up to the end of the tile
    weight_ptr,  # (N, K)
    rows,
    columns,
    num_columns,
    depth,  # K
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    is_even: tl.constexpr,  # whether block_k divides K
    precision: tl.constexpr,
):
    """Return float32 (block_m, block_n): rows of x times columns of the transposed weight."""
    k = tl.arange(0, block_k)
    x_at = x_ptr + rows[:, None] * depth + k[None, :]
    # What lies past the last column is read from it, and not stored.
    weight_at = weight_ptr + tl.minimum(columns, num_columns - 1)[None, :] * depth + k[:, None]
    total = tl.zeros((block_m, block_n), tl.float32)
    for start in tl.range(0, depth, block_k):
        if is_even:
            x = tl.load(x_at)
            weight = tl.load(weight_at)
        else:
            x = tl.load(x_at, mask=(start + k < depth)[None, :], other=0.0)
            weight = tl.load(weight_at, mask=(start + k < depth)[:, None], other=0.0)
        total = tl.dot(x, weight, total, input_precision=precision)
        x_at += block_k
        weight_at += block_k
    return total


@triton.jit
def linear_kernel(
    out_ptr,  # (M, N)
    x_ptr,  # (M, K)
    weight_ptr,  # (N, K)
    bias_ptr,  # (N) or None
    residual_ptr,  # (M, N) or None
    count_ptr,  # int32 (1): M
    num_columns,
    depth,
    activation: tl.constexpr,  # "none", "relu" or "gelu"
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    is_even: tl.constexpr,
    precision: tl.constexpr,
    overlaps: tl.constexpr,
):
    """Write ``activation(x @ weight.T + bias) + residual``."""
    wait_for_inputs(overlaps)
    count = tl.load(count_ptr)
    first = tl.program_id(0) * block_m
    if first < count:
        rows = first + tl.arange(0, block_m)
        columns = tl.program_id(1) * block_n + tl.arange(0, block_n)
        total = product(
            x_ptr,
            weight_ptr,
            rows,
            columns,
            num_columns,
            depth,
            block_m,
            block_n,
            block_k,
            is_even,
            precision,
        )
        there = columns < num_columns
        if bias_ptr is not None:
            bias = tl.load(bias_ptr + columns, mask=there, other=0.0)
            total += bias.to(tl.float32)[None, :]
        if activation == "relu":
            total = tl.where(total < 0.0, 0.0, total)  # NaN stays
        if activation == "gelu":
            total = 0.5 * total * (1.0 + tl.erf(total * 0.7071067811865476))
        at = rows[:, None] * num_columns + columns[None, :]
        is_kept = (rows < count)[:, None] & there[None, :]
        if residual_ptr is not None:
            total += tl.load(residual_ptr + at, mask=is_kept, other=0.0).to(tl.float32)
        tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=is_kept)


@triton.jit
def project_kernel(
    qkv_ptr,  # (M, 3 * D)
    layer_ptr,  # (2, H, T, D_head), see ``pages``
    x_ptr,  # (M, D)
    weight_ptr,  # (3 * D, D)
    bias_ptr,  # (3 * D)
    addresses_ptr,  # int32 (M)
    count_ptr,  # int32 (1): M
    hidden,  # D
    width,  # D_head
    num_cached,  # T
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    is_even: tl.constexpr,
    precision: tl.constexpr,
    overlaps: tl.constexpr,
):
    """Write each token's query, key and value, and the last two into the cache as well."""
    wait_for_inputs(overlaps)
    count = tl.load(count_ptr)
    first = tl.program_id(0) * block_m
    if first < count:
        rows = first + tl.arange(0, block_m)
        columns = tl.program_id(1) * block_n + tl.arange(0, block_n)
        total = product(
            x_ptr,
            weight_ptr,
            rows,
            columns,
            3 * hidden,
            hidden,
            block_m,
            block_n,
            block_k,
            is_even,
            precision,
        )
        bias = tl.load(bias_ptr + columns, mask=columns < 3 * hidden, other=0.0)
        total = (total + bias.to(tl.float32)[None, :]).to(qkv_ptr.dtype.element_ty)
        row_there = rows < count
        column_there = columns < 3 * hidden
        qkv_at = qkv_ptr + rows[:, None] * (3 * hidden) + columns[None, :]
        tl.store(qkv_at, total, mask=row_there[:, None] & column_there[None, :])
        address = tl.load(addresses_ptr + rows, mask=row_there, other=0).to(tl.int64)
        head = tl.maximum(columns - hidden, 0) // width  # of the keys, then of the values
        column_at = head.to(tl.int64) * num_cached * width + columns % width
        is_cached = column_there & (columns >= hidden)
        cached_at = layer_ptr + (address * width)[:, None] + column_at[None, :]
        tl.store(cached_at, total, mask=row_there[:, None] & is_cached[None, :])


@triton.jit
def attention_kernel(
    out_ptr,  # (M, H * D_head)
    qkv_ptr,  # (M, 3 * H * D_head)
    num_tiles_ptr,  # int32 (1)
    tile_rows_ptr,  # int32 (tiles): which row
    tile_firsts_ptr,  # int32 (tiles): the first query's place in it
    starts_ptr,  # int32 (R): the row's first token among all
    lengths_ptr,  # int32 (R)
    text_lengths_ptr,  # int32 (R)
    hidden,
    scale,  # of scores, times log2(e)
    width: tl.constexpr,  # D_head
    block_d: tl.constexpr,
    precision: tl.constexpr,
    overlaps: tl.constexpr,
):
    """Attend from one tile of a row's queries, one head, by the rule of ``prompt_mask``."""
    wait_for_inputs(overlaps)
    tile = tl.program_id(0)
    head = tl.program_id(1)
    if tile < tl.load(num_tiles_ptr):
        row = tl.load(tile_rows_ptr + tile)
        first = tl.load(tile_firsts_ptr + tile)
        length = tl.load(lengths_ptr + row)
        text_length = tl.load(text_lengths_ptr + row)
        stride = 3 * hidden
        start = tl.load(starts_ptr + row)
        token = start + first + tl.arange(0, _TILE)
        place = first + tl.arange(0, _TILE)
        lane = tl.arange(0, block_d)
        lane_there = lane < width
        is_query = (place < length)[:, None] & lane_there[None, :]
        query_at = qkv_ptr + token[:, None] * stride + head * width + lane[None, :]
        query = tl.load(query_at, mask=is_query, other=0.0)
        row_at = qkv_ptr + start * stride + head * width
        keys = row_at + hidden + lane[:, None]
        values = row_at + 2 * hidden + lane[None, :]
        best = tl.full((_TILE,), float("-inf"), tl.float32)
        weight = tl.zeros((_TILE,), tl.float32)
        summed = tl.zeros((_TILE, block_d), tl.float32)
        end = tl.minimum(length, tl.maximum(text_length, first + _TILE))
        for begin in tl.range(0, end, _TILE):
            other = begin + tl.arange(0, _TILE)
            there = other < end
            key_there = lane_there[:, None] & there[None, :]
            key = tl.load(keys + (other * stride)[None, :], mask=key_there, other=0.0)
            value_there = there[:, None] & lane_there[None, :]
            value = tl.load(values + (other * stride)[:, None], mask=value_there, other=0.0)
            scores = tl.dot(query, key, input_precision=precision) * scale
            is_past = (place >= text_length)[:, None] & (other[None, :] <= place[:, None])
            sees = ((other < text_length)[None, :] | is_past) & there[None, :]
            scores = tl.where(sees, scores, float("-inf"))
            highest = tl.maximum(best, tl.max(scores, 1))
            shrink = tl.exp2(best - highest)
            share = tl.exp2(scores - highest[:, None])
            weight = weight * shrink + tl.sum(share, 1)
            summed = summed * shrink[:, None]
            summed = tl.dot(share.to(value.dtype), value, summed, input_precision=precision)
            best = highest
        result = (summed / weight[:, None]).to(out_ptr.dtype.element_ty)
        out_at = out_ptr + token[:, None] * hidden + head * width + lane[None, :]
        tl.store(out_at, result, mask=is_query)


@triton.jit
def norm_kernel(
    out_ptr,  # (M, D)
    x_ptr,  # float32 (M', D)
    gain_ptr,  # (D)
    shift_ptr,  # (D)
    index_ptr,  # int32 (M): which row of x; None: the same
    count_ptr,  # int32 (1): M
    hidden,
    eps,
    block_d: tl.constexpr,
    overlaps: tl.constexpr,
):
    """Write rows of x, normalised."""
    wait_for_inputs(overlaps)
    row = tl.program_id(0)
    if row < tl.load(count_ptr):
        source = row
        if index_ptr is not None:
            source = tl.load(index_ptr + row)
        lane = tl.arange(0, block_d)
        there = lane < hidden
        value = tl.load(x_ptr + source * hidden + lane, mask=there, other=0.0)
        mean = tl.sum(value, 0) / hidden
        centred = tl.where(there, value - mean, 0.0)
        variance = tl.sum(centred * centred, 0) / hidden
        value = centred * tl.rsqrt(variance + eps)
        value *= tl.load(gain_ptr + lane, mask=there, other=0.0).to(tl.float32)
        value += tl.load(shift_ptr + lane, mask=there, other=0.0).to(tl.float32)
        tl.store(out_ptr + row * hidden + lane, value.to(out_ptr.dtype.element_ty), mask=there)


@triton.jit
def embed_prompt_kernel(
    out_ptr,  # (M, D)
    ids_ptr,  # int32 (M): of a phoneme; -1 - id of a semantic token
    positions_ptr,  # int32 (M): among the row's tokens of that kind
    features_ptr,  # int32 (M): row of projected; -1: its features are zero
    count_ptr,  # int32 (1): M
    projected_ptr,  # (F, D): features times weight, with the bias
    bias_ptr,  # (D)
    phonemes_ptr,  # (V_ph, D)
    tokens_ptr,  # (V, D)
    places_ptr,  # (P, D)
    phoneme_alpha_ptr,  # (1)
    token_alpha_ptr,  # (1)
    hidden,
    block_d: tl.constexpr,
    overlaps: tl.constexpr,
):
    """Write the input of T2S: embedding, features' projection, position."""
    wait_for_inputs(overlaps)
    row = tl.program_id(0)
    if row < tl.load(count_ptr):
        lane = tl.arange(0, block_d)
        there = lane < hidden
        number = tl.load(ids_ptr + row)
        feature = tl.load(features_ptr + row)
        place = tl.load(places_ptr + tl.load(positions_ptr + row) * hidden + lane, mask=there)
        if number >= 0:
            value = tl.load(phonemes_ptr + number * hidden + lane, mask=there).to(tl.float32)
            alpha = tl.load(phoneme_alpha_ptr).to(tl.float32)
            if feature >= 0:
                added = tl.load(projected_ptr + feature * hidden + lane, mask=there)
            else:
                added = tl.load(bias_ptr + lane, mask=there)
            value += added.to(tl.float32)
        else:
            value = tl.load(tokens_ptr + (-1 - number) * hidden + lane, mask=there).to(tl.float32)
            alpha = tl.load(token_alpha_ptr).to(tl.float32)
        value += alpha * place.to(tl.float32)
        tl.store(out_ptr + row * hidden + lane, value.to(out_ptr.dtype.element_ty), mask=there)


@triton.jit
def embed_characters_kernel(
    out_ptr,  # float32 (M, D)
    ids_ptr,  # int32 (M)
    positions_ptr,  # int32 (M)
    count_ptr,  # int32 (1): M
    words_ptr,  # (V, D)
    places_ptr,  # (P, D)
    kinds_ptr,  # (kinds, D): the first is read
    hidden,
    block_d: tl.constexpr,
    overlaps: tl.constexpr,
):
    """Write the sum of BERT's embeddings, to be normalised."""
    wait_for_inputs(overlaps)
    row = tl.program_id(0)
    if row < tl.load(count_ptr):
        lane = tl.arange(0, block_d)
        there = lane < hidden
        word = words_ptr + tl.load(ids_ptr + row) * hidden
        place = places_ptr + tl.load(positions_ptr + row) * hidden
        value = tl.load(word + lane, mask=there).to(tl.float32)
        value += tl.load(kinds_ptr + lane, mask=there).to(tl.float32)
        value += tl.load(place + lane, mask=there).to(tl.float32)
        tl.store(out_ptr + row * hidden + lane, value, mask=there)
