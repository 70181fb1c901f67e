"""Prefill of T2S rows on a CUDA device: all rows packed, one graph per batch.

Computes what ``T2SModel.prefill`` computes, rounding apart; a row's results have the same bits
alone and beside others. Knows the cache's memory, not who holds which page.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sovits_serve.models.cuda.packed import PackedLaunches, new_rows
from sovits_serve.models.cuda.packed_batch import BucketGraphs, Integers, PackedRow, TableMemory
from sovits_serve.models.t2s.block import T2SBlock
from sovits_serve.models.t2s.model import T2SModel

TOKEN_BUCKETS = (256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class PrefillRow:
    """One sequence to start.

    Attributes:
        phone_ids: at least one.
        features: pieces (first phoneme, values (n, D_text) in the model's dtype, on its device),
            in any order, without overlap; what none covers is zero.
        prompt_semantic: may be empty.
        addresses: int32 (phonemes + prompt), where their keys and values go, see ``pages``.
    """

    phone_ids: Sequence[int]
    features: Sequence[tuple[int, Tensor]]
    prompt_semantic: Sequence[int]
    addresses: Integers

    @property
    def num_tokens(self) -> int:
        """Return how many tokens the row has."""
        return len(self.phone_ids) + len(self.prompt_semantic)


class PackedPrefill:
    """Fills the cache with text and prompt. One thread and one stream at a time.

    Attributes:
        max_rows: most rows of one call.
        max_tokens: most tokens of one call, all rows together.
    """

    def __init__(
        self,
        model: T2SModel,
        layers: Sequence[Tensor],
        *,
        max_rows: int = 16,
        token_buckets: Sequence[int] = TOKEN_BUCKETS,
        overlaps: bool = False,
    ) -> None:
        """Allocate what the largest bucket needs.

        Args:
            model: its parameters must stay where they are.
            layers: each layer's memory of the cache (2, H, T, D_head), see ``pages``.
            max_rows: most rows of one call.
            token_buckets: total tokens to capture a graph for; the largest bounds a call.
            overlaps: see ``PackedLaunches``.
        """
        self.max_rows = max_rows
        self.max_tokens = max(token_buckets)
        self._model = model
        self._layers = tuple(layers)
        self._overlaps = overlaps
        self._blocks = [block for block in model.h.layers if isinstance(block, T2SBlock)]
        assert len(self._blocks) == len(self._layers)
        dims, dtype, device = model.dims, model.positions.dtype, model.positions.device
        self._places = np.arange(len(model.positions), dtype=np.int32)

        def rows(width: int, kind: torch.dtype = dtype) -> Tensor:
            return new_rows(self.max_tokens, width, kind, device)

        self._features = rows(dims.text_feature_dim)
        self._x, self._attended, self._projected = (rows(dims.hidden) for _ in range(3))
        self._qkv = rows(3 * dims.hidden)
        self._sums = rows(dims.hidden, torch.float32)
        self._wide = rows(4 * dims.hidden)
        self._last = new_rows(max_rows, dims.hidden, dtype, device)
        self._logits = torch.zeros(max_rows, dims.vocab_size, device=device)
        memory = TableMemory(self.max_tokens, max_rows, device)
        self._graphs = BucketGraphs(token_buckets, memory, self._launch)

    def capture(self) -> None:
        """Compile and record everything; without a CUDA device, do nothing."""
        if self._x.device.type == "cuda":
            self._graphs.capture()

    def fits(self, rows: Sequence[PrefillRow]) -> bool:
        """Return whether one call can take these rows."""
        return len(rows) <= self.max_rows and sum(r.num_tokens for r in rows) <= self.max_tokens

    @torch.inference_mode()
    def run(self, rows: Sequence[PrefillRow]) -> Tensor:
        """Fill the rows' part of the cache, without waiting for the device.

        Returns:
            float32 (max_rows, V): in the first ``len(rows)`` the logits of each row's first
            token. The memory is always the same, and valid until the next call.
        """
        assert self.fits(rows)
        pieces: list[Tensor] = []
        packed = []
        num_features = 0
        for row in rows:
            packed.append(self._pack(row, num_features))
            for _, values in row.features:
                pieces.append(values)
                num_features += len(values)
        if num_features:
            torch.cat(pieces, out=self._features[:num_features])
        self._graphs.run(packed)
        return self._logits

    def _pack(self, row: PrefillRow, num_features: int) -> PackedRow:
        text_length, prompt_length = len(row.phone_ids), len(row.prompt_semantic)
        assert len(row.addresses) == row.num_tokens
        assert text_length > 0, "a row without text attends to nothing"
        ids = np.empty(row.num_tokens, np.int32)
        ids[:text_length] = row.phone_ids
        np.subtract(-1, row.prompt_semantic, out=ids[text_length:], casting="unsafe")
        assert ids.max() < self._model.dims.phoneme_vocab_size
        assert ids.min() >= -self._model.dims.vocab_size
        positions = np.concatenate((self._places[:text_length], self._places[:prompt_length]))
        return PackedRow(
            ids, positions, _feature_rows(row, num_features), text_length, row.addresses
        )

    def _launch(self, bucket: int) -> None:
        """Launch everything over the rows that the tables describe."""
        model, x, sums, tables = (
            self._model,
            self._x,
            self._sums,
            self._graphs.memory.tables(bucket),
        )
        launches = PackedLaunches(bucket, tables, overlaps=self._overlaps)
        launches.linear(
            self._features, model.bert_proj, self._projected, rows=(bucket, tables.num_features)
        )
        embeddings = (
            model.ar_text_embedding.word_embeddings.weight,
            model.ar_audio_embedding.word_embeddings.weight,
            model.positions,
            model.ar_text_position.alpha,
            model.ar_audio_position.alpha,
        )
        launches.embed_prompt(x, self._projected, model.bert_proj.bias, embeddings)
        for block, layer in zip(self._blocks, self._layers, strict=True):
            attention = block.self_attn
            weight, bias = attention.in_proj_weight, attention.in_proj_bias
            launches.project(x, weight, bias, self._qkv, layer)
            launches.attend(self._qkv, self._attended, model.dims.num_heads)
            launches.linear(self._attended, attention.out_proj, sums, residual=x)
            launches.norm(sums, block.norm1, x)
            launches.linear(x, block.linear1, self._wide, activation="relu")
            launches.linear(self._wide, block.linear2, sums, residual=x)
            if block is not self._blocks[-1]:
                launches.norm(sums, block.norm2, x)
        some = self.max_rows, tables.num_rows
        launches.norm(sums, self._blocks[-1].norm2, self._last, rows=(*some, tables.lasts))
        launches.linear(self._last, model.ar_predict_layer, self._logits, rows=some)


def _feature_rows(row: PrefillRow, num_before: int) -> Integers | None:
    """Return for each token of a row which of the packed features is its own, or -1."""
    if not row.features:
        return None
    numbers = np.full(row.num_tokens, -1, np.int32)
    for begin, values in row.features:
        end = begin + len(values)
        assert begin >= 0
        assert end <= len(row.phone_ids)
        numbers[begin:end] = np.arange(num_before, num_before + len(values))
        num_before += len(values)
    return numbers
