"""One recorded request: what was asked, what upstream made of the text, and what was recorded.

Settings that a request leaves out have upstream's defaults. Knows no models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from sovits_serve.frontend.symbols import symbol_table
from sovits_serve.parity import batching, text_spans
from sovits_serve.parity.generation import Recorded, batched_end, serial_end
from sovits_serve.parity.golden import (
    Arrays,
    as_list,
    integer,
    integers,
    number,
    record,
    records,
    text,
)
from sovits_serve.parity.request_text import spoken_sentences
from sovits_serve.parity.sampler import read_params
from sovits_serve.parity.streaming import StreamCall
from sovits_serve.protocol.messages import PhonemizedText, SamplingParams, TextSpan

# Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, TTS.run.
_DEFAULTS: Mapping[str, object] = {
    "aux_ref_audio_paths": [],
    "prompt_text": "",
    "text_split_method": "cut1",
    "top_k": 15,
    "top_p": 1.0,
    "temperature": 1.0,
    "repetition_penalty": 1.35,
    "batch_size": 1,
    "batch_threshold": 0.75,
    "split_bucket": True,
    "speed_factor": 1.0,
    "fragment_interval": 0.3,
    "parallel_infer": True,
    "return_fragment": False,
    "streaming_mode": False,
    "overlap_length": 2,
    "min_chunk_length": 16,
    "fixed_length_chunk": False,
}
# Upstream's batched path hands over to the serial one without a prompt, and forgets this setting.
_FORGOTTEN_PENALTY = 1.35


@dataclass(frozen=True)
class TokenCall:
    """One call of upstream's T2S model: its texts, and the names and ends of the sequences.

    ``codes`` are the tokens that upstream goes on with, which can be one fewer than recorded.
    """

    texts: list[PhonemizedText]
    keys: list[str]
    recorded: list[Recorded]
    codes: list[list[int]]


@dataclass(frozen=True)
class TokenStream:
    """One streamed text: the token chunks and the decoding calls made for them."""

    text: PhonemizedText
    chunks: list[list[int]]
    calls: list[StreamCall]


@dataclass(frozen=True)
class RecordedRequest:
    """A request of a meta file, with its arrays and the symbols its phoneme ids stand for."""

    name: str
    arrays: Arrays
    meta: dict[str, object]
    symbols: Sequence[str]

    def setting(self, key: str) -> object:
        """Return a setting of the request, or upstream's default."""
        value = record(self.meta["request"]).get(key)
        return _DEFAULTS.get(key) if value is None else value

    @property
    def speed(self) -> float:
        """Return the speed factor."""
        return number(self.setting("speed_factor"))

    @property
    def interval_s(self) -> float:
        """Return the silence after each sentence."""
        return number(self.setting("fragment_interval"))

    @property
    def is_streaming(self) -> bool:
        """Return whether audio was recorded chunk by chunk."""
        return bool(self.setting("streaming_mode"))

    @property
    def is_serial(self) -> bool:
        """Return whether upstream found the tokens of one text after the other."""
        return self.is_streaming or not self.setting("parallel_infer") or not self.has_prompt

    @property
    def is_fragmented(self) -> bool:
        """Return whether each group of sentences was post-processed and sent alone."""
        return bool(self.setting("return_fragment")) and not self.is_streaming

    @property
    def is_bucketed(self) -> bool:
        """Return whether sentences were sorted by length."""
        in_pieces = self.is_streaming or self.is_fragmented
        return bool(self.setting("split_bucket")) and self.speed == 1.0 and not in_pieces

    @property
    def overlap_tokens(self) -> int:
        """Return how many tokens streamed chunks overlap by."""
        return integer(self.setting("overlap_length"))

    @property
    def min_chunk_tokens(self) -> int:
        """Return how many tokens a streamed chunk has at least."""
        return integer(self.setting("min_chunk_length"))

    @property
    def is_fixed_length(self) -> bool:
        """Return whether streamed chunks are cut by length alone, not at near silence."""
        return bool(self.setting("fixed_length_chunk"))

    @property
    def references(self) -> list[str]:
        """Return the file names of the recordings, the speaker's first."""
        auxiliary = as_list(self.setting("aux_ref_audio_paths"))
        return [Path(text(path)).name for path in (self.setting("ref_audio_path"), *auxiliary)]

    @property
    def params(self) -> SamplingParams:
        """Return the sampling parameters that upstream really used."""
        keys = ("top_k", "top_p", "temperature", "repetition_penalty")
        params = {key: self.setting(key) for key in keys}
        if not self.has_prompt and self.setting("parallel_infer") and not self.is_streaming:
            params["repetition_penalty"] = _FORGOTTEN_PENALTY
        return read_params(params)

    @property
    def is_greedy(self) -> bool:
        """Return whether the tokens follow from the logits alone."""
        return self.params.top_k == 1

    @property
    def has_prompt(self) -> bool:
        """Return whether a prompt text was given."""
        return self.setting("prompt_text") != ""

    @cached_property
    def prompt_text(self) -> PhonemizedText | None:
        """Return the prompt text, or None without one."""
        if not self.has_prompt:
            return None
        return self._text(
            text(self.meta["prompt_norm_text"]),
            integers(self.meta["prompt_phones"]),
            text(self.setting("prompt_lang")),
        )

    @property
    def prompt_semantic(self) -> Tensor:
        """Return the prompt tokens that the T2S model reads: none without a prompt text."""
        tokens = self.arrays.tensor("prompt_semantic").flatten()
        return tokens if self.has_prompt else tokens[:0]

    @property
    def groups(self) -> list[dict[str, object]]:
        """Return the groups of sentences that upstream batched separately."""
        return records(self.meta["batches"])

    @cached_property
    def texts(self) -> list[list[PhonemizedText]]:
        """The sentences of each group, in the order of the text."""
        return [[self._item(item) for item in records(group["items"])] for group in self.groups]

    @property
    def segments(self) -> list[PhonemizedText]:
        """Return all sentences that were spoken; of a streamed group that is the first."""
        groups = [group[:1] if self.is_streaming else group for group in self.texts]
        return [sentence for group in groups for sentence in group]

    def batches(self, group: int) -> list[list[int]]:
        """Return the sentences of each T2S call of a group, as we find upstream grouped them."""
        return batching.batches(
            [len(text(item["norm"])) for item in records(self.groups[group]["items"])],
            batch_size=integer(self.setting("batch_size")),
            threshold=number(self.setting("batch_threshold")),
            split_bucket=self.is_bucketed,
        )

    def recorded_batches(self, group: int) -> list[list[int]]:
        """Return the sentences of each T2S call of a group, as recorded."""
        return [integers(row) for row in as_list(self.groups[group]["batch_index_list"])]

    def token_calls(self, early_stop: int) -> list[TokenCall]:
        """Return the T2S calls of a request that does not stream, in order."""
        rows = [
            [sentences[index] for index in batch]
            for group, sentences in enumerate(self.texts)
            for batch in self.recorded_batches(group)
        ]
        calls = [as_list(call) for call in as_list(self.meta["semantic"])]
        # Where the batched path handed over to the serial one, each call was recorded twice.
        calls = calls[:: max(len(calls) // max(len(rows), 1), 1)]
        pairs = zip(rows, calls, strict=True)
        return [self._token_call(texts, call, early_stop) for texts, call in pairs]

    def streams(self) -> list[TokenStream]:
        """Return the streamed texts, in order."""
        streams: list[TokenStream] = []
        texts = iter(self.segments)
        for call in records(self.meta["stream_calls"]):
            tokens, wanted = integers(call["codes"]), call["result_length"]
            if wanted is None:
                streams.append(TokenStream(next(texts), [], []))
            stream = streams[-1]
            num_known = len(stream.calls[-1].tokens) if stream.calls else 0
            stream.chunks.append(tokens[num_known:])
            overlap = call["overlap"]
            stream.calls.append(
                StreamCall(
                    tokens,
                    None if wanted is None else integer(wanted),
                    0 if overlap is None else integer(overlap),
                )
            )
        return streams

    def _token_call(self, texts: list[PhonemizedText], call: list[object], stop: int) -> TokenCall:
        keys, recorded, codes = [], [], []
        for row in call:
            index, idx = integers(row)
            keys.append(f"y{index}")
            tokens = self.arrays.tokens(keys[-1])[len(self.prompt_semantic) :]
            end = batched_end(len(tokens), stop)
            if self.is_serial:
                end = serial_end(len(tokens), idx, stop)
            recorded.append(Recorded(tokens, end))
            codes.append(tokens[-idx:])  # idx 0: all of them
        return TokenCall(texts, keys, recorded, codes)

    def _item(self, item: dict[str, object]) -> PhonemizedText:
        language = text(self.setting("text_lang"))
        return self._text(text(item["norm"]), integers(item["phones"]), language)

    @cached_property
    def spoken(self) -> list[PhonemizedText]:
        """The sentences that our own frontend makes of the request's text; none without a text."""
        source = text(record(self.meta["request"]).get("text") or "")
        if not source:
            return []
        sentences = spoken_sentences(
            source,
            text(self.setting("text_lang")),
            text(self.setting("text_split_method")),
            self.symbol_version,
            is_streaming=self.is_streaming,
        )
        return [sentence.phonemized() for sentence in sentences]

    @property
    def symbol_version(self) -> str:
        """Return which symbol table the request's phoneme ids are of."""
        return "v1" if len(self.symbols) == len(symbol_table("v1")) else "v2"

    def _text(self, norm: str, ids: Sequence[int], language: str) -> PhonemizedText:
        for ours in self.spoken:
            if ours.phone_ids == tuple(ids):
                return PhonemizedText(tuple(ids), ours.spans, norm)
        if not text_spans.has_features(language):
            return PhonemizedText(tuple(ids), text=norm)
        found = text_spans.spans(norm, [self.symbols[index] for index in ids])
        return PhonemizedText(tuple(ids), tuple(_with_features(found)), norm)


def _with_features(found: Sequence[text_spans.Span]) -> list[TextSpan]:
    spans, start = [], 0
    for span in found:
        if span.word2ph is not None:
            spans.append(TextSpan(start, span.text, span.word2ph))
        start += span.num_phones
    return spans
