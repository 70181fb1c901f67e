import pytest
import torch

from sovits_serve.errors import CheckpointError, InvalidRequest, TextTooLong
from sovits_serve.models.cuda.bert import PackedBert
from sovits_serve.models.text_features.bert import BertFeatures, CharacterVocabulary
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from tests.golden import DATA
from tests.models.cuda.interpreted import use_exact_products

RECIPE = Recipe.read(DATA / "bert_tiny.weights.json")
CONFIG = RECIPE.config | {"max_position_embeddings": 60}
ITEMS = [("今天天气", [2, 1, 2, 3]), ("", []), ("好a?😀", [0, 3, 1, 1]), ("我们" * 29, [2] * 58)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a row's bits be its own in the interpreter, too."""
    use_exact_products(monkeypatch)


def make_bert(device: str, dtype: torch.dtype, changes: dict[str, object]) -> BertFeatures:
    """Build the recorded model, with fewer positions."""
    lines = (DATA / "bert_vocab.txt").read_text(encoding="utf-8").split("\n")
    vocabulary = CharacterVocabulary({line: index for index, line in enumerate(lines) if line})
    tensors = RECIPE.build()
    name = "bert.embeddings.position_embeddings.weight"
    tensors[name] = tensors[name][: CONFIG["max_position_embeddings"]]
    return BertFeatures.from_weights(
        CONFIG | changes, DictWeights(tensors), vocabulary, device=device, dtype=dtype
    )


def make_both(
    device: str, dtype: torch.dtype = torch.float32, **changes: object
) -> tuple[BertFeatures, PackedBert]:
    """Return the simple model, and another one packed."""
    packed = PackedBert(make_bert(device, dtype, changes), max_rows=3, token_buckets=(64, 128))
    return make_bert(device, dtype, changes), packed


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_features_are_the_simple_paths(device: str, activation: str) -> None:
    """In float32, texts packed together, in several launches, get the simple path's features."""
    bert, packed = make_both(device, hidden_act=activation)

    features = packed.encode(ITEMS)

    torch.testing.assert_close(features, bert.encode(ITEMS), atol=2e-5, rtol=1e-5)


def test_the_simple_path_goes_on_with_shared_parameters(device: str) -> None:
    """After packing, the model itself computes what it computed before."""
    bert = make_bert(device, torch.float32, {})
    before = bert.encode(ITEMS[:1])[0]

    PackedBert(bert, token_buckets=(64,))

    assert torch.equal(bert.encode(ITEMS[:1])[0], before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_text_has_the_same_bits_alone_and_beside_others(device: str, dtype: torch.dtype) -> None:
    """Neighbours and order change no bit of a text's features."""
    if device == "cpu" and dtype is torch.bfloat16:
        pytest.skip("the interpreter has no bfloat16")
    _, packed = make_both(device, dtype)

    together = packed.encode([ITEMS[2], ITEMS[0]])

    assert torch.equal(packed.encode([ITEMS[0]])[0], together[1])


def test_half_precision_is_near_float32(device: str) -> None:
    """In float16, features point where the simple path's in float32 do."""
    _, packed = make_both(device, torch.float16)

    features = packed.encode(ITEMS[:1])[0].float()

    expected = make_bert(device, torch.float32, {}).encode(ITEMS[:1])[0]
    assert torch.nn.functional.cosine_similarity(features, expected).min() > 0.999


def test_results_outlive_the_next_call(device: str) -> None:
    """What was returned does not change when other texts are encoded."""
    _, packed = make_both(device)
    first = packed.encode([ITEMS[0]])[0]
    before = first.clone()

    packed.encode([ITEMS[2]])

    assert torch.equal(first, before)


def test_nothing_in_gives_nothing_out(device: str) -> None:
    """An empty batch, and texts without phonemes, are allowed."""
    _, packed = make_both(device)

    assert packed.encode([]) == []
    assert [len(row) for row in packed.encode([("", []), ("好", [0])])] == [0, 0]


def test_bad_items_are_refused(device: str) -> None:
    """Texts that are too long, or whose counts do not fit, are refused as by the simple path."""
    _, packed = make_both(device)

    with pytest.raises(TextTooLong, match=r"59 characters.*58"):
        packed.encode([("好" * 59, [1] * 59)])
    with pytest.raises(InvalidRequest, match="word2ph"):
        packed.encode([("好", [1, 1])])


def test_an_unknown_activation_is_refused(device: str) -> None:
    """A model whose activation has no kernel is a CheckpointError."""
    with pytest.raises(CheckpointError, match="silu"):
        make_both(device, hidden_act="silu")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_graph_gives_the_bits_of_a_direct_launch(dtype: torch.dtype) -> None:
    """Captured or not, the same texts get the same features."""
    _, packed = make_both("cuda", dtype)
    direct = packed.encode(ITEMS)

    packed.capture()

    assert all(map(torch.equal, packed.encode(ITEMS), direct))
