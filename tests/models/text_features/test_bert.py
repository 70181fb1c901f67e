import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from sovits_serve.errors import CheckpointError, InvalidRequest, TextTooLong
from sovits_serve.models.text_features.bert import BertFeatures, CharacterVocabulary
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from tests.golden import DATA

RECIPE = Recipe.read(DATA / "bert_tiny.weights.json")
CASES = json.loads((DATA / "bert_tiny.meta.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> CharacterVocabulary:
    """Read the recorded vocabulary."""
    directory = tmp_path_factory.mktemp("vocabulary")
    (directory / "vocab.txt").write_bytes((DATA / "bert_vocab.txt").read_bytes())
    return CharacterVocabulary.from_directory(directory)


@pytest.fixture(scope="module")
def bert(vocabulary: CharacterVocabulary) -> BertFeatures:
    """Build the recorded model in float32 on the CPU."""
    return make_bert(RECIPE.build(), vocabulary)


def make_bert(tensors: dict[str, Tensor], vocabulary: CharacterVocabulary) -> BertFeatures:
    """Build a model from tensors."""
    return BertFeatures.from_weights(
        RECIPE.config, DictWeights(tensors), vocabulary, device="cpu", dtype=torch.float32
    )


def items() -> list[tuple[str, list[int]]]:
    """Return the recorded texts and their phoneme counts."""
    return [(case["norm"], case["word2ph"]) for case in CASES]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_features_equal_upstream(bert: BertFeatures, index: int) -> None:
    """Features of every recorded text are upstream's, within 1e-4."""
    with np.load(DATA / "bert_tiny.npz") as arrays:
        recorded = torch.from_numpy(arrays[f"b{index}"]).T

    features = bert.encode([items()[index]])[0]

    torch.testing.assert_close(features, recorded, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_characters_become_upstreams_tokens(
    vocabulary: CharacterVocabulary, case: dict[str, object]
) -> None:
    """Every recorded text has upstream's token ids."""
    assert vocabulary.encode(str(case["norm"])) == case["input_ids"]


def test_rows_equal_singles(bert: BertFeatures) -> None:
    """Texts of different lengths encode together as they do alone, in order."""
    together = bert.encode(items())

    for row, item in zip(together, items(), strict=True):
        torch.testing.assert_close(row, bert.encode([item])[0], rtol=0, atol=1e-5)


def test_unknown_characters_keep_their_place(bert: BertFeatures) -> None:
    """Characters outside the vocabulary, of any plane, are one token each."""
    rows = bert.encode([("你😀\u2028\ud800好", [1, 1, 1, 1, 2])])[0]

    assert rows.shape == (6, bert.feature_dim)
    assert torch.equal(rows[4], rows[5])


def test_capitals_are_read_as_small_letters(tmp_path: Path) -> None:
    """The vocabulary is uncased; a capital whose small form is two characters is unknown."""
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na\n", encoding="utf-8")

    assert CharacterVocabulary.from_directory(tmp_path).encode("aAİ") == [1, 3, 3, 0, 2]


def test_tokenizer_file_stands_in_for_the_vocabulary(tmp_path: Path) -> None:
    """Where ``vocab.txt`` is absent, ``tokenizer.json`` is read."""
    table = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "好": 7}
    content = json.dumps({"model": {"type": "WordPiece", "vocab": table}})
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")

    assert CharacterVocabulary.from_directory(tmp_path).encode("好好") == [1, 7, 7, 2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.txt", b"a\nb\n"),
        ("vocab.txt", b"\xff\xfe"),
        ("tokenizer.json", b"[]"),
        ("tokenizer.json", b'{"model": {"vocab": [["a", 0.5]]}}'),
        ("tokenizer.json", b'{"model": {"vocab": {"[UNK]": 1e999, "[CLS]": 1, "[SEP]": 2}}}'),
        ("tokenizer.json", b'{"model": {"vocab": {"[UNK]": -5, "[CLS]": 1, "[SEP]": 2}}}'),
        ("other", b""),
    ],
)
def test_bad_vocabulary_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """A vocabulary that is absent, not text, or lacks special tokens is a CheckpointError."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(CheckpointError):
        CharacterVocabulary.from_directory(tmp_path)


def test_longest_text_fits_and_one_more_is_refused(bert: BertFeatures) -> None:
    """510 characters are encoded; 511 are TextTooLong with both numbers."""
    assert bert.encode([("好" * 510, [1] * 510)])[0].shape[0] == 510
    with pytest.raises(TextTooLong, match=r"511 characters.*510"):
        bert.encode([("好" * 511, [1] * 511)])


@pytest.mark.parametrize("word2ph", [[1], [1, 1, 1], [1, -1]])
def test_counts_must_fit_the_text(bert: BertFeatures, word2ph: list[int]) -> None:
    """Phoneme counts that are not one per character, or negative, are refused."""
    with pytest.raises(InvalidRequest, match="word2ph"):
        bert.encode([("你好", word2ph)])


def test_empty_text_and_empty_batch_are_allowed(bert: BertFeatures) -> None:
    """Nothing in gives nothing out, beside other rows too."""
    assert bert.encode([]) == []
    assert [row.shape[0] for row in bert.encode([("", []), ("好", [0]), ("好", [3])])] == [0, 0, 3]


@pytest.mark.parametrize("style", ["no prefix", "gamma and beta"])
def test_other_spellings_of_names_load(
    bert: BertFeatures, vocabulary: CharacterVocabulary, style: str
) -> None:
    """Checkpoints without ``bert.``, or with the old layer norm names, give the same features."""
    tensors = RECIPE.build()
    if style == "no prefix":
        tensors = {name.removeprefix("bert."): value for name, value in tensors.items()}
    else:
        old = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
        for new_name, old_name in old:
            tensors = {name.replace(new_name, old_name): v for name, v in tensors.items()}

    renamed = make_bert(tensors, vocabulary)

    assert torch.equal(renamed.encode(items()[:1])[0], bert.encode(items()[:1])[0])


def test_directory_loads(bert: BertFeatures, tmp_path: Path) -> None:
    """A local directory gives the recorded model."""
    (tmp_path / "config.json").write_text(json.dumps(RECIPE.config), encoding="utf-8")
    (tmp_path / "vocab.txt").write_bytes((DATA / "bert_vocab.txt").read_bytes())
    safetensors.torch.save_file(RECIPE.build(), tmp_path / "model.safetensors")

    loaded = BertFeatures.from_directory(tmp_path, device="cpu", dtype=torch.float32)

    assert torch.equal(loaded.encode(items()[:1])[0], bert.encode(items()[:1])[0])


def test_directory_without_weights_is_refused(tmp_path: Path) -> None:
    """A directory without a weight file is a CheckpointError naming what is looked for."""
    (tmp_path / "config.json").write_text(json.dumps(RECIPE.config), encoding="utf-8")
    (tmp_path / "vocab.txt").write_bytes((DATA / "bert_vocab.txt").read_bytes())

    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        BertFeatures.from_directory(tmp_path, device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("change", [{"vocab_size": 0}, {"pad_token_id": 10**6}])
def test_senseless_config_is_refused(
    vocabulary: CharacterVocabulary, change: dict[str, object]
) -> None:
    """A configuration that describes no model is a CheckpointError naming the file."""
    with pytest.raises(CheckpointError, match="bert.bin: its config"):
        BertFeatures.from_weights(
            RECIPE.config | change,
            DictWeights(RECIPE.build(), "bert.bin"),
            vocabulary,
            device="cpu",
            dtype=torch.float32,
        )


def test_vocabulary_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    """A vocabulary with ids past the embeddings is a CheckpointError, not an index error later."""
    lines = ["[UNK]", "[CLS]", "[SEP]", *(str(index) for index in range(30_000))]
    (tmp_path / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")

    with pytest.raises(CheckpointError, match="30002"):
        make_bert(RECIPE.build(), CharacterVocabulary.from_directory(tmp_path))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_on_a_gpu(
    bert: BertFeatures, vocabulary: CharacterVocabulary, dtype: torch.dtype
) -> None:
    """A GPU gives the CPU's features in every precision, batched."""
    gpu = BertFeatures.from_weights(
        RECIPE.config, DictWeights(RECIPE.build()), vocabulary, device="cuda", dtype=dtype
    )

    for row, expected in zip(gpu.encode(items()), bert.encode(items()), strict=True):
        cosine = torch.nn.functional.cosine_similarity(row.cpu().float(), expected)

        assert cosine.min() > 0.999
