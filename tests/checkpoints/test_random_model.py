"""Random models have the names and shapes of real ones, and are the same for the same seed."""

import json
import wave
from pathlib import Path

import pytest

from sovits_serve.checkpoints.load import load_sovits, load_state_dict, load_t2s
from sovits_serve.checkpoints.random_configs import (
    bert_config,
    bert_vocabulary,
    hubert_config,
    sovits_dims,
    t2s_dims,
)
from sovits_serve.checkpoints.random_encoders import plan_bert, plan_hubert, plan_speaker
from sovits_serve.checkpoints.random_model import write_random_model, write_random_t2s
from sovits_serve.checkpoints.random_plan import Plan, plan_sovits, plan_t2s
from sovits_serve.errors import ConfigError
from sovits_serve.models.spec import SPECS, ModelVersion
from sovits_serve.parity.recipe import Recipe
from tests.checkpoints.test_detect import GENERATOR_VERSIONS
from tests.golden import DATA

Shapes = dict[str, tuple[int, ...]]


def _shapes(plan: Plan) -> Shapes:
    return {entry.name: entry.shape for entry in plan}


def _recorded(name: str) -> Shapes:
    shapes: Shapes = {}
    for entry in Recipe.read(DATA / f"{name}.weights.json").tensors:
        assert isinstance(entry[1], list)
        shapes[str(entry[0])] = tuple(entry[1])
    return shapes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny v2 model directory."""
    directory = tmp_path_factory.mktemp("model")
    return write_random_model(directory, version=ModelVersion.V2, size="tiny", seed=5)


def test_a_gpt_models_tensors_are_the_recorded_ones() -> None:
    """Names and shapes equal those of a recorded model of the same dimensions."""
    dims = t2s_dims(ModelVersion.V2, "tiny")

    assert _shapes(plan_t2s(dims)) == _recorded("t2s_v1025")


@pytest.mark.parametrize("version", GENERATOR_VERSIONS)
def test_a_sovits_models_tensors_are_the_recorded_ones(version: ModelVersion) -> None:
    """Names equal those of a recorded model; shapes too where no dimension differs."""
    planned = _shapes(plan_sovits(SPECS[version], sovits_dims(version, "tiny")))
    recorded = _recorded(f"s2_{version}_tiny")

    assert planned.keys() == recorded.keys()
    assert all(len(planned[name]) == len(shape) for name, shape in recorded.items())
    text = "enc_p.text_embedding.weight"
    assert planned[text] == recorded[text]


def test_a_speaker_encoders_tensors_are_the_recorded_ones() -> None:
    """All tensors but those of the unused embedding head are there with their shapes."""
    recorded = _recorded("sv")
    used = {name: shape for name, shape in recorded.items() if not name.startswith("seg_1.")}

    assert _shapes(plan_speaker(sovits_dims(ModelVersion.V2PRO, "tiny"))) == used


def test_the_text_and_speech_encoders_have_the_recorded_names() -> None:
    """HuBERT's and BERT's tensors carry the names that Hugging Face's files use."""
    hubert = _shapes(plan_hubert(hubert_config("full")))
    bert = _shapes(plan_bert(bert_config("full", 21128), num_stored_layers=24))

    assert _recorded("hubert_tiny").keys() <= hubert.keys()
    assert _recorded("bert_tiny").keys() <= bert.keys()
    assert hubert["encoder.pos_conv_embed.conv.weight_v"] == (768, 48, 128)
    assert bert["bert.embeddings.word_embeddings.weight"] == (21128, 1024)


def test_full_models_have_the_published_sizes() -> None:
    """Counted in halves, the full models come to the measured file sizes, but for the overhead."""
    measured = json.loads((DATA / "checkpoint_layouts.json").read_text("utf-8"))
    sizes = measured["real_sizes_measured"]
    for version in GENERATOR_VERSIONS:
        plan = plan_sovits(SPECS[version], sovits_dims(version, "full"))

        assert 0 < sizes[version] - _half_bytes(plan) < 300_000
    t2s = plan_t2s(t2s_dims(ModelVersion.V2, "full"))
    assert 0 < sizes["s1 24-layer"] - _half_bytes(t2s) < 300_000


def _half_bytes(plan: Plan) -> int:
    total = 0
    for entry in plan:
        size = 2
        for length in entry.shape:
            size *= length
        total += size
    return total


def test_a_tiny_model_is_small_and_complete(model: Path) -> None:
    """Every file is there, under 60 MB together, and the checkpoints load."""
    files = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}

    assert files == {
        "gpt.ckpt", "sovits.pth", "reference.wav", "reference.txt",
        "chinese-hubert-base/config.json", "chinese-hubert-base/model.safetensors",
        "chinese-roberta-wwm-ext-large/config.json", "chinese-roberta-wwm-ext-large/vocab.txt",
        "chinese-roberta-wwm-ext-large/model.safetensors",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in model.rglob("*")) < 60e6
    assert load_t2s(model / "gpt.ckpt").dims == t2s_dims(ModelVersion.V2, "tiny")
    assert load_sovits(model / "sovits.pth").version is ModelVersion.V2
    assert list(load_state_dict(model / "chinese-hubert-base/model.safetensors").names())


def test_the_reference_is_four_seconds_of_sound(model: Path) -> None:
    """The reference is mono at 32 kHz, audible, and within the three to ten seconds allowed."""
    with wave.open(str(model / "reference.wav")) as file:
        frames = file.readframes(file.getnframes())
        layout = (file.getnchannels(), file.getframerate(), file.getnframes())
    samples = memoryview(frames).cast("h")

    assert layout == (1, 32_000, 128_000)
    assert 0.3 < max(samples) / 2**15 < 0.9
    assert (model / "reference.txt").read_text("utf-8").strip()


def test_the_same_seed_gives_the_same_tensors(tmp_path: Path) -> None:
    """Seeds decide: equal ones give equal files' tensors, others do not."""
    sources = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_random_t2s(tmp_path / name, version=ModelVersion.V2, size="tiny", seed=seed)
        sources.append(load_t2s(tmp_path / name).weights)
    first, again, other = (source.tensor("model.ar_predict_layer.weight") for source in sources)

    assert first.equal(again)
    assert not first.equal(other)


def test_the_vocabulary_has_one_token_per_character() -> None:
    """No token occurs twice, the full vocabulary has the published size, tiny knows common words."""
    full, tiny = bert_vocabulary("full"), bert_vocabulary("tiny")

    assert len(full) == len(set(full)) == 21128
    assert len(tiny) == len(set(tiny)) < 300
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "你", "好", "。"} <= set(tiny) & set(full)


def test_versions_without_a_generator_are_refused(tmp_path: Path) -> None:
    """A random v3 or v4 model does not exist yet, and asking for one says so."""
    with pytest.raises(ConfigError, match="version v3 is not supported"):
        write_random_model(tmp_path, version=ModelVersion.V3, size="tiny", seed=0)
