import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from sovits_serve.errors import CheckpointError
from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from tests.golden import DATA
from tests.models.reference.golden_reference import load, recorded

RECIPE = Recipe.read(DATA / "hubert_tiny.weights.json")
POSITION = "encoder.pos_conv_embed.conv."


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """Rebuild the recorded checkpoint under its on-disk names."""
    return RECIPE.build()


@pytest.fixture(scope="module")
def encoder(tensors: dict[str, Tensor]) -> HubertEncoder:
    """Build the encoder in float32 on the CPU."""
    return make_encoder(tensors)


def make_encoder(tensors: dict[str, Tensor]) -> HubertEncoder:
    """Build an encoder from tensors."""
    source = DictWeights(tensors, "hubert")
    return HubertEncoder.from_weights(RECIPE.config, source, device="cpu", dtype=torch.float32)


def noise(length: int) -> Tensor:
    """Return a waveform that depends on its length only."""
    return 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("name", recorded("hubert_tiny"))
def test_features_equal_upstream(encoder: HubertEncoder, name: str) -> None:
    """Features of a recording with its trailing zeros are upstream's, within 1e-4."""
    golden = load(name, "hubert_tiny")
    assert golden.reference.ssl_wave is not None

    features = encoder.encode([torch.from_numpy(golden.reference.ssl_wave)])[0]

    torch.testing.assert_close(features, golden.values, rtol=0, atol=1e-4)


def test_rows_equal_singles(encoder: HubertEncoder) -> None:
    """Waveforms of different lengths encode together as they do alone, in order."""
    waves = [noise(length) for length in (16_000, 4_000, 9_000)]

    together = encoder.encode(waves)

    assert [row.shape for row in together] == [(49, 48), (12, 48), (27, 48)]
    for row, wave in zip(together, waves, strict=True):
        torch.testing.assert_close(row, encoder.encode([wave])[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("spelling", ["parametrizations.weight.original{}", "weight"])
def test_every_weight_norm_spelling_loads(
    encoder: HubertEncoder, tensors: dict[str, Tensor], spelling: str
) -> None:
    """The new spelling of weight norm, and a folded weight, give the same features as the old."""
    renamed = dict(tensors)
    magnitude, direction = (
        renamed.pop(POSITION + leaf).float() for leaf in ("weight_g", "weight_v")
    )
    if spelling == "weight":
        norms = direction.flatten(0, 1).norm(dim=0)
        renamed[POSITION + spelling] = direction * magnitude / norms
    else:
        renamed[POSITION + spelling.format(0)] = magnitude
        renamed[POSITION + spelling.format(1)] = direction

    features = make_encoder(renamed).encode([noise(5_000)])[0]

    torch.testing.assert_close(features, encoder.encode([noise(5_000)])[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("file_name", ["model.safetensors", "pytorch_model.bin"])
def test_directory_loads(
    encoder: HubertEncoder, tensors: dict[str, Tensor], tmp_path: Path, file_name: str
) -> None:
    """A local directory with either kind of weight file gives the recorded model."""
    (tmp_path / "config.json").write_text(json.dumps(RECIPE.config), encoding="utf-8")
    if file_name.endswith(".bin"):
        torch.save(tensors, tmp_path / file_name)
    else:
        safetensors.torch.save_file(tensors, tmp_path / file_name)

    loaded = HubertEncoder.from_directory(tmp_path, device="cpu", dtype=torch.float32)

    assert torch.equal(loaded.encode([noise(5_000)])[0], encoder.encode([noise(5_000)])[0])


def test_missing_weight_is_named(tensors: dict[str, Tensor]) -> None:
    """A checkpoint without the positional weight is refused with that tensor's name."""
    partial = {name: tensor for name, tensor in tensors.items() if name != POSITION + "weight_v"}

    with pytest.raises(CheckpointError, match="pos_conv_embed"):
        make_encoder(partial)


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 10**9},
        {"hidden_act": "nonsense"},
        {"conv_stride": [5]},
        {"hidden_size": -8},
        {"hidden_size": 10**12},
        {"num_attention_heads": -1},
        {"conv_kernel": [-1] * 7},
        {"conv_dim": [32] * 50_000, "conv_stride": [2] * 50_000, "conv_kernel": [2] * 50_000},
    ],
    ids=lambda change: next(iter(change)),
)
def test_senseless_config_is_refused(tensors: dict[str, Tensor], change: dict[str, object]) -> None:
    """A configuration that describes no model is a CheckpointError naming the file, and quick."""
    source = DictWeights(tensors, "hubert")

    with pytest.raises(CheckpointError, match="hubert"):
        HubertEncoder.from_weights(
            RECIPE.config | change, source, device="cpu", dtype=torch.float32
        )


@pytest.mark.parametrize("shape", [(1, 1, 10**8), (48, 1, 1), ()])
def test_a_magnitude_that_does_not_fit_is_refused(
    tensors: dict[str, Tensor], shape: tuple[int, ...]
) -> None:
    """The positional weight's magnitude is never broadcast to another size."""
    odd = tensors | {POSITION + "weight_g": torch.ones(()).expand(shape)}

    with pytest.raises(CheckpointError, match="weight_g' has shape"):
        make_encoder(odd)


def test_a_config_that_never_ends_is_refused(tmp_path: Path) -> None:
    """A configuration past any honest size is not read; a device is none."""
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(CheckpointError, match=r"config.json: has 1099511627776 bytes"):
        HubertEncoder.from_directory(tmp_path, device="cpu", dtype=torch.float32)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match=r"config.json: is not a regular file"):
        HubertEncoder.from_directory(tmp_path, device="cpu", dtype=torch.float32)


def test_no_waveforms_give_no_rows(encoder: HubertEncoder) -> None:
    """An empty batch is allowed."""
    assert encoder.encode([]) == []
