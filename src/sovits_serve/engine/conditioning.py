"""What the models read besides the target phonemes: the voice, and features of the text.

References are encoded once per content and cached; text features are computed per batch, the
prompt's are cached. Rows are encoded one by one where results must not depend on neighbours.
"""

import hashlib
from collections.abc import Callable
from collections.abc import Sequence as Rows
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sovits_serve.audio.waveform import Waveform
from sovits_serve.engine.request import Request
from sovits_serve.errors import TextTooLong
from sovits_serve.models.bundle import Models
from sovits_serve.models.reference.features import (
    ReferenceEncoder,
    ReferenceRules,
    prepare_reference,
)
from sovits_serve.protocol.messages import PhonemizedText, ReferenceAudio, TextSpan
from sovits_serve.voices.reference_cache import BoundedCache, content_key

# Texts with phonemes per character to features per phoneme (n, D_text); as ``BertFeatures.encode``.
EncodeSpans = Callable[[Rows[tuple[str, Rows[int]]]], list[Tensor]]
# Where in a text features begin, and the features (n, D_text); what no piece covers is zero.
Piece = tuple[int, Tensor]


# Speech has two or three tokens per phoneme.
_PLENTY_PER_PHONEME = 8


@dataclass(frozen=True)
class Conditioning:
    """The voice of one request.

    ``prompt_semantic`` is int64 (T_prompt) and ``prompt_features`` (T_ph, D_text); both are empty
    without a prompt text. ``style`` is (D_style), averaged over all references.
    """

    prompt_phone_ids: tuple[int, ...]
    prompt_semantic: Tensor
    prompt_tokens: tuple[int, ...]  # the same, on the host
    prompt_features: Tensor
    prompt_pieces: tuple[Piece, ...]  # the same without the zeros
    style: Tensor


@dataclass(frozen=True)
class _Encoded:
    """What is cached of one recording."""

    style: Tensor
    prompt_semantic: Tensor | None  # None for an auxiliary recording
    prompt_tokens: tuple[int, ...] = ()

    @property
    def size_bytes(self) -> int:
        size = self.style.numel() * self.style.element_size()
        if self.prompt_semantic is not None:
            size += self.prompt_semantic.numel() * self.prompt_semantic.element_size()
        return size


class Conditioner:
    """Encodes references and texts. Owns what is cached of them; one engine loop owns it."""

    def __init__(
        self,
        models: Models,
        cache_bytes: int,
        *,
        rules: ReferenceRules,
        is_row_by_row: bool,
        encode_spans: EncodeSpans | None = None,
    ) -> None:
        """Take models and rules.

        Args:
            models: what encodes.
            cache_bytes: of encoded references, and of prompts' features.
            rules: which references are taken.
            is_row_by_row: BERT encodes texts one by one.
            encode_spans: what encodes Chinese texts in place of ``models.bert``.
        """
        self._models = models
        self._encoder = ReferenceEncoder(models.hubert, models.speaker, device=models.device)
        self._references: BoundedCache[_Encoded] = BoundedCache(cache_bytes)
        self._prompts: BoundedCache[Tensor] = BoundedCache(cache_bytes)
        self._rules = rules
        self._is_row_by_row = is_row_by_row
        self._packed_encode = encode_spans
        self.num_encoded = 0  # how often something was encoded that was not cached

    def prepare(self, request: Request) -> Conditioning:
        """Encode the references of a request, and its prompt.

        Raises:
            BadReferenceAudio: a reference is too short, too long or silent.
        """
        reference = request.message.reference
        main = self._reference(reference.audio, is_auxiliary=False)
        assert main.prompt_semantic is not None
        others = [self._reference(audio, is_auxiliary=True) for audio in reference.auxiliary]
        style = main.style
        if others:
            style = torch.stack([style, *(other.style for other in others)]).mean(0)
            self.num_encoded += 1
        text = reference.prompt_text
        if text is None:
            return Conditioning((), main.prompt_semantic[:0], (), self._no_features(0), (), style)
        features = self._prompt_features(text)
        return Conditioning(
            text.phone_ids,
            main.prompt_semantic,
            main.prompt_tokens,
            features,
            tuple((span.start, features[span.start : _end(span)]) for span in text.spans),
            style,
        )

    def feature_pieces(self, texts: Rows[PhonemizedText]) -> list[list[Piece]]:
        """Return BERT's features per text, without the zeros between."""
        if not self._models.t2s.dims.reads_text_features:
            return [[] for _ in texts]
        encoded = iter(self._encode_spans([span for text in texts for span in text.spans]))
        return [[(span.start, next(encoded)) for span in text.spans] for text in texts]

    def text_features(self, texts: Rows[PhonemizedText]) -> list[Tensor]:
        """Return features (T_ph, D_text) per text: BERT's inside spans, zeros elsewhere."""
        features = []
        for text, pieces in zip(texts, self.feature_pieces(texts), strict=True):
            rows = self._no_features(len(text.phone_ids))
            for start, values in pieces:
                rows[start : start + len(values)] = values
            features.append(rows)
        return features

    def _encode_spans(self, spans: list[TextSpan]) -> list[Tensor]:
        if not spans:
            return []
        assert self._models.bert is not None, "checked when the request was accepted"
        items = [(span.text, span.phonemes_per_character) for span in spans]
        if self._packed_encode is not None:
            return self._packed_encode(items)
        if not self._is_row_by_row:
            return self._models.bert.encode(items)
        return [self._models.bert.encode([item])[0] for item in items]

    def _no_features(self, length: int) -> Tensor:
        size = length, self._models.t2s.dims.text_feature_dim
        return torch.zeros(size, device=self._models.device, dtype=self._models.t2s.dtype)

    def _prompt_features(self, text: PhonemizedText) -> Tensor:
        digest = hashlib.sha256(repr((text.phone_ids, text.spans)).encode())
        found = self._prompts.get(digest.hexdigest())
        if found is None:
            self.num_encoded += 1
            found = self.text_features([text])[0]
            size_bytes = found.numel() * found.element_size()
            self._prompts.put(digest.hexdigest(), found, size_bytes)
        return found

    def _reference(self, audio: ReferenceAudio, *, is_auxiliary: bool) -> _Encoded:
        key = f"{'auxiliary' if is_auxiliary else 'reference'} {audio.key or content_key(audio)}"
        found = self._references.get(key)
        if found is None:
            self.num_encoded += 1
            found = self._encode(audio, is_auxiliary=is_auxiliary)
            self._references.put(key, found, found.size_bytes)
        return found

    def _encode(self, audio: ReferenceAudio, *, is_auxiliary: bool) -> _Encoded:
        """Encode one recording alone: results are kept, so they must not depend on neighbours."""
        models = self._models
        # Copied, because torch shares memory with arrays and wants to be able to write to it.
        samples = np.frombuffer(audio.samples, dtype="<f4").copy().reshape(audio.num_channels, -1)
        prepared = prepare_reference(
            Waveform(samples, audio.rate_hz), self._rules, is_auxiliary=is_auxiliary
        )
        features = self._encoder.encode([prepared])[0]
        speaker = features.speaker_embedding
        style = models.sovits.encode_style(
            features.spectrogram[None],
            torch.tensor([features.spectrogram.size(1)]),
            None if speaker is None else speaker[None],
        )[0]
        if features.ssl_features is None:
            return _Encoded(style, None)
        ssl = features.ssl_features[None]
        tokens, lengths = models.sovits.extract_prompt_semantic(ssl, torch.tensor([ssl.size(1)]))
        prompt = tokens[0, : int(lengths[0])]
        return _Encoded(style, prompt, tuple(prompt.tolist()))


def _end(span: TextSpan) -> int:
    return span.start + sum(span.phonemes_per_character)


def check_length(request: Request, conditioning: Conditioning, max_length: int) -> None:
    """See to it that no segment can outgrow its slot.

    One that asks for no ``max_tokens`` gets what there is room for, if speech never needs as much.

    Raises:
        TextTooLong: names the segment and what it needs.
    """
    prompt = len(conditioning.prompt_phone_ids) + len(conditioning.prompt_tokens)
    is_free = request.message.sampling.max_tokens is None
    for sequence in request.sequences:
        num_phones = len(sequence.text.phone_ids)
        room = max_length - prompt - num_phones
        plenty = max(_PLENTY_PER_PHONEME * num_phones, sequence.min_tokens)
        if is_free and plenty <= room < sequence.max_tokens:
            sequence.max_tokens = room
        needed = prompt + num_phones + sequence.max_tokens
        if needed > max_length:
            raise TextTooLong(
                f"segments[{sequence.index}]: {num_phones} phonemes, with a "
                f"prompt of {prompt} and up to {sequence.max_tokens} tokens, need {needed}; "
                f"max_sequence_length is {max_length}. Shorten the segment or lower max_tokens"
            )
