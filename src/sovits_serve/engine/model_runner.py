"""Batches to tensors to results. Makes no policy: it computes what the scheduler decided.

A step prepares references, prefills admitted sequences, decodes running ones, draws one token for
each, and decodes audio windows. With ``batch_invariant`` every decode step computes all slots and
everything else runs row by row, so that the shapes of all matrix products, and with them every bit
of a request's tokens, are independent of its neighbours.
"""

from collections.abc import Sequence as Rows

import torch
from torch import Tensor

from sovits_serve.config import EngineConfig
from sovits_serve.engine.attempts import attempt
from sovits_serve.engine.audio_decoding import AudioDecoder
from sovits_serve.engine.batch import NOT_FINITE, AudioWindow, Batch, DrawnTokens, StepResults
from sovits_serve.engine.conditioning import Conditioner, Conditioning, check_length
from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.request import Request, Sequence
from sovits_serve.engine.sampling import SamplingState, sample
from sovits_serve.errors import ServingError, SynthesisError
from sovits_serve.models.bundle import Models
from sovits_serve.models.t2s.model import PrefillBatch


class ModelRunner:
    """Owns slots, latents and conditionings of one engine."""

    def __init__(self, models: Models, conditioner: Conditioner, config: EngineConfig) -> None:
        self.conditioner = conditioner
        self._models = models
        self._is_invariant = config.batch_invariant == "on"
        self._max_length = config.max_sequence_length
        self._cache = KVCache(
            models.t2s.dims,
            num_slots=config.max_running,
            max_length=config.max_sequence_length,
            device=models.device,
            dtype=models.t2s.dtype,
        )
        self._sampling = SamplingState(
            config.max_running, models.t2s.dims.vocab_size, device=models.device
        )
        self._audio = AudioDecoder(models.sovits, models.device)
        self._slots: dict[tuple[str, int], int] = {}
        self._conditionings: dict[str, Conditioning] = {}

    @torch.inference_mode()
    def execute(self, batch: Batch) -> StepResults:
        """Compute one step. A row that fails fails its own request; the others go on."""
        results = StepResults()
        self._prepare(batch.prepare, results)
        self._tokens(batch, results)
        self._windows(batch.windows, results)
        return results

    def release(self, sequences: list[Sequence]) -> None:
        """Free the slots of sequences that left the T2S batch."""
        for sequence in sequences:
            slot = self._slots.pop(sequence.key, None)
            if slot is not None:
                self._cache.free(slot)

    def close(self, requests: list[Request]) -> None:
        """Forget everything held for requests that ended."""
        for request in requests:
            self._conditionings.pop(request.request_id, None)
            for sequence in request.sequences:
                self._audio.drop(sequence)

    def check_integrity(self, running: list[Sequence]) -> None:
        """Assert that exactly the running sequences hold slots."""
        self._cache.check_integrity()
        assert set(self._slots) == {sequence.key for sequence in running}
        assert len(set(self._slots.values())) == len(self._slots)

    # Stages.

    def _prepare(self, requests: Rows[Request], results: StepResults) -> None:
        def prepare(rows: Rows[Request]) -> None:
            for request in rows:
                conditioning = self.conditioner.prepare(request)
                check_length(request, conditioning, self._max_length)
                self._conditionings[request.request_id] = conditioning

        attempt([[request] for request in requests], prepare, _request_of, results)

    def _tokens(self, batch: Batch, results: StepResults) -> None:
        rows: list[Sequence] = []
        logits: list[Tensor] = []

        def prefill(sequences: Rows[Sequence]) -> None:
            with self._cache.unchanged_on_error():
                logits.append(self._prefill(sequences))
            rows.extend(sequences)

        def decode(sequences: Rows[Sequence]) -> None:
            with self._cache.unchanged_on_error():
                logits.append(self._decode(sequences))
            rows.extend(sequences)

        live = [s for s in batch.prefill if s.key[0] not in results.failures]
        groups = [[sequence] for sequence in live] if self._is_invariant else [live]
        attempt(groups, prefill, _sequence_of, results)
        running = [s for s in batch.decode if s.key[0] not in results.failures]
        attempt([running], decode, _sequence_of, results, can_split=False)

        def draw(some: Rows[Sequence]) -> None:
            scores = torch.cat(logits)
            if len(some) < len(rows):
                places = {row.key: place for place, row in enumerate(rows)}
                scores = scores[torch.tensor([places[row.key] for row in some])]
            self._sample(some, scores, results)

        attempt([rows], draw, _sequence_of, results, can_split=False)

    def _windows(self, windows: Rows[AudioWindow], results: StepResults) -> None:
        def begin(rows: Rows[AudioWindow]) -> None:
            styles = [self._conditionings[w.sequence.key[0]].style for w in rows]
            self._audio.begin(rows, styles)

        def decode(rows: Rows[AudioWindow]) -> None:
            for window, pcm in zip(rows, self._audio.decode(rows), strict=True):
                if isinstance(pcm, ServingError):
                    results.failures[window.sequence.key[0]] = pcm
                else:
                    results.pcm[window.sequence.key] = pcm

        fresh = [window for window in windows if not self._audio.has_latent(window)]
        attempt([fresh], begin, _owner_of, results)
        live = [w for w in windows if w.sequence.key[0] not in results.failures]
        attempt([live], decode, _owner_of, results)

    # Tensors.

    def _prefill(self, sequences: Rows[Sequence]) -> Tensor:
        """Give each sequence a slot, fill it, and return logits (B, V) of its first token."""
        voices = [self._conditionings[sequence.key[0]] for sequence in sequences]
        for sequence, voice in zip(sequences, voices, strict=True):
            if sequence.key not in self._slots:
                self._slots[sequence.key] = self._cache.allocate()
            self._sampling.set_row(
                self._slots[sequence.key],
                sequence.request.message.sampling,
                segment=sequence.index,
                seen=voice.prompt_semantic,
                min_tokens=sequence.min_tokens,
            )
        own_features = self.conditioner.text_features([sequence.text for sequence in sequences])
        batch = PrefillBatch.collate(
            [
                torch.tensor(voice.prompt_phone_ids + sequence.text.phone_ids)
                for sequence, voice in zip(sequences, voices, strict=True)
            ],
            [
                torch.cat([voice.prompt_features, own])
                for voice, own in zip(voices, own_features, strict=True)
            ],
            [voice.prompt_semantic for voice in voices],
            [self._slots[sequence.key] for sequence in sequences],
        )
        return self._models.t2s.prefill(batch, self._cache)

    def _decode(self, sequences: Rows[Sequence]) -> Tensor:
        """Append each sequence's last token and return logits (B, V) of its next one."""
        slots = [self._slots[sequence.key] for sequence in sequences]
        tokens = [sequence.tokens[-1] for sequence in sequences]
        positions = [
            len(self._conditionings[sequence.key[0]].prompt_semantic) + len(sequence.tokens) - 1
            for sequence in sequences
        ]
        if not self._is_invariant:
            return self._models.t2s.decode(
                torch.tensor(tokens), torch.tensor(positions), slots, self._cache
            )
        num_slots = self._cache.num_slots
        active = [False] * num_slots
        all_tokens, all_positions = [0] * num_slots, [0] * num_slots
        for slot, token, position in zip(slots, tokens, positions, strict=True):
            active[slot], all_tokens[slot], all_positions[slot] = True, token, position
        logits = self._models.t2s.decode(
            torch.tensor(all_tokens),
            torch.tensor(all_positions),
            range(num_slots),
            self._cache,
            active,
        )
        return logits[torch.tensor(slots, device=logits.device)]

    def _sample(self, rows: Rows[Sequence], logits: Tensor, results: StepResults) -> None:
        slots = torch.tensor([self._slots[sequence.key] for sequence in rows])
        positions = torch.tensor([len(sequence.tokens) for sequence in rows])
        drawn = sample(logits, self._sampling, slots, positions)
        # The one place where a step waits for the device.
        values = torch.stack([drawn.tokens, drawn.is_eos.long(), drawn.is_finite.long()]).tolist()
        for sequence, token, is_eos, is_finite in zip(rows, *values, strict=True):
            if is_finite:
                results.tokens[sequence.key] = DrawnTokens(() if is_eos else (token,), bool(is_eos))
            else:
                results.failures[sequence.key[0]] = SynthesisError(
                    f"segment {sequence.index}: the T2S logits are {NOT_FINITE}"
                )


def _request_of(request: Request) -> str:
    return request.request_id


def _sequence_of(sequence: Sequence) -> str:
    return sequence.key[0]


def _owner_of(window: AudioWindow) -> str:
    return window.sequence.key[0]
