"""Checkpoints load as dims and weights, or say which key contradicts what."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
import torch
from torch import Tensor

from sovits_serve.checkpoints.layout import write_sovits, write_state_dict, write_t2s
from sovits_serve.checkpoints.load import load_sovits, load_state_dict, load_t2s
from sovits_serve.checkpoints.random_configs import sovits_dims
from sovits_serve.checkpoints.random_model import write_random_sovits, write_random_t2s
from sovits_serve.errors import CheckpointError
from sovits_serve.models.spec import ModelVersion, SymbolVersion
from sovits_serve.models.weights import WeightSource
from sovits_serve.parity.recipe import Recipe
from tests.checkpoints.test_detect import GENERATOR_VERSIONS
from tests.golden import DATA

Config = dict[str, dict[str, object]]
Parts = tuple[dict[str, Tensor], dict[str, object]]


def _tensors(source: WeightSource) -> dict[str, Tensor]:
    return {name: source.tensor(name) for name in source.names()}


def _t2s_parts(directory: Path) -> tuple[dict[str, Tensor], Config]:
    write_random_t2s(directory / "t2s.ckpt", version=ModelVersion.V2, size="tiny", seed=0)
    checkpoint = load_t2s(directory / "t2s.ckpt")
    return _tensors(checkpoint.weights), checkpoint.config  # type: ignore[return-value] # a config


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Return tensors and config of a tiny v2 model, without the bulk that no check looks at."""
    path = tmp_path_factory.mktemp("parts") / "sovits.pth"
    write_random_sovits(path, version=ModelVersion.V2, size="tiny", seed=1)
    checkpoint = load_sovits(path)
    bulk = ("flow.", "enc_p.mrte.", "quantizer.vq.layers.0._codebook.embed_avg")
    tensors = _tensors(checkpoint.weights)
    return {k: v for k, v in tensors.items() if not k.startswith(bulk)}, checkpoint.config


@pytest.mark.parametrize("name", ["t2s_v65", "t2s_v1025"])
def test_upstreams_gpt_files_load_bit_equal(name: str) -> None:
    """The recorded GPT files hold exactly the tensors of their recipes."""
    recipe = Recipe.read(DATA / f"{name}.weights.json")
    checkpoint = load_t2s(DATA / f"{name}.ckpt")
    expected, loaded = recipe.build(), _tensors(checkpoint.weights)

    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)
    assert checkpoint.config == recipe.config
    assert checkpoint.info == "GPT-e15"
    assert checkpoint.dims.eos == checkpoint.dims.vocab_size - 1


@pytest.mark.parametrize("name", ["v1", "v2Pro"])
def test_recorded_sovits_models_load_from_the_real_layout(tmp_path: Path, name: str) -> None:
    """Every recorded model, written as upstream does, comes back with its version and tensors."""
    recipe = Recipe.read(DATA / f"s2_{name}_tiny.weights.json")
    header = recipe.fields["header"]
    path = tmp_path / "sovits.pth"
    expected = recipe.build()
    write_sovits(path, expected, recipe.config, header=None if header == "PK" else str(header))
    checkpoint = load_sovits(path)
    loaded = _tensors(checkpoint.weights)

    assert checkpoint.version == name
    assert checkpoint.symbol_version == (SymbolVersion.V1 if name == "v1" else SymbolVersion.V2)
    assert checkpoint.config == recipe.config
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)


@pytest.mark.parametrize("version", GENERATOR_VERSIONS)
def test_dims_come_from_the_config(tmp_path: Path, version: ModelVersion) -> None:
    """The dimensions that a file was written with are those it loads with."""
    path = tmp_path / "sovits.pth"
    write_random_sovits(path, version=version, size="tiny", seed=1)
    dims = load_sovits(path).dims

    assert dims == sovits_dims(version, "tiny")
    assert dims.style_dim == (512 if version in ("v1", "v2") else 64)


def test_float32_files_load_in_float32(tmp_path: Path, parts: Parts) -> None:
    """A file in full precision, as some trainers export, loads with the same version and dims."""
    path = tmp_path / "sovits.pth"
    write_sovits(path, {name: tensor.float() for name, tensor in parts[0].items()}, parts[1])
    checkpoint = load_sovits(path)

    assert checkpoint.version is ModelVersion.V2
    assert checkpoint.dims == sovits_dims(ModelVersion.V2, "tiny")
    assert checkpoint.weights.tensor("enc_p.proj.weight").dtype is torch.float32


def test_extra_tensors_do_not_matter(tmp_path: Path, parts: Parts) -> None:
    """Tensors that no model asks for, the posterior encoder's too, are no error."""
    path = tmp_path / "sovits.pth"
    extra = {"enc_q.pre.weight": torch.zeros(2), "new": torch.ones(1)}
    write_sovits(path, parts[0] | extra, parts[1])

    assert load_sovits(path).dims == sovits_dims(ModelVersion.V2, "tiny")


def test_a_plain_dict_as_sovits_config_loads(tmp_path: Path, parts: Parts) -> None:
    """Official and older files hold a dict where newer ones hold an object."""
    path = tmp_path / "plain.pth"
    torch.save({"weight": parts[0], "config": parts[1], "info": "x"}, path)

    assert load_sovits(path).dims == sovits_dims(ModelVersion.V2, "tiny")


def test_path_objects_in_a_config_become_strings(tmp_path: Path) -> None:
    """GPT files from Lightning hold path objects; they load as text on every system."""
    tensors, config = _t2s_parts(tmp_path)
    paths: dict[str, object] = {
        "output_dir": PurePosixPath("/opt/logs/s1"),
        "train_phoneme_path": PureWindowsPath("D:\\logs\\2-name2text.txt"),
    }
    write_t2s(tmp_path / "old.ckpt", tensors, {**config, **paths})
    loaded = load_t2s(tmp_path / "old.ckpt").config

    assert loaded["output_dir"] == "/opt/logs/s1"
    assert loaded["train_phoneme_path"] == "D:\\logs\\2-name2text.txt"


@pytest.mark.parametrize(
    ("section", "key", "value", "reason"),
    [
        ("model", "hidden_dim", 128, r"config model.embedding_dim is 64, 128 is needed"),
        ("model", "hidden_dim", None, r"config model.hidden_dim is None, an integer"),
        ("model", "hidden_dim", "64", r"config model.hidden_dim is '64', an integer"),
        ("model", "hidden_dim", 2**40, r"an integer from 1 to"),
        ("model", "head", 5, r"config model.hidden_dim % model.head is 4, 0 is needed"),
        ("model", "n_layer", 3, r"has 2 tensors 'model.h.layers.N.linear1.weight', .* says 3"),
        ("model", "vocab_size", 1026, r"config model.EOS is 1024, 1025 is needed"),
        ("model", "phoneme_vocab_size", 512, r"shape \(732, 64\), .* says \(512, 64\)"),
        ("data", "max_sec", 0, r"config data.max_sec is 0"),
        ("data", "max_sec", True, r"config data.max_sec is True"),
    ],
)
def test_a_gpt_config_that_contradicts_is_refused(
    tmp_path: Path, section: str, key: str, value: object, reason: str
) -> None:
    """The error names the key, what the config says and what the tensors say."""
    tensors, config = _t2s_parts(tmp_path)
    config[section][key] = value
    path = tmp_path / "wrong.ckpt"
    write_t2s(path, tensors, config)

    with pytest.raises(CheckpointError, match=f"wrong.ckpt: .*{reason}"):
        load_t2s(path)


def test_a_projection_that_is_a_number_is_refused(tmp_path: Path) -> None:
    """A tensor without dimensions, where the text features' width is read, is an error."""
    tensors, config = _t2s_parts(tmp_path)
    path = tmp_path / "wrong.ckpt"
    write_t2s(path, {**tensors, "model.bert_proj.weight": torch.zeros(())}, config)

    with pytest.raises(CheckpointError, match=r"wrong.ckpt: .*bert_proj.weight' has shape \(\)"):
        load_t2s(path)


@pytest.mark.parametrize("key", ["hidden_dim", "EOS", "n_layer"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    """A config without a key that is needed gives an error that names it."""
    tensors, config = _t2s_parts(tmp_path)
    del config["model"][key]
    path = tmp_path / "wrong.ckpt"
    write_t2s(path, tensors, config)

    with pytest.raises(CheckpointError, match=f"config model.{key} is missing"):
        load_t2s(path)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("inter_channels", 32, r"'enc_p.proj.weight' has shape \(32, 192, 1\).*\(64, 192, 1\)"),
        ("hidden_channels", 96, "hidden_channels"),
        ("filter_channels", 64, "filter_channels"),
        ("n_heads", 4, "n_heads"),
        ("n_layers", 3, "config model.n_layers says 3"),
        ("gin_channels", 256, "gin_channels"),
        ("upsample_rates", [10, 8, 2, 2], "config model.upsample_rates says 4"),
        (
            "upsample_kernel_sizes",
            [16, 16, 8, 2],
            "5 tensors .* model.upsample_kernel_sizes says 4",
        ),
        ("resblock_dilation_sizes", [[1, 3, 5]] * 2, "15 tensors .*dilation_sizes says 10"),
        ("resblock_dilation_sizes", [[1, 3, 5]] * 4, "15 tensors .*dilation_sizes says 20"),
        ("upsample_kernel_sizes", [20, 16, 8, 2, 2], "upsample_kernel_sizes"),
        ("upsample_initial_channel", 32, "upsample_initial_channel"),
        ("resblock_kernel_sizes", [3, 7], "resblock_kernel_sizes"),
        ("resblock_dilation_sizes", [[1, 3]] * 3, "resblock_dilation_sizes"),
        ("resblock_dilation_sizes", [1, 3, 5], r"resblock_dilation_sizes\[0\] is 1, a list"),
        ("upsample_rates", [], "upsample_rates is a list, a list of 1 to 64"),
    ],
)
def test_a_sovits_config_that_contradicts_is_refused(
    tmp_path: Path, parts: Parts, key: str, value: object, reason: str
) -> None:
    """The error names the tensor or the key, and both values."""
    path = tmp_path / "wrong.pth"
    tensors, config = parts
    model = config["model"]
    assert isinstance(model, dict)
    write_sovits(path, tensors, {**config, "model": {**model, key: value}})

    with pytest.raises(CheckpointError, match=f"wrong.pth: .*{reason}"):
        load_sovits(path)


def test_a_mark_that_contradicts_the_tensors_is_refused(tmp_path: Path, parts: Parts) -> None:
    """A v2 file that is marked as v2Pro lacks the speaker tensors, and the error says so."""
    path = tmp_path / "wrong.pth"
    write_sovits(path, *parts, header="05")

    with pytest.raises(CheckpointError, match="'sv_emb.weight' is missing"):
        load_sovits(path)


@pytest.mark.parametrize(
    ("load", "name", "reason"),
    [
        (load_sovits, "t2s_v65.ckpt", r"is a GPT .* checkpoint, a SoVITS checkpoint is needed"),
        (load_t2s, "s2_layout_v2.pth", r"is a SoVITS checkpoint, a GPT .* checkpoint is needed"),
    ],
)
def test_a_file_given_for_the_other_is_named(
    load: Callable[[Path], object], name: str, reason: str
) -> None:
    """A GPT file given as SoVITS file, and the reverse, gives an error that says what it is."""
    with pytest.raises(CheckpointError, match=f"{name}: {reason}"):
        load(DATA / name)


def test_a_table_of_tensors_is_no_model(tmp_path: Path) -> None:
    """A plain state dict given as a model is named as such."""
    path = tmp_path / "plain.pth"
    write_state_dict(path, {"x": torch.zeros(1)})

    with pytest.raises(CheckpointError, match="is a plain table of tensors"):
        load_t2s(path)


def test_weights_without_a_config_are_refused(tmp_path: Path) -> None:
    """Weights alone do not say how many heads they have."""
    tensors, _ = _t2s_parts(tmp_path)
    write_state_dict(tmp_path / "bare.ckpt", tensors)

    with pytest.raises(CheckpointError, match="has no 'config'"):
        load_t2s(tmp_path / "bare.ckpt")


@pytest.mark.parametrize(("name", "version"), [("v3", "v3 LoRA"), ("v4", "v4 LoRA")])
def test_flow_matching_models_are_known_but_not_supported(name: str, version: str) -> None:
    """A v3 or v4 file is recognised; loading it needs an explicit permission."""
    path = DATA / f"s2_layout_{name}_lora.pth"

    with pytest.raises(CheckpointError, match=f"is a {version} model, which is not supported yet"):
        load_sovits(path)
    assert load_sovits(path, allow_cfm=True).is_lora


def test_an_unknown_tensor_is_named() -> None:
    """Asking for a tensor that the file lacks names file and tensor."""
    weights = load_state_dict(DATA / "t2s_v65.ckpt")

    with pytest.raises(CheckpointError, match="t2s_v65.ckpt: tensor 'x' is missing"):
        weights.tensor("x")


def test_a_loaded_tensor_may_be_written_to() -> None:
    """A tensor is a buffer of its own: changing it changes neither file nor next read."""
    weights = load_state_dict(DATA / "t2s_v65.ckpt")
    name = next(iter(weights.names()))
    first = weights.tensor(name)
    before = first.clone()
    first.zero_()

    assert torch.equal(weights.tensor(name), before)


def test_the_codebook_says_how_wide_features_are(tmp_path: Path, parts: Parts) -> None:
    """No config has the width of the reference's features; a file that disagrees is refused."""
    tensors, config = dict(parts[0]), parts[1]
    hidden = tensors["enc_p.ssl_proj.weight"].size(0)
    tensors["quantizer.vq.layers.0._codebook.embed"] = torch.zeros(512, 8)
    tensors["ssl_proj.weight"] = torch.zeros(8, 8, 2)
    write_sovits(tmp_path / "mixed.pth", tensors, config)
    tensors["enc_p.ssl_proj.weight"] = torch.zeros(hidden, 8, 1)
    write_sovits(tmp_path / "narrow.pth", tensors, config)

    dims = load_sovits(tmp_path / "narrow.pth").dims
    assert (dims.codebook_size, dims.ssl_dim) == (512, 8)
    with pytest.raises(CheckpointError, match=r"'enc_p\.ssl_proj\.weight' has shape"):
        load_sovits(tmp_path / "mixed.pth")


@pytest.mark.parametrize(("said", "reads"), [(None, True), ("bert", True), ("none", False)])
def test_a_gpt_file_says_whether_it_reads_text_features(
    tmp_path: Path, said: str | None, *, reads: bool
) -> None:
    """Upstream's files say nothing and read BERT; one that was trained with zeros says so."""
    tensors, config = _t2s_parts(tmp_path)
    model = config["model"] if said is None else config["model"] | {"text_features": said}
    write_t2s(tmp_path / "gpt.ckpt", tensors, config | {"model": model})

    assert load_t2s(tmp_path / "gpt.ckpt").dims.reads_text_features is reads


def test_other_text_features_are_refused(tmp_path: Path) -> None:
    """What nobody here can compute is not read as zeros."""
    tensors, config = _t2s_parts(tmp_path)
    model = config["model"] | {"text_features": "roberta"}
    write_t2s(tmp_path / "gpt.ckpt", tensors, config | {"model": model})

    with pytest.raises(CheckpointError, match="text_features is 'roberta', one of bert, none"):
        load_t2s(tmp_path / "gpt.ckpt")
