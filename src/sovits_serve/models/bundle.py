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
class Models:
    """Everything one engine computes with.

    ``bert`` is None where the directory has none (Chinese text is then refused); ``speaker`` is
    None where the version has no speaker embedding. ``dtype`` is that of T2S, BERT and decoder;
    what a reference is encoded with computes in float32, because its results are kept.
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
