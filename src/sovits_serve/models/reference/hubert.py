"""HuBERT: the self-supervised features that become a reference's semantic prompt.

Built from a local Hugging Face directory through transformers' modules; nothing is downloaded.
Waveforms are 16 kHz mono as they are: no normalisation, as upstream feeds them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils import parametrize, rnn

from sovits_serve.errors import CheckpointError
from sovits_serve.models.huggingface import (
    DerivedWeights,
    config_errors,
    open_weights,
    read_config,
    select_config,
)
from sovits_serve.models.weights import WeightSource, build_module

if TYPE_CHECKING:
    from transformers import HubertModel

SSL_RATE_HZ = 16_000
_HOP = 320  # samples; 50 frames a second

_CONFIG_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "feat_extract_norm",
    "feat_extract_activation",
    "conv_dim",
    "conv_stride",
    "conv_kernel",
    "conv_bias",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "do_stable_layer_norm",
    "feat_proj_layer_norm",
)
_POSITION = "encoder.pos_conv_embed.conv."
# Old and new spelling of weight norm's magnitude and direction.
_MAGNITUDES = ("weight_g", "parametrizations.weight.original0")
_DIRECTIONS = ("weight_v", "parametrizations.weight.original1")


class HubertEncoder:
    """Turns 16 kHz waveforms into features at about 50 Hz."""

    def __init__(self, model: "HubertModel") -> None:
        self._model = model
        weight = next(model.parameters())
        self._device, self._dtype = weight.device, weight.dtype

    @property
    def feature_dim(self) -> int:
        """Return the width of a feature frame."""
        return int(self._model.config.hidden_size)

    @classmethod
    def from_directory(
        cls, directory: Path, *, device: torch.device | str, dtype: torch.dtype
    ) -> "HubertEncoder":
        """Build the encoder from ``config.json`` and the weight file beside it.

        Raises:
            CheckpointError: a file is missing or damaged, or the two do not fit.
        """
        config = read_config(directory)
        return cls.from_weights(config, open_weights(directory), device=device, dtype=dtype)

    @classmethod
    def from_weights(
        cls,
        config: Mapping[str, object],
        source: WeightSource,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> "HubertEncoder":
        """Build the encoder from a configuration and tensors under either weight norm spelling.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        chosen = select_config(config, _CONFIG_KEYS, source.origin)
        _check_rate(chosen, source.origin)
        folded = _fold_position_weight(source)
        model = build_module(
            lambda: _make_model(chosen, source.origin), folded, device=device, dtype=dtype
        )
        return cls(model)

    def encode(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Return the last hidden states of each waveform.

        The convolutions run row by row, because their group norm spans the whole signal and
        would see padding; the transformer runs as one masked batch. Each row equals that row alone.

        Args:
            waveforms: float (T,) each, at 16 kHz, T >= 400.

        Returns:
            (T_ssl, feature_dim) per waveform, in the encoder's dtype, on its device.

        Source: GPT-SoVITS 48b1a01, feature_extractor/cnhubert.py. Differs: batched.
        """
        if not waveforms:
            return []
        rows = [self._extract(waveform.to(self._device, self._dtype)) for waveform in waveforms]
        lengths = torch.tensor([row.shape[0] for row in rows], device=self._device)
        batch = rnn.pad_sequence(rows, batch_first=True)  # (B, T_ssl, D)
        mask = torch.arange(batch.shape[1], device=self._device) < lengths[:, None]
        hidden = self._model.encoder(batch, attention_mask=mask).last_hidden_state
        return [row[: features.shape[0]] for row, features in zip(hidden, rows, strict=True)]

    def _extract(self, waveform: Tensor) -> Tensor:
        features = self._model.feature_extractor(waveform[None]).transpose(1, 2)
        projected: Tensor = self._model.feature_projection(features)[0]  # (T_ssl, D)
        return projected


def _check_rate(config: Mapping[str, object], origin: str) -> None:
    """Refuse strides that do not give 50 frames a second."""
    strides = config["conv_stride"]
    if isinstance(strides, list | tuple) and all(type(stride) is int for stride in strides):
        hop = prod(strides)
        if hop != _HOP:
            raise CheckpointError(f"{origin}: config conv_stride steps {hop} samples, not {_HOP}")


def _make_model(config: Mapping[str, object], origin: str) -> "HubertModel":
    # Imported here: transformers takes longer to import than torch, and only this model needs it.
    from transformers import HubertConfig, HubertModel

    with config_errors(origin, "HuBERT"):
        # Without masking probabilities the model has no masking vector, which only training uses.
        settings = HubertConfig(**config, mask_time_prob=0.0, mask_feature_prob=0.0, layerdrop=0.0)
        settings._attn_implementation = "sdpa"
        model = HubertModel(settings)
    parametrize.remove_parametrizations(model.encoder.pos_conv_embed.conv, "weight")
    return model


def _fold_position_weight(source: WeightSource) -> WeightSource:
    """Offer the positional convolution's weight, weight norm folded, in float32."""
    names = set(source.names())
    if _POSITION + "weight" in names:
        return source
    magnitude = next((_POSITION + leaf for leaf in _MAGNITUDES if _POSITION + leaf in names), None)
    direction = next((_POSITION + leaf for leaf in _DIRECTIONS if _POSITION + leaf in names), None)
    if magnitude is None or direction is None:
        return source  # build_module reports the missing weight
    lengths = tuple(source.shape(magnitude))
    if lengths != (1, 1, *source.shape(direction)[2:]) or len(lengths) != 3:
        raise CheckpointError(
            f"{source.origin}: tensor {magnitude!r} has shape {lengths}, "
            f"which does not fit {direction!r}"
        )
    return DerivedWeights(source, {_POSITION + "weight": _folding(source, magnitude, direction)})


def _folding(source: WeightSource, magnitude: str, direction: str) -> Callable[[], Tensor]:
    def fold() -> Tensor:
        vectors = source.tensor(direction).float()  # (D, D / groups, kernel), normed per tap
        norms = vectors.square().sum((0, 1), keepdim=True).sqrt()
        return vectors * (source.tensor(magnitude).float() / norms)

    return fold
