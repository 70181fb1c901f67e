"""The Triton kernel of all convolutions of the generator: one matrix product, one pass over memory.

One row of the product is a window of input steps, one column an output channel of one of the
``y_group`` outputs that the window has in it. What a window reads is one stretch of (step, channel)
numbers, so that few channels still make long sums. Weights come packed to match
(``convolution.pack``). Tiles are counted from the start of a row of the batch, and every element
adds up its terms in the same order: its bits depend neither on the batch nor on the padding.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# Triton reads annotations of a kernel as something else.

import triton
import triton.language as tl


@triton.jit
def _entry(table: tl.constexpr, index):
    """Return one number of a table that is known when compiling."""
    value = table[0]
    for place in tl.static_range(1, len(table)):
        value += (index >= place) * (table[place] - table[place - 1])
    return value


@triton.jit
def _leaky_relu(x, slope):
    return tl.where(x < 0, x * slope, x)


@triton.jit
def _write(
    total,  # float32 (rows, columns)
    column,
    time,
    y_ptr,
    y_end,
    y_steps,
    bias_ptr,
    residual_ptr,
    residual_stride,
    scale,
    slope,
    residual_slope,
    dilation: tl.constexpr,
    width: tl.constexpr,
    y_channels: tl.constexpr,
    num_residuals: tl.constexpr,
    is_waveform: tl.constexpr,
):
    """Add bias and residuals, apply the activation, and store what is inside the row."""
    steps = time[:, None] + (column // y_channels * dilation)[None, :]
    place = steps * y_channels + (column % y_channels)[None, :]
    is_there = (steps < y_end) & (column < width)[None, :]
    total += tl.load(bias_ptr + column, mask=column < width, other=0.0)[None, :]
    for index in range(num_residuals):  # not unrolled: registers
        stored = tl.load(residual_ptr + index * residual_stride + place, mask=is_there, other=0.0)
        total += _leaky_relu(stored.to(tl.float32), residual_slope)
    total *= scale
    if is_waveform:
        samples = 1.0 - 2.0 / (tl.exp(2.0 * total) + 1.0)  # tanh
        is_row = (steps < y_steps) & (column < width)[None, :]
        tl.store(y_ptr + place, tl.where(steps < y_end, samples, 0.0), mask=is_row)
    else:
        activated = _leaky_relu(total, slope)
        tl.store(y_ptr + place, activated.to(y_ptr.dtype.element_ty), mask=is_there)


# Of the arguments only addresses may change what is compiled: a new length must not.
_PLAIN = ["x_steps", "y_steps", "x_rate", "y_rate"]


@triton.jit(do_not_specialize=_PLAIN, do_not_specialize_on_alignment=["lengths_ptr"])
def convolution_kernel(  # noqa: C901, PLR0912 -- branches of the compiler, most of them
    y_ptr,  # (sources, B, y_steps, y_channels), one source if is_sum
    x_ptr,  # (sources, B, x_steps, x_channels), one source if x_is_shared
    weight_ptr,  # (chunks * depth, padded_width)
    bias_ptr,  # float32 (sources, width), or (B, width) if has_condition
    residual_ptr,  # as y_ptr, or (B, ...) if residual_is_shared; (sources, ...) if is_sum
    lengths_ptr,  # int (B), if has_lengths
    x_steps,
    y_steps,
    x_rate,  # steps per unit of length
    y_rate,
    scale,
    slope,  # of the activation of y
    residual_slope,  # undoes the activation of the residual
    x_channels: tl.constexpr,
    y_channels: tl.constexpr,
    x_group: tl.constexpr,  # steps from one window to the next
    y_group: tl.constexpr,  # outputs of one window
    dilation: tl.constexpr,
    firsts: tl.constexpr,  # per source, the window's first step relative to its base
    chunks: tl.constexpr,  # first chunk of each source's weights, and the end
    width: tl.constexpr,  # y_group * y_channels
    padded_width: tl.constexpr,
    is_sum: tl.constexpr,  # over the sources
    x_is_shared: tl.constexpr,
    has_residual: tl.constexpr,
    residual_is_shared: tl.constexpr,
    has_condition: tl.constexpr,
    has_lengths: tl.constexpr,
    is_waveform: tl.constexpr,  # tanh, and zeros behind the row's end
    rows: tl.constexpr,
    columns: tl.constexpr,
    rest: tl.constexpr,  # further columns, a second product with the same input; or 0
    depth: tl.constexpr,
    through_l1: tl.constexpr,  # taps after the first find their input there; costs instructions
):
    """Compute one tile; program ids are (tile, row of the batch, source from the last)."""
    num_sources: tl.constexpr = len(firsts)
    num_residuals: tl.constexpr = (num_sources if is_sum else 1) if has_residual else 0
    tile_width: tl.constexpr = columns + rest
    num_column_tiles: tl.constexpr = padded_width // tile_width
    precision: tl.constexpr = "ieee"
    tile = tl.program_id(0) // num_column_tiles
    first_column = tl.program_id(0) % num_column_tiles * tile_width
    row = tl.program_id(1).to(tl.int64)
    x_end = x_steps
    y_end = y_steps
    if has_lengths:
        length = tl.load(lengths_ptr + row).to(tl.int32)
        x_end = tl.minimum(x_end, length * x_rate)
        y_end = tl.minimum(y_end, length * y_rate)
    window = tile * rows
    first_y = window // dilation * (y_group * dilation) + window % dilation
    limit = y_end
    if is_waveform:
        limit = y_steps
    if first_y < limit:
        windows = window + tl.arange(0, rows)
        x_time = windows // dilation * (x_group * dilation) + windows % dilation
        y_time = windows // dilation * (y_group * dilation) + windows % dilation
        x_row = x_ptr + row * x_steps * x_channels
        y_row = y_ptr + row * y_steps * y_channels
        residual_row = residual_ptr + row * y_steps * y_channels
        x_stride = tl.num_programs(1).to(tl.int64) * x_steps * x_channels
        y_stride = tl.num_programs(1).to(tl.int64) * y_steps * y_channels
        residual_stride = y_stride
        if residual_is_shared:
            residual_stride = y_stride * 0
        source = 0
        if not is_sum:
            source = num_sources - 1 - tl.program_id(2)  # what takes longest comes first
            y_row += source * y_stride
            if not x_is_shared:
                x_row += source * x_stride
            if not residual_is_shared:
                residual_row += source * y_stride
        start = _entry(chunks, source)
        end = _entry(chunks, num_sources if is_sum else source + 1)
        first = _entry(firsts, source)
        if is_waveform:
            end = start + (end - start) * (first_y < y_end)
        bias_row = bias_ptr + (row if has_condition else source) * width
        in_chunk = tl.arange(0, depth)
        column = first_column + tl.arange(0, columns)
        total = tl.zeros((rows, columns), tl.float32)
        if rest > 0:
            rest_column = first_column + columns + tl.arange(0, rest)
            rest_total = tl.zeros((rows, rest), tl.float32)
        for chunk in range(start, end):
            if is_sum:
                at = 0
                for other in tl.static_range(1, num_sources):
                    at += (chunk >= chunks[other]) * 1
                k = (chunk - _entry(chunks, at)) * depth + in_chunk
                begin = _entry(firsts, at)
                x_source = x_row + at * x_stride
            else:
                k = (chunk - start) * depth + in_chunk
                begin = first
                x_source = x_row
            time = x_time[:, None] + (begin + k // x_channels * dilation)[None, :]
            x_there = (time >= 0) & (time < x_end)
            place = time * x_channels + (k % x_channels)[None, :]
            x_place = x_source + place
            if through_l1:
                x_place = tl.max_contiguous(x_place, [1, 4])  # copies of 16 bytes bypass L1
            x = tl.load(x_place, mask=x_there, other=0.0)
            weight_row = weight_ptr + (chunk * depth + in_chunk)[:, None] * padded_width
            weight = tl.load(weight_row + column[None, :])
            total = tl.dot(x, weight, total, input_precision=precision)
            if rest > 0:
                rest_weight = tl.load(weight_row + rest_column[None, :])
                rest_total = tl.dot(x, rest_weight, rest_total, input_precision=precision)
        _write(
            total, column, y_time, y_row, y_end, y_steps, bias_row, residual_row, residual_stride,
            scale, slope, residual_slope,
            dilation, width, y_channels, num_residuals, is_waveform,
        )  # fmt: skip
        if rest > 0:
            _write(
                rest_total, rest_column, y_time, y_row, y_end, y_steps, bias_row, residual_row,
                residual_stride, scale, slope, residual_slope,
                dilation, width, y_channels, num_residuals, is_waveform,
            )  # fmt: skip
