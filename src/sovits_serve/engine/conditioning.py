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

from sovits_serve.audio.decode import Waveform
from sovits_serve.engine.request import Request
from sovits_serve.models.bundle import Models
from sovits_serve.models.reference.features import (
    LengthPolicy,
    decoder_signal,
    speaker_signal,
    ssl_signal,
)
from sovits_serve.models.reference.spectrogram import linear_spectrogram
from sovits_serve.protocol.messages import PhonemizedText, ReferenceAudio, TextSpan
from sovits_serve.voices.reference_cache import BoundedCache, content_key


@dataclass(frozen=True)
class Conditioning:
    """The voice of one request.

    ``prompt_semantic`` is int64 (T_prompt) and ``prompt_features`` (T_ph, D_text); both are empty
    without a prompt text. ``style`` is (D_style), averaged over all references.
    """

    prompt_phone_ids: tuple[int, ...]
    prompt_semantic: Tensor
    prompt_features: Tensor
    style: Tensor


class Conditioner:
    """Encodes references and texts. Owns the cache; one engine loop owns it."""

    def __init__(
        self,
        models: Models,
        cache: BoundedCache[Tensor],
        *,
        long_reference: LengthPolicy,
        is_row_by_row: bool,
    ) -> None:
        self.cache = cache
        self._models = models
        self._long_reference = long_reference
        self._is_row_by_row = is_row_by_row

    def prepare(self, request: Request) -> Conditioning:
        """Encode the references of a request, and its prompt.

        Raises:
            BadReferenceAudio: a reference is too short, too long or silent.
        """
        reference = request.message.reference
        audios = (reference.audio, *reference.auxiliary)
        style = torch.stack([self._style(audio) for audio in audios]).mean(0)
        prompt_semantic = self._prompt_semantic(reference.audio)
        if reference.prompt_text is None:
            return Conditioning((), prompt_semantic[:0], self._no_features(0), style)
        return Conditioning(
            reference.prompt_text.phone_ids,
            prompt_semantic,
            self._prompt_features(reference.prompt_text),
            style,
        )

    def text_features(self, texts: Rows[PhonemizedText]) -> list[Tensor]:
        """Return features (T_ph, D_text) per text: BERT's inside spans, zeros elsewhere."""
        spans = [span for text in texts for span in text.spans]
        encoded = iter(self._encode_spans(spans))
        features = []
        for text in texts:
            rows = self._no_features(len(text.phone_ids))
            for span in text.spans:
                values = next(encoded)
                rows[span.start : span.start + len(values)] = values
            features.append(rows)
        return features

    def _encode_spans(self, spans: list[TextSpan]) -> list[Tensor]:
        if not spans:
            return []
        assert self._models.bert is not None, "checked when the request was accepted"
        items = [(span.text, span.phonemes_per_character) for span in spans]
        if not self._is_row_by_row:
            return self._models.bert.encode(items)
        return [self._models.bert.encode([item])[0] for item in items]

    def _no_features(self, length: int) -> Tensor:
        size = length, self._models.t2s.dims.text_feature_dim
        return torch.zeros(size, device=self._models.device, dtype=self._models.dtype)

    def _prompt_features(self, text: PhonemizedText) -> Tensor:
        digest = hashlib.sha256(repr((text.phone_ids, text.spans)).encode())
        return self._cached(f"text {digest.hexdigest()}", lambda: self.text_features([text])[0])

    def _style(self, audio: ReferenceAudio) -> Tensor:
        return self._cached(f"style {content_key(audio)}", lambda: self._encode_style(audio))

    def _prompt_semantic(self, audio: ReferenceAudio) -> Tensor:
        return self._cached(f"prompt {content_key(audio)}", lambda: self._encode_prompt(audio))

    def _cached(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        found = self.cache.get(key)
        if found is None:
            found = compute()
            self.cache.put(key, found, found.numel() * found.element_size())
        return found

    def _encode_prompt(self, audio: ReferenceAudio) -> Tensor:
        models = self._models
        signal = ssl_signal(_waveform(audio), self._long_reference)
        ssl = models.hubert.encode([torch.from_numpy(signal)])[0]  # (T_ssl, 768)
        tokens, lengths = models.sovits.extract_prompt_semantic(
            ssl[None], torch.tensor([ssl.size(0)])
        )
        return tokens[0, : int(lengths[0])]

    def _encode_style(self, audio: ReferenceAudio) -> Tensor:
        models = self._models
        signal = decoder_signal(_waveform(audio))
        spectrogram = linear_spectrogram(torch.from_numpy(signal)[None].to(models.device))
        speaker = None
        if models.speaker is not None and models.spec.has_speaker_embedding:
            speaker = models.speaker.embed([torch.from_numpy(speaker_signal(signal))])
        lengths = torch.tensor([spectrogram.size(2)])
        return models.sovits.encode_style(spectrogram, lengths, speaker)[0]


def _waveform(audio: ReferenceAudio) -> Waveform:
    samples = np.frombuffer(audio.samples, dtype="<f4").reshape(audio.num_channels, -1)
    return Waveform(samples, audio.rate_hz)
