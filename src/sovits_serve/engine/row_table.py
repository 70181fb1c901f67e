"""What is known of the rows that T2S decodes on a CUDA device, kept there; and their draws."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from sovits_serve.engine.random_stream import as_signed
from sovits_serve.engine.sampling import MIN_TEMPERATURE
from sovits_serve.models.cuda.decode_kernels import NUM_FIELDS, SlotField
from sovits_serve.models.cuda.sample_kernel import sample_kernel
from sovits_serve.models.cuda.staging import Uploads, as_int32
from sovits_serve.protocol.messages import SamplingParams


@dataclass(frozen=True)
class NewRow:
    """A sequence whose prompt is in its slot's cache, about to draw its first token."""

    slot: int
    length: int  # cached tokens
    prompt: Tensor  # int64 (T_prompt), on the device: seen by the repetition penalty
    params: SamplingParams
    segment: int
    min_tokens: int
    max_tokens: int


class RowTable:
    """One line of numbers per slot (``SlotField``), and the tokens its penalty covers.

    Everything is queued on the current stream.
    """

    def __init__(self, num_slots: int, vocab_size: int, device: torch.device) -> None:
        def integers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=device)

        self._vocab = vocab_size
        self.fields = integers(num_slots, NUM_FIELDS)
        self._seen = torch.zeros(num_slots, vocab_size, dtype=torch.int8, device=device)
        self._new_rows = integers(num_slots)
        self._new_fields = integers(num_slots, NUM_FIELDS)
        self._first_drawn = integers(num_slots)
        self._ended = integers(num_slots)
        self._uploads = Uploads(num_slots * NUM_FIELDS, device)

    @torch.inference_mode()
    def admit(self, rows: Sequence[NewRow]) -> None:
        """Put rows into their slots' lines; ``draw_first`` follows."""
        values: list[int] = []
        for row in rows:
            values += _fields_of(row, self._vocab)
            self._seen[row.slot].zero_()
            if len(row.prompt):
                self._seen[row.slot].index_fill_(0, row.prompt, 1)
        self._uploads.upload(values, self._new_fields)
        self._uploads.upload([row.slot for row in rows], self._new_rows)
        index = self._new_rows[: len(rows)].long()
        self.fields.index_copy_(0, index, self._new_fields[: len(rows)])

    @torch.inference_mode()
    def draw_first(self, logits: Tensor, num_rows: int) -> Tensor:
        """Draw the first token of the rows just admitted.

        Args:
            logits: float32 (at least num_rows, V), in the order of ``admit``.
            num_rows: how many.

        Returns:
            int32 (num_rows), token and flags; valid until the next call.
        """
        drawn: Tensor = self._first_drawn[:num_rows]
        self.draw(drawn, logits, self._new_rows, is_appended=False)
        return drawn

    @torch.inference_mode()
    def draw(self, drawn: Tensor, logits: Tensor, rows: Tensor, *, is_appended: bool) -> None:
        """Draw a token for each row that runs, and take it into the row's line.

        Args:
            drawn: int32 (B), gets token and flags; 0 for a row that does not run.
            logits: float32 (at least B, V).
            rows: int32 (at least B), each row's slot, -1 for none.
            is_appended: the step has written one token to each row's cache.
        """
        sample_kernel[(len(drawn),)](
            drawn,
            logits,
            rows,
            self.fields,
            self._seen,
            vocab=self._vocab,
            block_v=triton.next_power_of_2(self._vocab),
            is_appended=is_appended,
            early=False,
            num_warps=4,
        )

    @torch.inference_mode()
    def stop(self, slots: Sequence[int]) -> None:
        """Have slots run no more."""
        self._uploads.upload(slots, self._ended)
        index = self._ended[: len(slots)].long()
        self.fields[:, SlotField.ACTIVE].index_fill_(0, index, 0)


def _fields_of(row: NewRow, vocab_size: int) -> list[int]:
    """Return a slot's numbers as int32, in the order of ``SlotField``."""
    params, seed = row.params, as_signed(row.params.seed)
    values = [0] * NUM_FIELDS
    values[SlotField.ACTIVE] = 1
    values[SlotField.LENGTH] = row.length
    values[SlotField.PROMPT] = len(row.prompt)
    values[SlotField.MAX_TOKENS] = row.max_tokens
    values[SlotField.MIN_TOKENS] = row.min_tokens
    values[SlotField.TOP_K] = min(params.top_k or vocab_size, vocab_size)
    values[SlotField.TOP_P] = _float_bits(params.top_p)
    values[SlotField.TEMPERATURE] = _float_bits(max(params.temperature, MIN_TEMPERATURE))
    values[SlotField.PENALTY] = _float_bits(params.repetition_penalty)
    values[SlotField.SEED_LOW] = as_int32(seed)
    values[SlotField.SEED_HIGH] = as_int32(seed >> 32)
    values[SlotField.SEGMENT] = as_int32(row.segment)
    return values


def _float_bits(value: float) -> int:
    bits: int = struct.unpack("<i", struct.pack("<f", value))[0]
    return bits
