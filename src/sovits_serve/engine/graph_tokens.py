"""T2S on a CUDA device: packed prefill, then rounds of several steps that run ahead of the host.

A round is launched before the one before is read: while the device decodes, the host takes in what
came last. A row that has ended meanwhile, or whose request was aborted, is computed no further;
what still comes of it is dropped here.
"""

from collections import deque
from collections.abc import Sequence as Rows
from dataclasses import dataclass, field

from torch import Tensor

from sovits_serve.config import EngineConfig
from sovits_serve.engine.attempts import attempt
from sovits_serve.engine.batch import NOT_FINITE, DrawnTokens, StepResults
from sovits_serve.engine.conditioning import Conditioner, Conditioning
from sovits_serve.engine.graph_decoder import GraphDecoder
from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.request import Sequence
from sovits_serve.engine.row_table import NewRow, RowTable
from sovits_serve.errors import SynthesisError
from sovits_serve.models.bundle import Models
from sovits_serve.models.cuda.prefill import PackedPrefill, PrefillRow
from sovits_serve.models.cuda.sample_kernel import IS_EOS, IS_NOT_FINITE, IS_VALID
from sovits_serve.models.cuda.staging import Download

_STEPS_PER_ROUND = 4
_PREFILL_TOKENS = (256, 512, 1024, 2048, 4096)
_TOKEN_MASK = 0xFFFF


@dataclass
class _Round:
    """What was launched together and is not read yet."""

    first: list[tuple[Rows[Sequence], Download]] = field(default_factory=list)  # (B)
    rows: Rows[Sequence] = ()
    drawn: Download | None = None  # (steps, at least B)


class GraphTokens:
    """Owns the slots of one engine's T2S rows. All calls on one stream."""

    def __init__(
        self,
        models: Models,
        conditioner: Conditioner,
        conditionings: dict[str, Conditioning],
        config: EngineConfig,
    ) -> None:
        """Allocate everything, and capture all graphs.

        ``conditionings`` is the runner's: the voice of each request, by its id.
        """
        dims = models.t2s.dims
        num_slots, max_length = config.max_running, config.max_sequence_length
        self._conditioner = conditioner
        self._conditionings = conditionings
        self._cache = KVCache(
            dims,
            num_slots=num_slots,
            max_length=max_length,
            device=models.device,
            dtype=models.dtype,
        )
        layers = [self._cache.layer(index) for index in range(dims.num_layers)]
        self._table = RowTable(num_slots, dims.vocab_size, models.device)
        self._decoder = GraphDecoder(
            models.t2s, layers, self._table, num_slots=num_slots, num_steps=_STEPS_PER_ROUND
        )
        buckets = [size for size in _PREFILL_TOKENS if size < max_length]
        self._prefill = PackedPrefill(
            models.t2s,
            layers,
            max_rows=config.max_prefill_rows,
            token_buckets=(*buckets, max(max_length, _PREFILL_TOKENS[0])),
        )
        self._slots: dict[tuple[str, int], int] = {}
        self._pending: deque[_Round] = deque()
        self._prefill.capture()
        self._decoder.capture()

    def launch(self, prefill: Rows[Sequence], decode: Rows[Sequence], results: StepResults) -> None:
        """Start new rows, and have all rows decode a round."""
        launched = _Round()

        def begin(rows: Rows[Sequence]) -> None:
            launched.first.append((tuple(rows), Download(self._begin(rows))))

        live = [sequence for sequence in prefill if sequence.key[0] not in results.failures]
        attempt(self._groups(live), begin, _request_of, results)
        rows = [s for s in (*decode, *live) if s.key[0] not in results.failures]
        if rows:
            launched.rows = tuple(rows)
            slots = [self._slots[sequence.key] for sequence in rows]
            launched.drawn = Download(self._decoder.decode(slots))
            self._pending.append(launched)

    def collect(self, results: StepResults, *, leave: int) -> None:
        """Read rounds, oldest first, until ``leave`` are left."""
        while len(self._pending) > leave:
            self._read(self._pending.popleft(), results)

    def release(self, sequences: Rows[Sequence]) -> None:
        """Free the slots of sequences that left the batch."""
        slots = [self._slots.pop(s.key) for s in sequences if s.key in self._slots]
        if slots:
            self._table.stop(slots)
        for slot in slots:
            self._cache.free(slot)

    def check_integrity(self, running: Rows[Sequence]) -> None:
        """Assert that exactly the running sequences hold slots (waits for the device)."""
        self._cache.check_integrity()
        assert set(self._slots) == {sequence.key for sequence in running}
        assert len(set(self._slots.values())) == len(self._slots)

    def _groups(self, sequences: Rows[Sequence]) -> list[list[Sequence]]:
        """Divide sequences into what one prefill can take each."""
        groups: list[list[Sequence]] = []
        left_tokens = 0
        for sequence in sequences:
            needed = self._prompt_length(sequence)
            full = not groups or len(groups[-1]) == self._prefill.max_rows
            if full or needed > left_tokens:
                groups.append([])
                left_tokens = self._prefill.max_tokens
            groups[-1].append(sequence)
            left_tokens -= needed
        return groups

    def _prompt_length(self, sequence: Sequence) -> int:
        voice = self._conditionings[sequence.key[0]]
        prompt = len(voice.prompt_phone_ids) + len(voice.prompt_tokens)
        return prompt + len(sequence.text.phone_ids)

    def _begin(self, sequences: Rows[Sequence]) -> Tensor:
        """Give sequences slots, fill them, and return their first draws int32 (B)."""
        rows: list[PrefillRow] = []
        new_rows: list[NewRow] = []
        features = self._conditioner.feature_pieces([sequence.text for sequence in sequences])
        for sequence, own in zip(sequences, features, strict=True):
            voice = self._conditionings[sequence.key[0]]
            if sequence.key not in self._slots:
                self._slots[sequence.key] = self._cache.allocate()
            slot, length = self._slots[sequence.key], self._prompt_length(sequence)
            self._cache.reserve(slot, length + sequence.max_tokens)
            prompt_phones = voice.prompt_phone_ids
            pieces = [
                *voice.prompt_pieces,
                *((start + len(prompt_phones), values) for start, values in own),
            ]
            phones = prompt_phones + sequence.text.phone_ids
            rows.append(PrefillRow(phones, pieces, voice.prompt_tokens, slot))
            new_rows.append(
                NewRow(
                    slot,
                    length,
                    voice.prompt_semantic,
                    sequence.request.message.sampling,
                    sequence.index,
                    min_tokens=sequence.min_tokens,
                    max_tokens=sequence.max_tokens,
                )
            )
        logits = self._prefill.run(rows)
        self._table.admit(new_rows)
        return self._table.draw_first(logits, len(rows))

    def _read(self, launched: _Round, results: StepResults) -> None:
        values: dict[int, list[int]] = {}
        for rows, download in launched.first:
            for sequence, value in zip(rows, download.wait().tolist(), strict=True):
                values[id(sequence)] = [value]
        assert launched.drawn is not None
        columns = launched.drawn.wait().t().tolist()
        for sequence, column in zip(launched.rows, columns, strict=False):
            if not sequence.request.is_closed:
                _take(sequence, values.get(id(sequence), []) + column, results)


def _take(sequence: Sequence, values: Rows[int], results: StepResults) -> None:
    """Put what a row drew into the results; a value without IS_VALID is no draw."""
    tokens: list[int] = []
    is_eos = False
    for value in values:
        if value & IS_NOT_FINITE:
            results.failures[sequence.key[0]] = SynthesisError(
                f"segment {sequence.index}: the T2S logits are {NOT_FINITE}"
            )
            return
        if value & IS_EOS:
            is_eos = True
        elif value & IS_VALID:
            tokens.append(value & _TOKEN_MASK)
    if tokens or is_eos:
        results.tokens[sequence.key] = DrawnTokens(tuple(tokens), is_eos)


def _request_of(sequence: Sequence) -> str:
    return sequence.key[0]
