"""The SoVITS decoder of v1, v2, v2Pro and v2ProPlus: semantic tokens to a waveform.

Every stage takes rows of different lengths, and each row equals that row alone. Pass lengths on
the CPU where possible: full batches then skip all masking. Rates: tokens 25 Hz, frames 50 Hz.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from sovits_serve.models.layers.time_convolution import lay_out_channels_last
from sovits_serve.models.reference.style import StyleEncoder
from sovits_serve.models.sovits.flow import Flow
from sovits_serve.models.sovits.generator import Generator, context_frames
from sovits_serve.models.sovits.semantic_tokenizer import SemanticTokenizer
from sovits_serve.models.sovits.text_encoder import (
    EncodedFrames,
    TextEncoder,
    apply_speed,
    stretched_length,
)
from sovits_serve.models.spec import ModelSpec, SovitsDims
from sovits_serve.models.weights import WeightSource, build_module


@dataclass(frozen=True)
class Latents:
    """What the generator turns into samples."""

    z: Tensor  # (B, inter, T), zero behind each row's end
    lengths: Tensor  # int64 (B), in frames


class SovitsModel(nn.Module):
    """All parts of one checkpoint.

    Source: GPT-SoVITS 48b1a01, module/models.py, SynthesizerTrn. Differs: batched, in stages, noise
    is an argument, the semantic tokenizer stays in float32.
    """

    def __init__(
        self,
        spec: ModelSpec,
        dims: SovitsDims,
        *,
        tokenizer: SemanticTokenizer,
        style_encoder: StyleEncoder,
        text_encoder: TextEncoder,
        flow: Flow,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.dims = dims
        self.tokenizer = tokenizer
        self.style_encoder = style_encoder
        self.text_encoder = text_encoder
        self.flow = flow
        self.generator = generator

    @classmethod
    def from_weights(
        cls,
        spec: ModelSpec,
        dims: SovitsDims,
        source: WeightSource,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> Self:
        """Build the model and fill it from a checkpoint.

        Raises:
            CheckpointError: a tensor is missing or does not fit, or the dimensions contradict.
        """
        assert spec.decoder == "generator", f"{spec.version} has no generator"
        generator = build_module(
            lambda: Generator(dims), source, device=device, dtype=dtype, prefix="dec."
        )
        lay_out_channels_last(generator)
        return cls(
            spec,
            dims,
            tokenizer=build_module(
                lambda: SemanticTokenizer(dims), source, device=device, dtype=torch.float32
            ),
            style_encoder=build_module(
                lambda: StyleEncoder(spec, dims), source, device=device, dtype=dtype
            ),
            text_encoder=build_module(
                lambda: TextEncoder(dims), source, device=device, dtype=dtype, prefix="enc_p."
            ),
            flow=build_module(
                lambda: Flow(dims.inter_channels, dims.hidden_channels, dims.style_dim),
                source,
                device=device,
                dtype=dtype,
                prefix="flow.",
            ),
            generator=generator,
        ).eval()

    @property
    def dtype(self) -> torch.dtype:
        """Return what the decoder computes in."""
        return self.text_encoder.proj.weight.dtype

    @property
    def generator_context_frames(self) -> int:
        """Return how many frames to either side the samples of a frame depend on, exactly."""
        return context_frames(self.dims)

    def extract_prompt_semantic(
        self, ssl_features: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return semantic tokens (B, T // 2) int64 and their lengths.

        ``ssl_features`` is (B, T, 768), right-padded; an odd last frame is dropped.
        """
        return self.tokenizer(ssl_features), lengths // 2

    def encode_style(
        self, spectrogram: Tensor, lengths: Tensor, speaker_embedding: Tensor | None = None
    ) -> Tensor:
        """Return one style (B, D_style) per reference; average them for several references.

        Args:
            spectrogram: (B, 1025, T) linear magnitudes, right-padded.
            lengths: int64 (B).
            speaker_embedding: (B, 20480) where ``spec.has_speaker_embedding``, else not read.
        """
        if speaker_embedding is not None:
            speaker_embedding = speaker_embedding.to(self.dtype)
        style: Tensor = self.style_encoder(spectrogram.to(self.dtype), lengths, speaker_embedding)
        return style

    def num_frames(self, num_tokens: int, speed: float) -> int:
        """Return how many frames ``num_tokens`` become at ``speed``."""
        return stretched_length(num_tokens * self.spec.frames_per_token, speed)

    def encode_semantic(
        self,
        semantic_tokens: Tensor,
        token_lengths: Tensor,
        phone_ids: Tensor,
        phone_lengths: Tensor,
        style: Tensor,
    ) -> EncodedFrames:
        """Encode tokens and phonemes to frames, before speed and projection.

        Args:
            semantic_tokens: int64 (B, T_sem), right-padded with any valid token.
            token_lengths: int64 (B).
            phone_ids: int64 (B, T_ph), target phonemes only, right-padded with any valid id.
            phone_lengths: int64 (B).
            style: (B, D_style).
        """
        repeats = self.spec.frames_per_token
        quantized = self.tokenizer.embed(semantic_tokens).to(self.dtype).transpose(1, 2)
        frames: EncodedFrames = self.text_encoder(
            quantized.repeat_interleave(repeats, dim=2),  # (B, ssl_dim, T)
            token_lengths * repeats,
            phone_ids,
            phone_lengths,
            self.style_encoder.for_text(style.to(self.dtype)),
        )
        return frames

    def apply_speed(
        self, x: Tensor, lengths: Tensor, speeds: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Stretch frames ``x`` (B, hidden, T) and their lengths, each row by its own speed."""
        return apply_speed(x, lengths, speeds)

    def project(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log deviation (B, inter, T) of the latent of frames ``x``."""
        return self.text_encoder.project(x, lengths)

    def sample_latent(
        self,
        mean: Tensor,
        log_deviation: Tensor,
        lengths: Tensor,
        style: Tensor,
        *,
        noise: Tensor,
        noise_scale: float,
    ) -> Tensor:
        """Draw the latent with the given noise and run the flow over it.

        Args:
            mean: (B, inter, T).
            log_deviation: (B, inter, T); its exponential is taken in float32.
            lengths: int64 (B), in frames.
            style: (B, D_style).
            noise: float32 (B, inter, T), unit normal.
            noise_scale: factor on the deviation; 0 gives the mean.

        Returns:
            (B, inter, T), zero behind each row's end.
        """
        deviation = log_deviation.float().exp().mul_(noise).mul_(noise_scale)
        z: Tensor = self.flow(deviation.add_(mean).to(self.dtype), lengths, style.to(self.dtype))
        return z

    def encode_latent(  # noqa: PLR0913  # one argument per input of the network
        self,
        semantic_tokens: Tensor,
        token_lengths: Tensor,
        phone_ids: Tensor,
        phone_lengths: Tensor,
        style: Tensor,
        *,
        speeds: Sequence[float],
        noise: Tensor,
        noise_scale: float,
    ) -> Latents:
        """Turn tokens, phonemes and style into the generator's latent.

        Args:
            semantic_tokens: int64 (B, T_sem), right-padded with any valid token.
            token_lengths: int64 (B).
            phone_ids: int64 (B, T_ph), target phonemes only, right-padded with any valid id.
            phone_lengths: int64 (B).
            style: (B, D_style).
            speeds: one per row.
            noise: float32 (B, inter, T), unit normal; T at least the longest row's frames.
            noise_scale: factor on the deviation.
        """
        frames = self.encode_semantic(
            semantic_tokens, token_lengths, phone_ids, phone_lengths, style
        )
        x, lengths = apply_speed(frames.x, frames.lengths, speeds)
        mean, log_deviation = self.project(x, lengths)
        z = self.sample_latent(
            mean,
            log_deviation,
            lengths,
            style,
            noise=noise[:, :, : x.size(2)],
            noise_scale=noise_scale,
        )
        return Latents(z, lengths)

    def generate(self, z: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        """Turn latent frames into samples.

        Args:
            z: (B, inter, T), right-padded.
            lengths: int64 (B), in frames.
            style: (B, D_style).

        Returns:
            float32 (B, T * samples_per_frame) in [-1, 1], zero behind each row's end.
        """
        samples: Tensor = self.generator(z.to(self.dtype), lengths, style.to(self.dtype))
        return samples
