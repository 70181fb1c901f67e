from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sovits_serve.models.cuda.prefill import PackedPrefill, PrefillRow
from sovits_serve.models.spec import T2SDims
from sovits_serve.models.t2s import T2SModel
from sovits_serve.models.weights import DictWeights
from tests.models.cuda.interpreted import use_exact_products
from tests.models.t2s.generation import Golden, Row, load_golden, prefill

BUCKETS = (64, 128)
MAX_LENGTH = 96
HALF = [torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a row's bits be its own in the interpreter, too."""
    use_exact_products(monkeypatch)


def golden_rows(golden: Golden) -> list[Row]:
    """Return short recorded texts, one without a prompt, one longer than an attention tile."""
    lengths = ((9, 6), (5, 0), (20, 50), (12, 3))
    return [
        Row(row.phone_ids[:text], row.text_features[:text], golden.prompt[:prompt])
        for row, (text, prompt) in zip(golden.rows, lengths, strict=False)
    ]


def pieces(golden: Golden, row: Row) -> list[tuple[int, Tensor]]:
    """Return a row's features in two pieces, the second first."""
    positions = golden.model.positions
    values = row.text_features.to(positions.device, positions.dtype)
    return [(2, values[2:]), (0, values[:2])]


def packed_row(golden: Golden, row: Row, place: int, *, has_features: bool = True) -> PrefillRow:
    """Return a row for the packed path, one of four whose tokens are strewn over the cache."""
    features = pieces(golden, row) if has_features else []
    addresses = np.arange(row.num_tokens, dtype=np.int32)[::-1] * 4 + place
    return PrefillRow(row.phone_ids.tolist(), features, row.prompt.tolist(), addresses)


def new_layers(golden: Golden) -> list[Tensor]:
    """Return an empty cache, as the packed path has it."""
    dims, positions = golden.dims, golden.model.positions
    shape = 2, dims.num_heads, 4 * MAX_LENGTH, dims.hidden // dims.num_heads
    return [positions.new_zeros(shape) for _ in range(dims.num_layers)]


def at(row: PrefillRow, device: torch.device) -> Tensor:
    """Return where a row's tokens are."""
    return torch.from_numpy(row.addresses.astype(np.int64)).to(device)


def run(
    golden: Golden, rows: list[PrefillRow], *, is_captured: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Return logits (B, V), and what the cache then has of each row in all layers."""
    layers = new_layers(golden)
    packed = PackedPrefill(golden.model, layers, max_rows=4, token_buckets=BUCKETS)
    if is_captured:
        packed.capture()
    logits = packed.run(rows)[: len(rows)].clone()
    memory = torch.stack(layers)
    cached = [memory[:, :, :, at(row, memory.device)] for row in rows]
    for row in rows:
        memory[:, :, :, at(row, memory.device)] = 0
    assert not memory.any()  # nothing else was written
    return logits, cached


def reference(golden: Golden, rows: list[Row]) -> tuple[Tensor, list[Tensor]]:
    """Return the same of the simple path, row by row."""
    logits, cached = [], []
    for row in rows:
        cache = golden.new_cache(1, MAX_LENGTH)
        logits.append(prefill(golden.model, cache, [row], [cache.allocate()]))
        length = cache.lengths[0]
        layers = [cache.layer(index) for index in range(golden.dims.num_layers)]
        cached.append(torch.stack(layers)[:, 0, :, :, :length])
    return torch.cat(logits), cached


@pytest.mark.parametrize("name", ["t2s_v65", "t2s_v1025"])
def test_logits_and_cache_are_the_simple_paths(name: str, device: str) -> None:
    """In float32, rows packed together have the simple path's logits and cached tokens."""
    golden = load_golden(name, device)
    rows = golden_rows(golden)[:3]

    packed = run(golden, [packed_row(golden, row, 3 - place) for place, row in enumerate(rows)])

    torch.testing.assert_close(packed, reference(golden, rows), atol=2e-5, rtol=1e-5)


def test_rows_without_features_are_the_simple_paths(device: str) -> None:
    """What no piece covers has features of zero."""
    golden = load_golden("t2s_v65", device)
    row = golden_rows(golden)[0]
    partly = packed_row(golden, row, 0, has_features=False)
    partly = replace(partly, features=pieces(golden, row)[1:])
    features = row.text_features.clone()
    features[2:] = 0

    packed = run(golden, [partly])

    expected = reference(golden, [replace(row, text_features=features)])
    torch.testing.assert_close(packed, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
@pytest.mark.parametrize("has_features", [True, False])
def test_a_row_has_the_same_bits_alone_and_beside_others(
    device: str, dtype: torch.dtype, *, has_features: bool
) -> None:
    """Neighbours, with or without features, a row's place and its part of the cache change no bit."""
    if device == "cpu" and dtype is torch.bfloat16:
        pytest.skip("the interpreter has no bfloat16")
    golden = load_golden("t2s_v65", device, dtype)
    rows = golden_rows(golden)

    together = run(
        golden,
        [
            packed_row(golden, rows[1], 2),
            packed_row(golden, rows[0], 0, has_features=has_features),
            packed_row(golden, rows[3], 1),
        ],
    )
    alone = run(golden, [packed_row(golden, rows[0], 3, has_features=has_features)])

    assert torch.equal(together[0][1], alone[0][0])
    assert torch.equal(together[1][1], alone[1][0])


def test_half_precision_is_near_float32(device: str) -> None:
    """In float16, logits correlate with float32's above 0.999."""
    rows = golden_rows(load_golden("t2s_v65"))[:2]
    results = []
    for dtype in (torch.float32, torch.float16):
        golden = load_golden("t2s_v65", device, dtype)
        results.append(run(golden, [packed_row(golden, row, i) for i, row in enumerate(rows)])[0])

    assert torch.corrcoef(torch.stack(results).flatten(1))[0, 1] > 0.999


def test_a_second_call_leaves_nothing_of_the_first(device: str) -> None:
    """Calls of different sizes through the same buffers do not touch each other's rows."""
    golden = load_golden("t2s_v65", device)
    rows = golden_rows(golden)
    layers = new_layers(golden)
    packed = PackedPrefill(golden.model, layers, max_rows=4, token_buckets=BUCKETS)
    packed.run([packed_row(golden, row, place) for place, row in enumerate(rows[:3])])
    before = torch.stack(layers)
    others = torch.arange(before.shape[3], device=before.device) % 4 != 3

    logits = packed.run([packed_row(golden, rows[3], 3)])[:1]

    torch.testing.assert_close(logits, reference(golden, rows[3:4])[0], atol=2e-5, rtol=1e-5)
    assert torch.equal(torch.stack(layers)[:, :, :, others], before[:, :, :, others])


def test_what_fits_is_bounded_by_rows_and_tokens(device: str) -> None:
    """Too many rows, or too many tokens, do not fit a call."""
    golden = load_golden("t2s_v65", device)
    packed = PackedPrefill(golden.model, new_layers(golden), max_rows=2, token_buckets=(64,))
    row = PrefillRow([1] * 32, [], [], np.arange(32, dtype=np.int32))

    assert packed.fits([row, row])
    assert not packed.fits([row, replace(row, prompt_semantic=[1])])
    assert not packed.fits([replace(row, phone_ids=[1])] * 3)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
def test_a_graph_gives_the_bits_of_a_direct_launch(dtype: torch.dtype) -> None:
    """Captured or not, the same rows get the same logits and cache."""
    golden = load_golden("t2s_v1025", "cuda", dtype)
    rows = [packed_row(golden, row, place) for place, row in enumerate(golden_rows(golden))]

    direct, captured = run(golden, rows), run(golden, rows, is_captured=True)

    assert torch.equal(direct[0], captured[0])
    assert all(map(torch.equal, direct[1], captured[1]))


@pytest.fixture(scope="module")
def large() -> T2SModel:
    """Return a model of the published width, with four layers of noise, in float16."""
    dims = T2SDims(512, 16, 4, vocab_size=1025, phoneme_vocab_size=732, max_sec=54)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in T2SModel(dims).state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        scale = shape[1] ** -0.5 if len(shape) == 2 else 0.1
        weights["model." + name] = noise * scale + ("norm" in name and "weight" in name)
    source = DictWeights(weights)
    return T2SModel.from_weights(dims, source, device="cuda", dtype=torch.float16)


@pytest.mark.gpu
@pytest.mark.parametrize("overlaps", [False, True])
def test_every_bucket_gives_the_same_bits(large: T2SModel, *, overlaps: bool) -> None:
    """At the published width, tiles differ from bucket to bucket, and a row's bits do not."""
    generator = torch.Generator("cuda").manual_seed(0)
    layers = list(torch.zeros(4, 2, 16, 16 * 352, 32, device="cuda", dtype=torch.float16))
    packed = PackedPrefill(large, layers, overlaps=overlaps)
    packed.capture()
    features = torch.randn(105, 1024, device="cuda", generator=generator).half()
    phone_ids, prompt = [i * 7 % 732 for i in range(105)], [i * 11 % 1024 for i in range(160)]
    places = np.arange(352, dtype=np.int32)
    probe = PrefillRow(phone_ids, [(0, features)], prompt, places[:265] + 7 * 352)
    results = []
    for num_others in (0, 1, 2, 5, 13):
        others = [
            PrefillRow(
                phone_ids[place:], [], prompt[place:], places[: 265 - 2 * place] + slot * 352
            )
            for place, slot in enumerate([*range(7), *range(8, 16)][:num_others])
        ]
        logits = packed.run([*others, probe])[num_others].clone()
        own = at(probe, logits.device)
        results.append((logits, torch.stack(layers)[:, :, :, own]))

    assert all(torch.equal(logits, results[0][0]) for logits, _ in results)
    assert all(torch.equal(cached, results[0][1]) for _, cached in results)
