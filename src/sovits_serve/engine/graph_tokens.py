"""T2S on a CUDA device: packed prefill, then rounds of several steps that run ahead of the host.

A round is launched before the one before is read: while the device decodes, the host takes in what
came last. A row that has ended meanwhile, or whose request was aborted, is computed no further;
what still comes of it is dropped here.

Rows share the pages of one cache. A new row is admitted if all rows, as long as speech usually is,
have room; should some be longer and no page be left, the youngest row returns and runs again later.
"""

import logging
from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as Rows
from dataclasses import dataclass, field

from torch import Tensor

from sovits_serve.config import EngineConfig
from sovits_serve.engine.attempts import attempt
from sovits_serve.engine.batch import NOT_FINITE, DrawnTokens, StepResults
from sovits_serve.engine.conditioning import Conditioner, Conditioning
from sovits_serve.engine.graph_decoder import GraphDecoder
from sovits_serve.engine.paged_cache import PagedCache
from sovits_serve.engine.request import Sequence
from sovits_serve.engine.row_table import NewRow, RowTable
from sovits_serve.errors import SynthesisError
from sovits_serve.models.bundle import Models
from sovits_serve.models.cuda.pages import PAGE_TOKENS, num_pages
from sovits_serve.models.cuda.prefill import PackedPrefill, PrefillRow
from sovits_serve.models.cuda.sample_kernel import IS_EOS, IS_NOT_FINITE, IS_VALID
from sovits_serve.models.cuda.staging import Download

_log = logging.getLogger(__name__)

_STEPS_PER_ROUND = 4
# Speech has about two tokens per phoneme in English, 2.7 in Chinese.
_USUAL_TOKENS_PER_PHONEME = 3
_PREFILL_TOKENS = (256, 512, 1024, 2048, 4096)
_TOKEN_MASK = 0xFFFF


@dataclass
class _Round:
    """What was launched together and is not read yet."""

    first: list[tuple[Rows[Sequence], Download]] = field(default_factory=list)  # (B)
    rows: Rows[Sequence] = ()
    drawn: Download | None = None  # (steps, at least B)


@dataclass
class _Row:
    """A sequence that runs.

    Attributes:
        usual: tokens that it will have if it is as long as speech usually is.
        most: tokens that it can have.
        reached: tokens that it can have after all rounds that are launched.
    """

    slot: int
    usual: int
    most: int
    reached: int


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
        self._cache = PagedCache(
            dims,
            num_slots=num_slots,
            num_tokens=config.kv_cache_tokens,
            max_length=max_length,
            device=models.device,
            dtype=models.dtype,
        )
        layers = [self._cache.layer(index) for index in range(dims.num_layers)]
        self._table = RowTable(num_slots, dims.vocab_size, models.device)
        self._decoder = GraphDecoder(
            models.t2s, self._cache, self._table, num_slots=num_slots, num_steps=_STEPS_PER_ROUND
        )
        buckets = [size for size in _PREFILL_TOKENS if size < max_length]
        self._prefill = PackedPrefill(
            models.t2s,
            layers,
            max_rows=config.max_prefill_rows,
            token_buckets=(*buckets, max(max_length, _PREFILL_TOKENS[0])),
        )
        self._rows: dict[tuple[str, int], _Row] = {}  # the oldest first
        self._has_told = False
        self._pending: deque[_Round] = deque()
        self._prefill.capture()
        self._decoder.capture()

    def launch(self, prefill: Rows[Sequence], decode: Rows[Sequence], results: StepResults) -> bool:
        """Start new rows, and have all rows decode a round.

        Returns:
            Whether a round was launched. If not, there may be room once the last one was read.
        """
        launched = _Round()

        def begin(rows: Rows[Sequence]) -> None:
            launched.first.append((tuple(rows), Download(self._begin(rows))))

        failures = results.failures
        if not self._grow(decode, results):
            results.returned.update(s.key for s in prefill if s.key[0] not in failures)
            return False
        live = [sequence for sequence in prefill if sequence.key[0] not in failures]
        attempt(self._groups(self._admit(live, results)), begin, _request_of, results)
        rows = [s for s in (*decode, *live) if s.key in self._rows and s.key[0] not in failures]
        if not rows:
            return False
        for sequence in rows:
            row = self._rows[sequence.key]
            row.reached = _next_reached(row)
        self._cache.upload()
        launched.rows = tuple(rows)
        slots = [self._rows[sequence.key].slot for sequence in rows]
        launched.drawn = Download(self._decoder.decode(slots))
        self._pending.append(launched)
        return True

    def collect(self, results: StepResults, *, leave: int) -> None:
        """Read rounds, oldest first, until ``leave`` are left."""
        while len(self._pending) > leave:
            self._read(self._pending.popleft(), results)

    def release(self, sequences: Rows[Sequence]) -> None:
        """Free what sequences held that left the batch."""
        slots = [self._rows.pop(s.key).slot for s in sequences if s.key in self._rows]
        try:
            if slots:
                self._table.stop(slots)
        finally:  # also when interrupted; a row that is launched no more computes nothing
            for slot in slots:
                self._cache.free(slot)

    def check_integrity(self, running: Rows[Sequence]) -> None:
        """Assert that exactly the running sequences hold slots and pages."""
        assert set(self._rows) == {sequence.key for sequence in running}
        slots = [row.slot for row in self._rows.values()]
        assert len(set(slots)) == len(slots)
        self._cache.check_integrity(slots)

    def _grow(self, decode: Rows[Sequence], results: StepResults) -> bool:
        """Give rows pages for the next round; return whether there were enough.

        If not, and nothing is under way that may free some, the youngest rows return.
        """
        rows = {s.key: self._rows[s.key] for s in decode if s.key[0] not in results.failures}
        while self._num_missing(rows.values()) > self._cache.num_free_pages:
            if self._pending:
                return False
            youngest = next(sequence for sequence in reversed(decode) if sequence.key in rows)
            del rows[youngest.key]
            self._give_up(youngest, results)
        for row in rows.values():
            self._cache.grow(row.slot, _next_reached(row))
        return True

    def _num_missing(self, rows: Iterable[_Row]) -> int:
        return sum(self._cache.num_missing(row.slot, _next_reached(row)) for row in rows)

    def _give_up(self, sequence: Sequence, results: StepResults) -> None:
        level = logging.DEBUG if self._has_told else logging.WARNING
        _log.log(
            level,
            "no page of the KV cache is left: segment %d of request %s begins again later, with "
            "the same tokens; a larger kv_cache_tokens avoids it (told once)",
            sequence.index,
            sequence.key[0],
        )
        self._has_told = True
        self.release([sequence])
        results.returned.add(sequence.key)

    def _admit(self, sequences: Rows[Sequence], results: StepResults) -> list[Sequence]:
        """Give slots and pages to those that there is room for; the others return."""
        planned = sum(num_pages(_expected(row)) for row in self._rows.values())
        admitted: list[Sequence] = []
        is_full = False
        for sequence in sequences:
            length = self._prompt_length(sequence)
            most = length + sequence.max_tokens
            usual = min(most, length + _usual_tokens(sequence))
            planned += num_pages(usual)
            is_full |= planned > self._cache.num_pages and bool(self._rows)
            if is_full:  # nor does a shorter one behind it go first
                results.returned.add(sequence.key)
                continue
            slot = self._cache.allocate()
            self._cache.grow(slot, min(most, length + _STEPS_PER_ROUND))
            self._rows[sequence.key] = _Row(slot, usual, most, length)
            admitted.append(sequence)
        return admitted

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
        """Fill the slots of sequences, and return their first draws int32 (B)."""
        rows: list[PrefillRow] = []
        new_rows: list[NewRow] = []
        features = self._conditioner.feature_pieces([sequence.text for sequence in sequences])
        for sequence, own in zip(sequences, features, strict=True):
            voice = self._conditionings[sequence.key[0]]
            slot, length = self._rows[sequence.key].slot, self._prompt_length(sequence)
            prompt_phones = voice.prompt_phone_ids
            pieces = [
                *voice.prompt_pieces,
                *((start + len(prompt_phones), values) for start, values in own),
            ]
            phones = prompt_phones + sequence.text.phone_ids
            addresses = self._cache.addresses(slot, length)
            rows.append(PrefillRow(phones, pieces, voice.prompt_tokens, addresses))
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


def _usual_tokens(sequence: Sequence) -> int:
    """Return how many tokens a sequence will draw if it is as long as speech usually is."""
    spoken = _USUAL_TOKENS_PER_PHONEME * len(sequence.text.phone_ids)
    known = len(sequence.tokens) + PAGE_TOKENS if sequence.tokens else 0  # it has returned
    return max(spoken, known, sequence.min_tokens, _STEPS_PER_ROUND)


def _expected(row: _Row) -> int:
    """Return how many tokens a row is to have room for: one that is longer than usual grows on."""
    if row.reached <= row.usual:
        return row.usual
    return min(row.most, row.reached + PAGE_TOKENS)


def _next_reached(row: _Row) -> int:
    """Return the tokens that a row can have after one more round."""
    return min(row.most, row.reached + _STEPS_PER_ROUND)


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
