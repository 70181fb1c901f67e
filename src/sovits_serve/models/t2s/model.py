"""The T2S model: phonemes and a semantic prompt in, logits of the next semantic token out.

Eager PyTorch, CPU and CUDA with the same code, float32, bfloat16 or float16. Knows no requests,
no sampling and no slot ownership; lengths and slot numbers stay on the host, so nothing here
waits for the device.

TF32: this module neither sets nor reads ``torch.backends``; float32 on CUDA is exact unless the
process turned TF32 on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sovits_serve.models.spec import T2SDims
from sovits_serve.models.t2s.attention import SlotCache, prompt_mask, write_prompt
from sovits_serve.models.t2s.block import T2SBlock
from sovits_serve.models.t2s.embedding import (
    MAX_POSITIONS,
    PositionScale,
    TokenEmbedding,
    sine_positions,
)
from sovits_serve.models.weights import WeightSource, build_module


@dataclass(frozen=True)
class PrefillBatch:
    """Rows to start, right-padded; text and prompt lengths may differ from row to row.

    ``phone_lengths`` (at least 1) and ``prompt_lengths`` (0 or more) live on the CPU, for the
    cache counts on the host.
    """

    phone_ids: Tensor  # int64 (B, T_ph)
    phone_lengths: Tensor  # int64 (B)
    text_features: Tensor  # float (B, T_ph, D_text)
    prompt_semantic: Tensor  # int64 (B, T_pr)
    prompt_lengths: Tensor  # int64 (B)
    slots: tuple[int, ...]

    @classmethod
    def collate(
        cls,
        phone_ids: Sequence[Tensor],
        text_features: Sequence[Tensor],
        prompt_semantic: Sequence[Tensor],
        slots: Sequence[int],
    ) -> Self:
        """Pad rows: ``phone_ids[i]`` (T_ph), ``text_features[i]`` (T_ph, D), a prompt (T_pr)."""
        return cls(
            pad_sequence(list(phone_ids), batch_first=True),
            torch.tensor([len(row) for row in phone_ids]),
            pad_sequence(list(text_features), batch_first=True),
            pad_sequence(list(prompt_semantic), batch_first=True),
            torch.tensor([len(row) for row in prompt_semantic]),
            tuple(slots),
        )


class Layers(nn.Module):
    """The stack of blocks, under upstream's name ``h.layers``."""

    def __init__(self, dims: T2SDims) -> None:
        super().__init__()
        blocks = (T2SBlock(dims.hidden, dims.num_heads) for _ in range(dims.num_layers))
        self.layers = nn.ModuleList(blocks)


class T2SModel(nn.Module):
    """The autoregressive text-to-semantic transformer.

    Source: GPT-SoVITS 48b1a01, AR/models/t2s_model.py, Text2SemanticDecoder. Differs: a slot
    cache with true lengths instead of left padding and concatenation, a prompt per row.
    """

    positions: Tensor

    def __init__(self, dims: T2SDims) -> None:
        super().__init__()
        self.dims = dims
        self.bert_proj = nn.Linear(dims.text_feature_dim, dims.hidden)
        self.ar_text_embedding = TokenEmbedding(dims.phoneme_vocab_size, dims.hidden)
        self.ar_text_position = PositionScale()
        self.ar_audio_embedding = TokenEmbedding(dims.vocab_size, dims.hidden)
        self.ar_audio_position = PositionScale()
        self.h = Layers(dims)
        self.ar_predict_layer = nn.Linear(dims.hidden, dims.vocab_size, bias=False)
        table = sine_positions(MAX_POSITIONS, dims.hidden)  # in no checkpoint
        self.register_buffer("positions", table, persistent=False)
        self._is_int8 = False
        self._blocks = tuple(block for block in self.h.layers if isinstance(block, T2SBlock))

    @classmethod
    def from_weights(
        cls,
        dims: T2SDims,
        source: WeightSource,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> Self:
        """Build the model from a checkpoint's tensors (names with the prefix ``model.``).

        Raises:
            CheckpointError: a tensor is missing, has another shape, or is not finite.
        """
        model = build_module(lambda: cls(dims), source, device=device, dtype=dtype, prefix="model.")
        model.positions = model.positions.to(device, dtype)
        return model

    def use_int8(self) -> int:
        """Compute all layers with 8-bit weights from now on (float32 on a CPU).

        Returns:
            The bytes that they take; 0 if it was so already.
        """
        if self._is_int8:
            return 0
        self._is_int8 = True
        assert self.positions.device.type == "cpu"
        assert self.positions.dtype is torch.float32
        return sum(block.use_int8() for block in self._blocks)

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of its activations, and of a cache's keys and values."""
        return self.positions.dtype

    @torch.inference_mode()
    def prefill(self, batch: PrefillBatch, cache: SlotCache) -> Tensor:
        """Fill empty slots with text and prompt.

        Every row equals that row alone up to rounding; to make it bit-equal whatever else
        waits, call with one row at a time.

        Args:
            batch: the rows; ``batch.slots`` are allocated and empty.
            cache: gets ``phone_lengths + prompt_lengths`` tokens per slot.

        Returns:
            float32 (B, V), the logits of each row's first token.
        """
        text_lengths, prompt_lengths = batch.phone_lengths.tolist(), batch.prompt_lengths.tolist()
        lengths = [text + prompt for text, prompt in zip(text_lengths, prompt_lengths, strict=True)]
        assert min(text_lengths) > 0, "a row without text attends to nothing"
        assert cache.max_length <= MAX_POSITIONS
        cache.begin_prefill(batch.slots, lengths)
        x = self._embed_prompt(batch, max(lengths))  # (B, T, D)
        mask = prompt_mask(batch.phone_lengths.to(x.device), x.shape[1], x.dtype)
        for index, block in enumerate(self._blocks):
            query, keys_values = block.project_prompt(x)
            write_prompt(cache.layer(index), keys_values, batch.slots, lengths)
            x = block.attend_prompt(x, query, keys_values, mask)
        cache.advance(batch.slots, lengths)
        last = torch.tensor(lengths, device=x.device) - 1
        return self._predict(x[torch.arange(len(lengths), device=x.device), last])

    @torch.inference_mode()
    def decode(
        self,
        tokens: Tensor,
        audio_positions: Tensor,
        slots: Sequence[int],
        cache: SlotCache,
        active: Sequence[bool] | None = None,
    ) -> Tensor:
        """Append one token to each slot.

        Args:
            tokens: int64 (B), the token to append (sampled from the logits before).
            audio_positions: int64 (B), its place among the row's audio tokens, the prompt's
                first being 0: prompt length + number of tokens generated before it.
            slots: the rows' slots, without repetition.
            cache: gets one token per slot.
            active: given, makes the step's shapes independent of who runs: ``slots`` are then
                all slots in order, attention reads their whole capacity, and only rows where
                ``active`` is true keep what they wrote. The other rows compute garbage from
                whatever valid ids they are given.

        Returns:
            float32 (B, V), the logits of each row's next token.
        """
        view = cache.begin_decode(slots, active)
        device = self.positions.device
        place = self.positions[audio_positions.to(device)]  # (B, D)
        x = self.ar_audio_embedding(tokens.to(device)) + self.ar_audio_position.alpha * place
        for index, block in enumerate(self._blocks):
            x = block.decode(x, cache.layer(index), view)
        cache.advance(slots, [1] * len(slots) if active is None else [int(on) for on in active])
        return self._predict(x)

    def _embed_prompt(self, batch: PrefillBatch, length: int) -> Tensor:
        """Return (B, length, D): each row's text, then its prompt, then padding."""
        device = self.positions.device
        text = self.ar_text_embedding(batch.phone_ids.to(device))
        text = text + self.bert_proj(batch.text_features.to(device, self.positions.dtype))
        text = text + self.ar_text_position.alpha * self.positions[: text.shape[1]]
        audio = self.ar_audio_embedding(batch.prompt_semantic.to(device))
        audio = audio + self.ar_audio_position.alpha * self.positions[: audio.shape[1]]
        position = torch.arange(length, device=device).expand(len(batch.slots), length)
        text_lengths = batch.phone_lengths.to(device)[:, None]
        # Of cat(text, audio), whose audio begins at T_ph, take the row's own parts in order.
        shift = (text.shape[1] - text_lengths) * (position >= text_lengths)
        source = (position + shift).clamp(max=text.shape[1] + audio.shape[1] - 1)
        both = torch.cat((text, audio), dim=1)  # (B, T_ph + T_pr, D)
        return both.gather(1, source[:, :, None].expand(-1, -1, self.dims.hidden))

    def _predict(self, x: Tensor) -> Tensor:
        logits: Tensor = self.ar_predict_layer(x)
        return logits.float()
