"""Recorded requests in upstream's format, made from small random models by our own code.

They prove nothing about upstream (the real recordings do): they prove that the checks read the
format, pass where all agrees and fail where something does not.
"""

import json
import shutil
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.request import MIN_TOKENS
from sovits_serve.frontend.symbols import symbol_ids
from sovits_serve.models.spec import ModelVersion
from sovits_serve.models.t2s.model import PrefillBatch
from sovits_serve.parity import request_audio, token_chunks
from sovits_serve.parity.golden import Arrays, GoldenDirectory
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.recorded_request import RecordedRequest, TokenStream
from sovits_serve.parity.report import Lazy
from sovits_serve.parity.request_models import RequestModels, RequestVoice
from sovits_serve.parity.request_tokens import RequestGolden
from sovits_serve.parity.streaming import plan_calls
from sovits_serve.parity.token_chunks import ChunkRule
from sovits_serve.protocol.messages import PhonemizedText
from tests.golden import DATA

Array = npt.NDArray[np.generic]

CPU = Precision(torch.device("cpu"), torch.float32)
STEM = "whole"
RULE = ChunkRule(17)
PENALTY = 1.35

_EARLY_STOP = 50
_SSL_DIM = 768

PROMPT = ("你好.", "n i3 h ao3 .")
SENTENCES = (
    ("你说,hello!", "n i3 sh uo1 , HH AH0 L OW1 !"),
    ("好.", "h ao3 ."),
    ("世界你好.", "sh ir4 j ie4 n i3 h ao3 ."),
)


def write_requests(directory: Path) -> None:
    """Write the recipes, recordings, meta file and arrays of three requests."""
    _write_recipes(directory)
    asked = [
        _meta("bucketed", SENTENCES, batches=[[1, 2], [0]], batch_size=2, prompt_text="你好。"),
        _meta("fragments", SENTENCES[:1], batches=[[0]], return_fragment=True, speed_factor=1.3),
        _meta(
            "stream",
            SENTENCES[2:],
            batches=[[0]],
            prompt_text="你好。",
            streaming_mode=True,
            fixed_length_chunk=True,
            min_chunk_length=RULE.chunk_length,
        ),
    ]
    models = RequestModels(GoldenDirectory(directory), STEM, CPU)
    with torch.inference_mode():
        for meta in asked:
            _record(directory, models, meta)
    content = json.dumps({"requests": asked}, ensure_ascii=False)
    (directory / f"{STEM}.meta.json").write_text(content, encoding="utf-8")


def _write_recipes(directory: Path) -> None:
    """Take the recipes of the small models, made to fit each other."""
    for name in ("ref_b.wav", "ref_c.wav", "bert_vocab.txt"):
        shutil.copy(DATA / name, directory)
    shutil.copy(DATA / "bert_tiny.weights.json", directory / f"{STEM}_bert.weights.json")
    shutil.copy(DATA / "s2_v2_tiny.weights.json", directory / f"{STEM}_s2_v2.weights.json")
    t2s = json.loads((DATA / "t2s_v1025.weights.json").read_text(encoding="utf-8"))
    t2s["config"]["data"]["max_sec"] = _EARLY_STOP // 50
    t2s["tensors"][0][1][1] = 32  # bert_proj reads the small BERT
    _write_json(directory / f"{STEM}_s1.weights.json", t2s)
    hubert = json.loads((DATA / "hubert_tiny.weights.json").read_text(encoding="utf-8"))
    small, groups = (
        hubert["config"]["hidden_size"],
        hubert["config"]["num_conv_pos_embedding_groups"],
    )
    wider = {small: _SSL_DIM, small // groups: _SSL_DIM // groups}
    hubert["config"]["hidden_size"] = _SSL_DIM
    for entry in hubert["tensors"]:
        if not entry[0].startswith("feature_extractor."):
            entry[1] = [wider.get(size, size) for size in entry[1]]
    _write_json(directory / f"{STEM}_hubert.weights.json", hubert)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _ids(phonemes: str) -> list[int]:
    ids = symbol_ids("v2")
    return [ids[symbol] for symbol in phonemes.split()]


def _meta(
    name: str, sentences: tuple[tuple[str, str], ...], *, batches: list[list[int]], **asked: object
) -> dict[str, object]:
    items = [{"norm": norm, "phones": _ids(phonemes)} for norm, phonemes in sentences]
    has_prompt = "prompt_text" in asked
    request = {
        "top_k": 1,
        "text_lang": "zh",
        "prompt_lang": "zh",
        "prompt_text": "",
        "ref_audio_path": "ref_b.wav",
        "aux_ref_audio_paths": ["ref_c.wav"],
        **asked,
    }
    return {
        "name": name,
        "version": "v2",
        "request": request,
        "batches": [{"items": items, "batch_index_list": batches}],
        "semantic": [],
        "stream_calls": [],
        "prompt_phones": _ids(PROMPT[1]) if has_prompt else None,
        "prompt_norm_text": PROMPT[0] if has_prompt else None,
    }


def _record(directory: Path, models: RequestModels, meta: dict[str, object]) -> None:
    """Say a request step by step, and write down what upstream would record of it."""
    name = f"{STEM}_{meta['name']}"
    arrays: dict[str, Array] = {}
    request = _save(directory, models, name, meta, arrays)
    voice = models.prepare(ModelVersion.V2, request)
    prompt = voice.conditioning.prompt_semantic
    arrays["prompt_semantic"] = prompt.numpy()
    calls = [[request.texts[0][index] for index in row] for row in request.recorded_batches(0)]
    if not request.has_prompt:
        prompt = prompt[:0]
    said = [[_greedy(voice, prompt, text) for text in call] for call in calls]
    arrays["margins"] = np.array([step for call in said for step in _smallest(call)])
    rows = [row for call in said for row in call]
    if request.is_streaming:
        meta["stream_calls"] = _stream_calls(rows[0].tokens)
    else:
        # Upstream's batched path drops the token of the step that stops it.
        num_kept = _EARLY_STOP + request.is_serial
        meta["semantic"] = _semantic([len(call) for call in calls], request)
        for index, row in enumerate(rows):
            arrays[f"y{index}"] = np.array([*prompt.tolist(), *row.tokens[:num_kept]])
    widths = [2 * len(chunk) for stream in request.streams() for chunk in _results(stream)]
    for index, width in enumerate(widths or [400, 400]):
        arrays[f"noise{index}"] = (
            np.random.default_rng(index).standard_normal((1, 16, width)).astype(np.float16)
        )
    # Lengths that no shift explains: the decoder looks for the best one itself.
    lengths = {f"out{index}": np.zeros(0, dtype=np.int16) for index in range(9)}
    request = _save(directory, models, name, meta, arrays | lengths)
    golden = RequestGolden(request, Lazy(lambda: voice), CPU)
    arrays |= {f"out{index}": out for index, out in enumerate(request_audio.outputs(golden))}
    _save(directory, models, name, meta, arrays)


def _results(stream: TokenStream) -> list[list[int]]:
    """Return the tokens that each decoding call of a stream makes audio of."""
    return [call.tokens[-(call.result_tokens or 0) :] for call in stream.calls]


def _save(
    directory: Path,
    models: RequestModels,
    name: str,
    meta: dict[str, object],
    arrays: dict[str, Array],
) -> RecordedRequest:
    path = directory / f"{name}.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for options
    return RecordedRequest(name, Arrays(path), meta, models.symbols(ModelVersion.V2))


@dataclass
class Said:
    """What greedy generation chose, and by how much at each step."""

    tokens: list[int] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)


def _greedy(voice: RequestVoice, prompt: Tensor, text: PhonemizedText) -> Said:
    """Generate without a cache, a sampler or a batch: every step reads everything again."""
    model, said = voice.models.t2s, Said()
    ids = torch.tensor([*voice.conditioning.prompt_phone_ids, *text.phone_ids])
    target = voice.conditioner.text_features([text])[0]
    features = torch.cat([voice.conditioning.prompt_features, target])
    for step in range(_EARLY_STOP + 1):
        seen = torch.tensor([*prompt.tolist(), *said.tokens], dtype=torch.int64)
        cache = KVCache(model.dims, num_slots=1, max_length=400, device="cpu", dtype=torch.float32)
        batch = PrefillBatch.collate([ids], [features], [seen], [cache.allocate()])
        logits = model.prefill(batch, cache)[0]
        if step < MIN_TOKENS:
            logits[model.dims.eos] = -torch.inf
        distinct = torch.tensor(sorted(set(seen.tolist())), dtype=torch.int64)
        scores = logits[distinct]
        logits[distinct] = torch.where(scores < 0, scores * PENALTY, scores / PENALTY)
        best = logits.topk(2)
        said.margins.append(float(best.values[0] - best.values[1]))
        if best.indices[0] == model.dims.eos:
            break
        said.tokens.append(int(best.indices[0]))
    return said


def _smallest(call: list[Said]) -> list[float]:
    """Return the smallest margin of each step among the rows that still run."""
    steps = range(max(len(row.margins) for row in call))
    return [min(row.margins[i] for row in call if i < len(row.margins)) for i in steps]


def _semantic(num_rows: list[int], request: RecordedRequest) -> list[list[list[int]]]:
    """Return the T2S calls: sequence numbers and upstream's index of the last step."""
    numbers = iter(range(sum(num_rows)))
    last = _EARLY_STOP if request.has_prompt else 0
    calls = [[[number, last] for number in islice(numbers, count)] for count in num_rows]
    # Without a prompt the batched path calls the serial one, and both were recorded.
    return calls if request.has_prompt else [call for call in calls for _ in range(2)]


def _stream_calls(tokens: list[int]) -> list[dict[str, object]]:
    """Return the decoding calls of a stream that ended at the early stop, in chunks of 17."""
    chunks = [chunk.tokens for chunk in token_chunks.split(tokens, RULE, ended_by_eos=False)]
    calls = plan_calls(chunks, overlap_tokens=2, frames_per_token=2)
    return [
        {
            "codes": call.tokens,
            "result_length": call.result_tokens,
            "overlap": call.overlap_frames or None,
        }
        for call in calls
    ]
