"""The models that recorded requests went through: one set of recipes for all versions.

``STEM_s1``, ``STEM_bert``, ``STEM_hubert``, ``STEM_sv`` and one ``STEM_s2_VERSION`` each. Built
when first needed, and let go with the last task that holds the set. References and texts go
through the engine's own conditioning.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sovits_serve.engine.conditioning import Conditioner, Conditioning
from sovits_serve.engine.request import Request
from sovits_serve.frontend.symbols import symbol_table
from sovits_serve.models.bundle import Models
from sovits_serve.models.reference.features import ReferenceRules
from sovits_serve.models.spec import SPECS, ModelVersion, SymbolVersion
from sovits_serve.parity import models
from sovits_serve.parity.golden import GoldenDirectory
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.recipe import Recipe
from sovits_serve.parity.recorded_request import RecordedRequest
from sovits_serve.parity.t2s import similarity_to
from sovits_serve.parity.token_chunks import MUTE_TOKEN, ChunkRule
from sovits_serve.protocol.messages import PhonemizedText, Reference, SynthesisRequest
from sovits_serve.synthesizer import load_reference, with_prompt

_SHARED = ("s1", "bert", "hubert")
_SPEAKER = "sv"
_AUDIO_EMBEDDING = "model.ar_audio_embedding.word_embeddings.weight"
_CACHE_BYTES = 64 << 20


@dataclass(frozen=True)
class RequestVoice:
    """The models of a request's version, and what the request's recordings and texts became."""

    models: Models
    conditioner: Conditioner
    reference: Reference
    conditioning: Conditioning  # prompt tokens also where the request gives no prompt text
    chunk_rule: ChunkRule


class RequestModels:
    """The recipes of one meta file of requests."""

    def __init__(self, directory: GoldenDirectory, stem: str, precision: Precision) -> None:
        self.precision = precision
        self._directory = directory
        self._stem = stem
        self._speakers: dict[ModelVersion, tuple[Models, Conditioner]] = {}

    def missing(self, version: ModelVersion) -> list[str]:
        """Return the files that a version needs and the directory lacks."""
        roles = [*_SHARED, f"s2_{version}"]
        if SPECS[version].has_speaker_embedding:
            roles.append(_SPEAKER)
        names = [f"{self._stem}_{role}.weights.json" for role in roles]
        lacking = [name for name in names if self._directory.file(name) is None]
        if models.vocabulary(self._directory) is None:
            lacking.append("*vocab.txt")
        return lacking

    def symbols(self, version: ModelVersion) -> tuple[str, ...]:
        """Return the symbols that a version's phoneme ids stand for."""
        return symbol_table(self._symbol_version(version))

    def _symbol_version(self, version: ModelVersion) -> SymbolVersion:
        num_symbols = models.sovits_dims(self._recipe(f"s2_{version}")).num_symbols
        is_first = num_symbols == len(symbol_table(SymbolVersion.V1))
        return SymbolVersion.V1 if is_first else SymbolVersion.V2

    @cached_property
    def mute_similarity(self) -> Tensor:
        """How much each token sounds like silence to upstream: in float32 at every precision."""
        return similarity_to(MUTE_TOKEN, self._recipe("s1").tensor(_AUDIO_EMBEDDING))

    def prepare(self, version: ModelVersion, request: RecordedRequest) -> RequestVoice:
        """Encode the recordings and the prompt text of a request."""
        bundle, conditioner = self._models(version)
        main, *others = (self._directory.path / name for name in request.references)
        reference = load_reference(main, request.prompt_text, others)
        # Even without a prompt text upstream computed the prompt tokens, and recorded them.
        asked = with_prompt(reference, request.prompt_text or PhonemizedText(()))
        message = SynthesisRequest(request.name, (), asked)
        conditioning = conditioner.prepare(Request(message, arrival_s=0.0))
        rule = ChunkRule(
            request.min_chunk_tokens, None if request.is_fixed_length else self.mute_similarity
        )
        return RequestVoice(bundle, conditioner, reference, conditioning, rule)

    def _models(self, version: ModelVersion) -> tuple[Models, Conditioner]:
        if version not in self._speakers:
            bundle = self._bundle(version)
            conditioner = Conditioner(
                bundle, _CACHE_BYTES, rules=ReferenceRules(), is_row_by_row=True
            )
            self._speakers[version] = bundle, conditioner
        return self._speakers[version]

    def _bundle(self, version: ModelVersion) -> Models:
        """Share with other versions what does not depend on the version."""
        known = next(iter(self._speakers.values()), None)
        spec = SPECS[version]
        sovits = models.sovits_model(self._recipe(f"s2_{version}"), self.precision)
        speaker = None
        if spec.has_speaker_embedding:
            speaker = models.speaker(self._recipe(_SPEAKER), self._float32)
        if known is not None:
            return replace(
                known[0],
                spec=spec,
                symbol_version=self._symbol_version(version),
                sovits=sovits,
                speaker=speaker,
            )
        vocabulary = models.vocabulary(self._directory)
        assert vocabulary is not None
        return Models(
            spec=spec,
            symbol_version=self._symbol_version(version),
            t2s=models.t2s_model(self._recipe("s1"), self.precision),
            sovits=sovits,
            hubert=models.hubert(self._recipe("hubert"), self._float32),
            bert=models.bert(self._recipe("bert"), vocabulary, self.precision),
            speaker=speaker,
            device=self.precision.device,
            dtype=self.precision.dtype,
        )

    @property
    def _float32(self) -> Precision:
        """Return what references are encoded in at every precision, as the engine does."""
        return Precision(self.precision.device, torch.float32)

    def _recipe(self, role: str) -> Recipe:
        recipe = self._directory.recipe(f"{self._stem}_{role}")
        assert recipe is not None, "checked by missing()"
        return recipe
