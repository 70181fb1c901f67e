"""BERT on a CUDA device: all texts packed, one graph per batch.

Computes what ``BertFeatures`` computes, rounding apart; a text's features have the same bits alone
and beside others.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sovits_serve.errors import CheckpointError
from sovits_serve.models.cuda.packed import PackedLaunches, new_rows
from sovits_serve.models.cuda.packed_batch import BucketGraphs, Integers, PackedRow, TableMemory
from sovits_serve.models.text_features.bert import BertFeatures

if TYPE_CHECKING:
    from transformers.models.bert.modeling_bert import BertLayer

TOKEN_BUCKETS = (64, 128, 256, 512, 1024, 2048)
_ACTIVATIONS = ("gelu", "relu")


class _Layer:
    """The parameters of one layer, with queries, keys and values as one product."""

    def __init__(self, layer: "BertLayer") -> None:
        attention, output = layer.attention, layer.output
        parts = attention.self.query, attention.self.key, attention.self.value
        self.project = (
            torch.cat([part.weight.detach() for part in parts]),
            torch.cat([part.bias.detach() for part in parts]),
        )
        # One memory for both: the module goes on with views of what has just been joined.
        for part, weight, bias in zip(
            parts, self.project[0].chunk(3), self.project[1].chunk(3), strict=True
        ):
            part.weight.data, part.bias.data = weight, bias
        self.project_out: nn.Linear = attention.output.dense
        self.norm1: nn.LayerNorm = attention.output.LayerNorm
        self.widen: nn.Linear = layer.intermediate.dense
        self.narrow: nn.Linear = output.dense
        self.norm2: nn.LayerNorm = output.LayerNorm


class PackedBert:
    """Turns Chinese texts into one feature row per phoneme. One thread and stream at a time."""

    def __init__(
        self,
        bert: BertFeatures,
        *,
        max_rows: int = 32,
        token_buckets: Sequence[int] = TOKEN_BUCKETS,
        overlaps: bool = False,
    ) -> None:
        """Allocate what the largest bucket needs.

        Args:
            bert: shares its parameters, which must stay where they are from now on.
            max_rows: most texts of one launch.
            token_buckets: characters, with two more per text, to capture a graph for; the largest
                takes the longest text.
            overlaps: see ``PackedLaunches``.

        Raises:
            CheckpointError: there is no kernel for the model's activation.
        """
        model = bert._model
        config = model.config
        if config.hidden_act not in _ACTIVATIONS:
            raise CheckpointError(f"BERT's hidden_act is {config.hidden_act}, must be gelu or relu")
        self._bert = bert
        self._max_rows, self._max_tokens = max_rows, max(token_buckets)
        assert self._max_tokens >= bert.max_characters + 2
        self._overlaps = overlaps
        self._activation = str(config.hidden_act)
        self._num_heads = int(config.num_attention_heads)
        self._embeddings = model.embeddings
        self._layers = [_Layer(layer) for layer in model.encoder.layer]
        words = self._embeddings.word_embeddings.weight
        hidden, dtype, device = words.shape[1], words.dtype, words.device
        self._places = np.arange(self._max_tokens, dtype=np.int32)

        def rows(width: int, kind: torch.dtype = dtype) -> Tensor:
            return new_rows(self._max_tokens, width, kind, device)

        self._x, self._attended, self._qkv = rows(hidden), rows(hidden), rows(3 * hidden)
        self._wide = rows(int(config.intermediate_size))
        self._sums = rows(hidden, torch.float32)
        memory = TableMemory(self._max_tokens, max_rows, device)
        self._graphs = BucketGraphs(token_buckets, memory, self._launch)

    def capture(self) -> None:
        """Compile and record everything; without a CUDA device, do nothing."""
        if self._x.device.type == "cuda":
            self._graphs.capture()

    @torch.inference_mode()
    def encode(self, items: Sequence[tuple[str, Sequence[int]]]) -> list[Tensor]:
        """Return a feature row for each phoneme of each text; see ``BertFeatures.encode``.

        Nothing waits for the device. What is returned stays valid.
        """
        rows = [self._token_ids(text, word2ph) for text, word2ph in items]
        counts = [np.asarray(word2ph, np.int32) for _, word2ph in items]
        features: list[Tensor] = []
        begin = 0
        while begin < len(rows):
            end = self._end_of_launch(rows, begin)
            features += self._encode(rows[begin:end], counts[begin:end])
            begin = end
        return features

    def _token_ids(self, text: str, word2ph: Sequence[int]) -> list[int]:
        self._bert._check(text, word2ph)
        return self._bert._vocabulary.encode(text)

    def _end_of_launch(self, rows: list[list[int]], begin: int) -> int:
        """Return up to which text one launch goes."""
        end, num_tokens = begin, 0
        while end < min(len(rows), begin + self._max_rows):
            num_tokens += len(rows[end])
            if num_tokens > self._max_tokens:
                break
            end += 1
        return end

    def _encode(self, rows: list[list[int]], counts: list[Integers]) -> list[Tensor]:
        self._graphs.run(
            [
                PackedRow(np.asarray(row, np.int32), self._places[: len(row)], None, len(row))
                for row in rows
            ]
        )
        sources = []
        start = 0
        for row, count in zip(rows, counts, strict=True):
            # The first token of a text is [CLS].
            sources.append(np.repeat(self._places[start + 1 : start + len(row) - 1], count))
            start += len(row)
        index = torch.from_numpy(np.concatenate(sources))
        if self._x.device.type == "cuda":
            index = index.pin_memory().to(self._x.device, non_blocking=True)
        return list(torch.split(self._x.index_select(0, index), [len(part) for part in sources]))

    def _launch(self, bucket: int) -> None:
        """Launch everything over the rows that the tables describe."""
        x, sums, embeddings = self._x, self._sums, self._embeddings
        tables = self._graphs.memory.tables(bucket)
        launches = PackedLaunches(bucket, tables, overlaps=self._overlaps)
        tensors = (
            embeddings.word_embeddings.weight,
            embeddings.position_embeddings.weight,
            embeddings.token_type_embeddings.weight,
        )
        launches.embed_characters(sums, tensors)
        launches.norm(sums, embeddings.LayerNorm, x)
        for layer in self._layers:
            launches.linear(x, layer.project, self._qkv)
            launches.attend(self._qkv, self._attended, self._num_heads)
            launches.linear(self._attended, layer.project_out, sums, residual=x)
            launches.norm(sums, layer.norm1, x)
            launches.linear(x, layer.widen, self._wide, activation=self._activation)
            launches.linear(self._wide, layer.narrow, sums, residual=x)
            launches.norm(sums, layer.norm2, x)
