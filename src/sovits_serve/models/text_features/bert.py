"""BERT: the contextual features that Chinese phonemes carry.

Built from a local Hugging Face directory through transformers' modules; nothing is downloaded.
One token per character of the normalised text, then one feature row per phoneme.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils import rnn

from sovits_serve.errors import CheckpointError, InvalidRequest, TextTooLong
from sovits_serve.models.huggingface import (
    DerivedWeights,
    config_errors,
    open_weights,
    read_config,
    read_text,
    select_config,
)
from sovits_serve.models.weights import WeightSource, build_module

if TYPE_CHECKING:
    from transformers import BertModel

# Upstream reads the third hidden state from the end: the last two layers never matter.
_NUM_UNUSED_LAYERS = 2
_CONFIG_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
)


class CharacterVocabulary:
    """Characters to token ids, one each."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = ids
        self._unknown = ids["[UNK]"]
        self._first, self._last = ids["[CLS]"], ids["[SEP]"]

    @classmethod
    def from_directory(cls, directory: Path) -> "CharacterVocabulary":
        """Read ``vocab.txt``, or ``tokenizer.json`` where that is absent.

        Raises:
            CheckpointError: neither can be read, or special tokens are missing.
        """
        path = directory / "vocab.txt"
        if not path.is_file():
            path = directory / "tokenizer.json"
        try:
            content = read_text(path)
            ids = _parse_tokenizer(content) if path.suffix == ".json" else _parse_lines(content)
            return cls(ids)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise CheckpointError(f"{path}: is not a vocabulary") from error
        except KeyError as error:
            raise CheckpointError(f"{path}: holds no {error}") from error

    @property
    def largest_id(self) -> int:
        """Return the largest token id."""
        return max(self._ids.values())

    def encode(self, text: str) -> list[int]:
        """Return ids for [CLS], every character (unknown ones as [UNK]), [SEP]."""
        inner = [self._ids.get(character.lower(), self._unknown) for character in text]
        return [self._first, *inner, self._last]


def _parse_lines(content: str) -> dict[str, int]:
    # Not splitlines(): vocabularies hold characters that it takes for line ends.
    return {line.rstrip("\r"): index for index, line in enumerate(content.split("\n")) if line}


def _parse_tokenizer(content: str) -> dict[str, int]:
    vocabulary = json.loads(content)["model"]["vocab"]
    ids = {str(token): int(index) for token, index in vocabulary.items()}
    if min(ids.values(), default=0) < 0:
        raise ValueError("a token id is negative")
    return ids


class BertFeatures:
    """Turns Chinese text into one feature row per phoneme."""

    def __init__(self, model: "BertModel", vocabulary: CharacterVocabulary) -> None:
        self._model = model
        self._vocabulary = vocabulary
        weight = next(model.parameters())
        self._device = weight.device
        if vocabulary.largest_id >= model.config.vocab_size:
            raise CheckpointError(
                f"the vocabulary's largest id is {vocabulary.largest_id}, the BERT model "
                f"has {model.config.vocab_size} embeddings"
            )

    @property
    def feature_dim(self) -> int:
        """Return the width of a feature row."""
        return int(self._model.config.hidden_size)

    @property
    def max_characters(self) -> int:
        """Return the longest text that fits between [CLS] and [SEP]."""
        return int(self._model.config.max_position_embeddings) - 2

    @classmethod
    def from_directory(
        cls, directory: Path, *, device: torch.device | str, dtype: torch.dtype
    ) -> "BertFeatures":
        """Build the encoder from ``config.json``, a vocabulary and the weight file.

        Raises:
            CheckpointError: a file is missing or damaged, or they do not fit.
        """
        config, vocabulary = read_config(directory), CharacterVocabulary.from_directory(directory)
        source = open_weights(directory)
        return cls.from_weights(config, source, vocabulary, device=device, dtype=dtype)

    @classmethod
    def from_weights(
        cls,
        config: Mapping[str, object],
        source: WeightSource,
        vocabulary: CharacterVocabulary,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> "BertFeatures":
        """Build the encoder from a configuration and tensors, with or without ``bert.`` in front.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        chosen = select_config(config, _CONFIG_KEYS, source.origin)
        has_prefix = any(name.startswith("bert.") for name in source.names())
        model = build_module(
            lambda: _make_model(chosen, source.origin),
            _modern_names(source),
            device=device,
            dtype=dtype,
            prefix="bert." if has_prefix else "",
        )
        return cls(model, vocabulary)

    def encode(self, items: Sequence[tuple[str, Sequence[int]]]) -> list[Tensor]:
        """Return a feature row for each phoneme of each text.

        Args:
            items: normalised text and, per character, how many phonemes it became.

        Returns:
            (sum(word2ph), feature_dim) per item, in the model's dtype, on its device.

        Raises:
            TextTooLong: a text is longer than ``max_characters``.
            InvalidRequest: characters and ``word2ph`` differ in number, or a count is negative.

        Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TextPreprocessor.py, get_bert_feature.
        Differs: batched, the unused layers are never built, features are rows.
        """
        if not items:
            return []
        for text, word2ph in items:
            self._check(text, word2ph)
        rows = [torch.tensor(self._vocabulary.encode(text)) for text, _ in items]
        token_ids = rnn.pad_sequence(rows, batch_first=True).to(self._device)  # (B, T)
        lengths = torch.tensor([len(row) for row in rows], device=self._device)
        positions = torch.arange(token_ids.shape[1], device=self._device)
        hidden = self._model(
            input_ids=token_ids,
            attention_mask=(positions < lengths[:, None]).long(),
            token_type_ids=torch.zeros_like(token_ids),
            position_ids=positions[None],
        ).last_hidden_state
        return [
            _repeat_rows(row[1 : 1 + len(text)], word2ph)
            for row, (text, word2ph) in zip(hidden, items, strict=True)
        ]

    def _check(self, text: str, word2ph: Sequence[int]) -> None:
        if len(text) > self.max_characters:
            raise TextTooLong(
                f"a segment has {len(text)} characters, BERT takes at most "
                f"{self.max_characters}; split the text into shorter sentences"
            )
        if len(text) != len(word2ph):
            raise InvalidRequest(
                f"word2ph has {len(word2ph)} counts for {len(text)} characters, must be equal"
            )
        if any(count < 0 for count in word2ph):
            raise InvalidRequest(f"word2ph holds {min(word2ph)}, counts must be 0 or more")


def _repeat_rows(rows: Tensor, counts: Sequence[int]) -> Tensor:
    repeats = torch.tensor(list(counts), dtype=torch.long, device=rows.device)
    return rows.repeat_interleave(repeats, dim=0, output_size=sum(counts))


def _make_model(config: Mapping[str, object], origin: str) -> "BertModel":
    # Imported here: transformers takes longer to import than torch, and only Chinese needs it.
    from transformers import BertConfig, BertModel

    with config_errors(origin, "BERT"):
        settings = BertConfig(**config)
        settings.num_hidden_layers = max(0, settings.num_hidden_layers - _NUM_UNUSED_LAYERS)
        settings._attn_implementation = "sdpa"
        return BertModel(settings, add_pooling_layer=False)


def _modern_names(source: WeightSource) -> WeightSource:
    """Offer layer norms that an old converter named gamma and beta as weight and bias."""
    derived: dict[str, Callable[[], Tensor]] = {}
    for name in source.names():
        stem, _, leaf = name.rpartition(".")
        if leaf in ("gamma", "beta"):
            modern = f"{stem}.{'weight' if leaf == 'gamma' else 'bias'}"
            derived[modern] = partial(source.tensor, name)
    return DerivedWeights(source, derived) if derived else source
