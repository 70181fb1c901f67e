"""Every number that depends on the model version, and the dimensions a checkpoint declares.

``SPECS`` is the only place that knows versions: code asks the spec, never the version's name.
Units: rates in Hz, lengths in frames (50 Hz), tokens (25 Hz) and samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from types import MappingProxyType


class ModelVersion(StrEnum):
    """The SoVITS model versions, under upstream's names."""

    V1 = "v1"
    V2 = "v2"
    V2PRO = "v2Pro"
    V2PROPLUS = "v2ProPlus"
    V3 = "v3"
    V4 = "v4"


class SymbolVersion(StrEnum):
    """Which table of phoneme symbols a SoVITS checkpoint was trained with."""

    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True)
class ModelSpec:
    """What follows from a version alone.

    ``decoder`` is "generator" (flow and HiFi-GAN generator, one step) or "cfm" (flow matching and
    a separate vocoder). ``style_bins`` is how many linear spectrogram bins the style encoder reads.
    """

    version: ModelVersion
    decoder: str
    style_bins: int
    has_speaker_embedding: bool
    sample_rate_hz: int = 32_000
    semantic_rate_hz: int = 25
    frames_per_token: int = 2
    num_spectrogram_bins: int = 1025
    spectrogram_hop: int = 640


SPECS: Mapping[ModelVersion, ModelSpec] = MappingProxyType(
    {
        ModelVersion.V1: ModelSpec(ModelVersion.V1, "generator", 1025, False),
        ModelVersion.V2: ModelSpec(ModelVersion.V2, "generator", 704, False),
        ModelVersion.V2PRO: ModelSpec(ModelVersion.V2PRO, "generator", 704, True),
        ModelVersion.V2PROPLUS: ModelSpec(ModelVersion.V2PROPLUS, "generator", 704, True),
        ModelVersion.V3: ModelSpec(ModelVersion.V3, "cfm", 704, False, sample_rate_hz=24_000),
        ModelVersion.V4: ModelSpec(ModelVersion.V4, "cfm", 704, False, sample_rate_hz=48_000),
    }
)


@dataclass(frozen=True)
class T2SDims:
    """Dimensions of a T2S checkpoint, from its config."""

    hidden: int
    num_heads: int
    num_layers: int
    vocab_size: int
    phoneme_vocab_size: int
    max_sec: int
    text_feature_dim: int = 1024
    reads_text_features: bool = True  # False: trained with zeros in BERT's place
    # Not 0: a segment has so many tokens per phoneme, whatever is drawn. Of random weights only.
    tokens_per_phoneme: int = 0

    @property
    def eos(self) -> int:
        """The end-of-sequence token: always the last id."""
        return self.vocab_size - 1

    @property
    def early_stop_tokens(self) -> int:
        """Most tokens of one segment: upstream's 50 per second of ``max_sec``, at most 1499.

        Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py (early_stop_num) and
        AR/models/t2s_model.py, infer_panel_batch_infer (hard cap of 1500 steps, last code dropped).
        """
        return min(50 * self.max_sec, 1499)


@dataclass(frozen=True)
class SovitsDims:
    """Dimensions of a SoVITS checkpoint with a generator, from its config and shapes."""

    inter_channels: int
    hidden_channels: int
    filter_channels: int
    num_heads: int
    num_layers: int
    kernel_size: int
    style_dim: int
    num_symbols: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channels: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    ssl_dim: int = 768
    codebook_size: int = 1024
    speaker_dim: int = 20480

    @property
    def samples_per_frame(self) -> int:
        """Audio samples per 50 Hz frame."""
        return prod(self.upsample_rates)
