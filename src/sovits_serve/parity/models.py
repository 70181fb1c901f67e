"""Our models, built from recipes: tensors in memory, straight into the modules.

Nothing is written to disk, and the float16 tensors go away once a module is filled.
"""

from sovits_serve.checkpoints.config_reader import ConfigReader
from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.reference.speaker import SpeakerEncoder
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.spec import SPECS, ModelVersion, SovitsDims, T2SDims
from sovits_serve.models.t2s.model import T2SModel
from sovits_serve.models.text_features.bert import BertFeatures, CharacterVocabulary
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.golden import GoldenDirectory, text
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.recipe import Recipe


def t2s_dims(recipe: Recipe) -> T2SDims:
    """Read the dimensions of a T2S recipe."""
    config = ConfigReader(recipe.path.name, recipe.config)
    return T2SDims(
        hidden=config.integer("model.hidden_dim"),
        num_heads=config.integer("model.head"),
        num_layers=config.integer("model.n_layer"),
        vocab_size=config.integer("model.vocab_size"),
        phoneme_vocab_size=config.integer("model.phoneme_vocab_size"),
        max_sec=config.integer("data.max_sec"),
        text_feature_dim=_shape(recipe, "model.bert_proj.weight")[-1],
    )


def t2s_model(recipe: Recipe, precision: Precision) -> T2SModel:
    """Build a T2S model."""
    return T2SModel.from_weights(
        t2s_dims(recipe), weights(recipe), device=precision.device, dtype=precision.dtype
    )


def model_version(recipe: Recipe) -> ModelVersion:
    """Return the version that a SoVITS recipe is of."""
    model = recipe.config["model"]
    assert isinstance(model, dict)
    return ModelVersion(text(model["version"]))


def sovits_dims(recipe: Recipe) -> SovitsDims:
    """Read the dimensions of a SoVITS recipe."""
    config = ConfigReader(recipe.path.name, recipe.config)
    return SovitsDims(
        inter_channels=config.integer("model.inter_channels"),
        hidden_channels=config.integer("model.hidden_channels"),
        filter_channels=config.integer("model.filter_channels"),
        num_heads=config.integer("model.n_heads"),
        num_layers=config.integer("model.n_layers"),
        kernel_size=config.integer("model.kernel_size"),
        style_dim=config.integer("model.gin_channels"),
        num_symbols=_shape(recipe, "enc_p.text_embedding.weight")[0],
        upsample_rates=config.integers("model.upsample_rates"),
        upsample_kernel_sizes=config.integers("model.upsample_kernel_sizes"),
        upsample_initial_channels=config.integer("model.upsample_initial_channel"),
        resblock_kernel_sizes=config.integers("model.resblock_kernel_sizes"),
        resblock_dilation_sizes=config.integer_lists("model.resblock_dilation_sizes"),
    )


def sovits_model(recipe: Recipe, precision: Precision) -> SovitsModel:
    """Build a SoVITS model with a generator."""
    return SovitsModel.from_weights(
        SPECS[model_version(recipe)],
        sovits_dims(recipe),
        weights(recipe),
        device=precision.device,
        dtype=precision.dtype,
    )


def hubert(recipe: Recipe, precision: Precision) -> HubertEncoder:
    """Build a HuBERT encoder."""
    return HubertEncoder.from_weights(
        recipe.config, weights(recipe), device=precision.device, dtype=precision.dtype
    )


def speaker(recipe: Recipe, precision: Precision) -> SpeakerEncoder:
    """Build a speaker encoder."""
    return SpeakerEncoder.from_weights(
        weights(recipe), device=precision.device, dtype=precision.dtype
    )


def bert(recipe: Recipe, vocabulary: CharacterVocabulary, precision: Precision) -> BertFeatures:
    """Build a BERT encoder."""
    return BertFeatures.from_weights(
        recipe.config,
        weights(recipe),
        vocabulary,
        device=precision.device,
        dtype=precision.dtype,
    )


def vocabulary(directory: GoldenDirectory) -> CharacterVocabulary | None:
    """Return the directory's BERT vocabulary (``*vocab.txt``), or None without one."""
    stems = directory.stems("vocab.txt")
    if not stems:
        return None
    lines = (directory.path / f"{stems[0]}vocab.txt").read_text(encoding="utf-8").split("\n")
    ids = {line.rstrip("\r"): index for index, line in enumerate(lines) if line}
    return CharacterVocabulary(ids)


def weights(recipe: Recipe) -> DictWeights:
    """Rebuild a recipe's tensors."""
    return DictWeights(recipe.build(), recipe.path.name)


def _shape(recipe: Recipe, name: str) -> list[int]:
    for entry in recipe.tensors:
        if entry[0] == name:
            shape = entry[1]
            assert isinstance(shape, list)
            return shape
    raise KeyError(f"{recipe.path.name} holds no tensor {name}")
