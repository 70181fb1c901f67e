"""T2S decoding on CUDA: several steps per graph, with the draw inside.

All that a step reads lives on the device: what a slot drew last, its length, its sampling
parameters, whether it still runs. So the host launches the next steps before it has read the last
ones; a row that has ended meanwhile does nothing. Rows are computed by kernels whose tiles do not
depend on the batch (``decode_kernels``): a row's tokens have the same bits in any company.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
import triton
from torch import Tensor

from sovits_serve.engine.paged_cache import PagedCache
from sovits_serve.engine.row_table import RowTable
from sovits_serve.models.cuda.decode_kernels import (
    add_norm_kernel,
    attend_kernel,
    embed_kernel,
    linear_kernel,
)
from sovits_serve.models.cuda.device import limits_of
from sovits_serve.models.cuda.graphs import record
from sovits_serve.models.cuda.pages import PAGE_TOKENS
from sovits_serve.models.cuda.staging import Uploads
from sovits_serve.models.spec import T2SDims
from sovits_serve.models.t2s.block import LAYER_NORM_EPS, T2SBlock
from sovits_serve.models.t2s.model import T2SModel

_BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
# Of the products that a residual is added to, in wide models: their depth is divided.
_SPLITS, _WIDE = 4, 256
# Of products: outputs and depth at a time, warps, and how many times ahead they read. Up to so many
# rows a program takes the whole depth at once, so that it can read its weights before its rows are
# there. The order of additions is the same in all.
_FEW_ROWS = 32
_NARROW, _NARROW_FLOAT32, _BROAD = (32, 512, 2, 1), (16, 128, 1, 4), (64, 64, 4, 4)
# Of attention: warps that read a page, and how many pages ahead they read.
_ATTENTION_WARPS, _ATTENTION_STAGES = 4, 3
# Up to so many rows, launch each kernel while the one before runs ("programmatic dependent
# launch"), where the device can: it hides what a launch costs; with many rows it only takes room.
_EARLY_ROWS = 32


def can_decode(dims: T2SDims) -> bool:
    """Tell whether the kernels take a model's dimensions: powers of two, 32 or more wide."""
    width = dims.hidden // dims.num_heads
    return dims.hidden >= 32 and _is_power_of_two(dims.hidden) and _is_power_of_two(width)


class GraphDecoder:
    """Draws tokens for the slots of one cache.

    Everything is queued on the current stream. ``capture`` makes CUDA graphs; without it, and on
    a CPU in Triton's interpreter, the same kernels are launched one by one.
    """

    def __init__(
        self,
        model: T2SModel,
        cache: PagedCache,
        table: RowTable,
        *,
        num_slots: int,
        num_steps: int = 4,
    ) -> None:
        """Allocate all that a step needs.

        Args:
            model: the weights; ``can_decode`` holds.
            cache: of the model's dtype; whoever decodes has its pages there, and uploaded.
            table: of the same slots.
            num_slots: S, also the most rows of a batch.
            num_steps: decode steps per call of ``decode``.
        """
        dims, weight = model.dims, model.ar_predict_layer.weight
        self.num_steps = num_steps
        self._model, self._cache, self._table = model, cache, table
        self._blocks = tuple(block for block in model.h.layers if isinstance(block, T2SBlock))
        self._device, self._hidden = weight.device, dims.hidden
        self._has_early_launch = limits_of(weight.device).has_early_launch
        self._width = dims.hidden // dims.num_heads
        self._num_heads = dims.num_heads
        is_exact = weight.dtype is torch.float32
        self._precision = "ieee" if is_exact else "tf32"
        self._narrow = _NARROW_FLOAT32 if is_exact else _NARROW
        sizes = [size for size in _BUCKETS if size < num_slots]
        self._buckets = [*sizes, num_slots]

        def rows(width: int, dtype: torch.dtype = weight.dtype) -> Tensor:
            return torch.zeros(num_slots, width, dtype=dtype, device=self._device)

        self._x = rows(dims.hidden, torch.float32)
        self._h = rows(dims.hidden)
        self._qkv = rows(3 * dims.hidden)
        self._attended = rows(dims.hidden)
        self._wide = rows(4 * dims.hidden)
        self._splits = _SPLITS if dims.hidden >= _WIDE else 1
        self._parts = torch.zeros(self._splits * num_slots * dims.hidden, device=self._device)
        self._logits = rows(dims.vocab_size, torch.float32)
        self._rows = torch.full((num_slots,), -1, dtype=torch.int32, device=self._device)
        self._drawn = rows(num_steps, torch.int32).view(-1)
        self._uploads = Uploads(num_slots, self._device)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def capture(self) -> None:
        """Make a graph for each bucket of batch sizes, the largest first: it takes the memory."""
        if self._device.type != "cuda":
            return
        self._rows.fill_(-1)
        pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for size in reversed(self._buckets):
                self._graphs[size], _ = record(partial(self._launch, size), pool)
        torch.cuda.current_stream(self._device).wait_stream(stream)

    @torch.inference_mode()
    def decode(self, slots: Sequence[int]) -> Tensor:
        """Append each slot's last token and draw the next one, ``num_steps`` times.

        Returns:
            int32 (num_steps, at least len(slots)), token and flags; a row that does not run has
            0. Valid until the next call.
        """
        size = next(bucket for bucket in self._buckets if bucket >= len(slots))
        self._uploads.upload([*slots, *[-1] * (size - len(slots))], self._rows)
        graph = self._graphs.get(size)
        if graph is None:
            self._launch(size)
        else:
            graph.replay()
        drawn: Tensor = self._drawn[: self.num_steps * size].view(self.num_steps, size)
        return drawn

    @torch.inference_mode()
    def _launch(self, size: int) -> None:
        for step in range(self.num_steps):
            self._step(size)
            drawn = self._drawn[step * size : (step + 1) * size]
            self._table.draw(drawn, self._logits, self._rows, is_appended=True)

    def _step(self, size: int) -> None:
        """Compute the logits of one token per row."""
        model, hidden = self._model, self._hidden
        embed_kernel[(size,)](
            self._x,
            self._h,
            self._rows,
            self._table.fields,
            model.ar_audio_embedding.word_embeddings.weight,
            model.positions,
            model.ar_audio_position.alpha,
            hidden=hidden,
            num_warps=4,
            **self._early(size),
        )
        for index, block in enumerate(self._blocks):
            attention = block.self_attn
            self._linear(self._qkv, self._h, attention.in_proj_weight, attention.in_proj_bias, size)
            self._attend(self._cache.layer(index), size)
            self._linear(self._parts, self._attended, attention.out_proj.weight, None, size)
            self._add_norm(attention.out_proj.bias, block.norm1, size)
            widen = block.linear1
            self._linear(self._wide, self._h, widen.weight, widen.bias, size, has_relu=True)
            self._linear(self._parts, self._wide, block.linear2.weight, None, size)
            self._add_norm(block.linear2.bias, block.norm2, size)
        self._linear(self._logits, self._h, model.ar_predict_layer.weight, None, size, splits=1)

    def _early(self, size: int) -> dict[str, bool]:
        is_early = size <= _EARLY_ROWS and self._has_early_launch
        return {"early": is_early, "launch_pdl": is_early}

    def _linear(
        self,
        out: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        size: int,
        *,
        splits: int = 0,
        has_relu: bool = False,
    ) -> None:
        """Multiply; without a bias and unless told otherwise, leave parts for ``_add_norm``."""
        splits = splits or (1 if bias is not None else self._splits)
        outputs, depth = weight.shape[0], weight.shape[1] // splits
        block_n, block_k, num_warps, num_stages = self._narrow if size <= _FEW_ROWS else _BROAD
        linear_kernel[(triton.cdiv(outputs, block_n), triton.cdiv(size, 16), splits)](
            out,
            x,
            weight,
            bias,
            size,
            outputs,
            depth=depth,
            splits=splits,
            has_bias=bias is not None,
            has_relu=has_relu,
            block_n=block_n,
            block_k=min(depth, block_k),
            precision=self._precision,
            num_warps=num_warps,
            num_stages=num_stages,
            **self._early(size),
        )

    def _attend(self, layer: Tensor, size: int) -> None:
        attend_kernel[(size, self._num_heads)](
            self._attended,
            self._qkv,
            layer,
            self._cache.page_table,
            self._rows,
            self._table.fields,
            self._cache.page_table.shape[1],
            layer.shape[2],
            math.log2(math.e) / math.sqrt(self._width),
            num_heads=self._num_heads,
            width=self._width,
            block_t=PAGE_TOKENS,
            stages=_ATTENTION_STAGES,
            num_warps=_ATTENTION_WARPS,
            **self._early(size),
        )

    def _add_norm(self, bias: Tensor, norm: torch.nn.LayerNorm, size: int) -> None:
        add_norm_kernel[(size,)](
            self._x,
            self._h,
            self._parts,
            bias,
            norm.weight,
            norm.bias,
            size,
            LAYER_NORM_EPS,
            hidden=self._hidden,
            splits=self._splits,
            num_warps=4,
            **self._early(size),
        )


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
