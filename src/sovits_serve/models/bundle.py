"""The models of one voice, loaded, on one device."""

from dataclasses import dataclass

import torch

from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.reference.speaker import SpeakerEncoder
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.spec import ModelSpec, SymbolVersion
from sovits_serve.models.t2s.model import T2SModel
from sovits_serve.models.text_features.bert import BertFeatures


@dataclass(frozen=True)
class Encoders:
    """What every model of a process shares: the parts that no voice is trained with."""

    hubert: HubertEncoder
    bert: BertFeatures | None
    speaker: SpeakerEncoder | None


@dataclass(frozen=True)
class Models:
    """Everything one engine computes with.

    ``bert`` is None where the directory has none (Chinese text is then refused), or where the T2S
    model reads none; ``speaker`` is None where the version has no speaker embedding. ``dtype`` is
    that of BERT and decoder, and of T2S but where it has 8-bit weights; what a reference is encoded
    with computes in float32, because its results are kept.
    """

    spec: ModelSpec
    symbol_version: SymbolVersion
    t2s: T2SModel
    sovits: SovitsModel
    hubert: HubertEncoder
    bert: BertFeatures | None
    speaker: SpeakerEncoder | None
    device: torch.device
    dtype: torch.dtype

    @property
    def num_phonemes(self) -> int:
        """Return the ids both models know: everything below this."""
        return min(self.t2s.dims.phoneme_vocab_size, self.sovits.dims.num_symbols)

    @property
    def can_read_chinese(self) -> bool:
        """Return whether Chinese text has the features that the T2S model was trained with."""
        return self.bert is not None or not self.t2s.dims.reads_text_features

    @property
    def encoders(self) -> Encoders:
        """Return the parts that other models can use, too."""
        return Encoders(self.hubert, self.bert, self.speaker)


@dataclass(frozen=True)
class Reuse:
    """What is loaded already and is the same in the model to load."""

    t2s: T2SModel | None = None
    sovits_of: Models | None = None  # whose decoder to take
    encoders: Encoders | None = None
