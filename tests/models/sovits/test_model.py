from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sovits_serve.models.sovits.model import Latents
from tests.models.sovits.golden_models import (
    VERSIONS,
    Golden,
    encode_rows,
    full,
    golden,
    padded,
    random_row,
    recorded_cases,
    unit_normal,
)

TOLERANCE = 1e-4  # what the goldens allow for intermediates and audio
CASES = [(version, case) for version in VERSIONS for case in recorded_cases(version)]
DETAILED = [(version, case) for version, case in CASES if case["case"] in {0, 2}]


def case_noise(recorded: Golden, case: dict[str, Any]) -> Tensor:
    """Return a case's recorded noise; zeros for the cases without."""
    frames = recorded.model.num_frames(recorded.data["codes"].size(2), case["speed"])
    zeros = torch.zeros(1, recorded.model.dims.inter_channels, frames)
    return recorded.data.get(f"c{case['case']}_noise", zeros)


def decode_case(recorded: Golden, case: dict[str, Any]) -> tuple[Latents, Tensor]:
    """Return latent and audio of a recorded case."""
    codes, text = recorded.data["codes"][0], recorded.data["text"]
    style = recorded.style(case["n_refs"])
    latents = recorded.model.encode_latent(
        codes,
        full(codes, 1),
        text,
        full(text, 1),
        style,
        speeds=[case["speed"]],
        noise=case_noise(recorded, case),
        noise_scale=case["noise_scale"],
    )
    return latents, recorded.model.generate(latents.z, latents.lengths, style)


@pytest.mark.parametrize("version", VERSIONS)
def test_prompt_semantic_equals_upstream(version: str) -> None:
    """The codes of recorded SSL features are upstream's, exactly."""
    recorded = golden(version)
    features = recorded.data["ssl"].transpose(1, 2)

    tokens, lengths = recorded.model.extract_prompt_semantic(features, full(features, 1))

    assert tokens.tolist() == recorded.data["extract_codes"][0].tolist()
    assert lengths.tolist() == [tokens.size(1)]


@pytest.mark.parametrize(("version", "case"), CASES)
def test_audio_equals_upstream(version: str, case: dict[str, Any]) -> None:
    """One to three references, three speeds, with and without noise give upstream's audio."""
    recorded = golden(version)

    _, audio = decode_case(recorded, case)

    expected = recorded.data[f"c{case['case']}_audio"]
    torch.testing.assert_close(audio[0], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("version", "case"), DETAILED)
def test_intermediates_equal_upstream(version: str, case: dict[str, Any]) -> None:
    """Every recorded stage between tokens and audio is upstream's."""
    recorded = golden(version)
    data, model = recorded.data, recorded.model
    codes, text, style = data["codes"][0], data["text"], recorded.style(case["n_refs"])

    frames = model.encode_semantic(codes, full(codes, 1), text, full(text, 1), style)
    x, lengths = model.apply_speed(frames.x, frames.lengths, [case["speed"]])
    mean, log_deviation = model.project(x, lengths)
    latents, _ = decode_case(recorded, case)

    stages = {"enc_ssl": frames.ssl, "enc_text": frames.text, "mrte": frames.mrte}
    stages |= {"enc_x": x, "m": mean, "logs": log_deviation, "z": latents.z}
    for name, tensor in stages.items():
        torch.testing.assert_close(
            tensor, data[f"c{case['case']}_{name}"], rtol=0, atol=TOLERANCE, msg=name
        )


@pytest.mark.parametrize(("version", "case"), CASES)
def test_audio_length_is_frames_times_samples(version: str, case: dict[str, Any]) -> None:
    """``num_frames`` predicts the length of every recorded audio."""
    recorded = golden(version)
    model = recorded.model

    frames = model.num_frames(recorded.data["codes"].size(2), case["speed"])

    assert frames * model.dims.samples_per_frame == case["samples"]


row_sizes = st.tuples(
    st.integers(1, 24),  # tokens
    st.integers(1, 20),  # phonemes
    st.sampled_from([0.5, 0.8, 1.0, 1.3, 2.0]),
)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(sizes=st.lists(row_sizes, min_size=2, max_size=4), version=st.sampled_from(VERSIONS))
def test_batched_latents_equal_singles(sizes: list[tuple[int, int, float]], version: str) -> None:
    """Rows of different tokens, phonemes, styles, speeds and noise each equal that row alone."""
    model = golden(version).model
    rows = [random_row(model, seed, size) for seed, size in enumerate(sizes)]

    batch = encode_rows(model, rows)

    for index, row in enumerate(rows):
        alone = encode_rows(model, [row])
        frames = row.noise.size(1)
        assert batch.lengths[index] == frames
        torch.testing.assert_close(batch.z[index, :, :frames], alone.z[0], rtol=0, atol=2e-5)
        assert not batch.z[index, :, frames:].any()


def test_batched_prompt_semantic_equals_singles() -> None:
    """SSL features of different lengths give each row's own codes."""
    model = golden("v2").model
    rows = [unit_normal(seed, 768, length) for seed, length in enumerate((31, 8, 50))]
    features, lengths = padded(rows)

    tokens, token_lengths = model.extract_prompt_semantic(features.transpose(1, 2), lengths)

    assert token_lengths.tolist() == [15, 4, 25]
    for index, row in enumerate(rows):
        alone, _ = model.extract_prompt_semantic(row.t()[None], torch.tensor([row.size(1)]))
        assert tokens[index, : token_lengths[index]].tolist() == alone[0].tolist()


def test_nearest_code_prefers_the_first_of_equals() -> None:
    """Of two identical codebook vectors the lower index is chosen."""
    codebook = golden("v2").model.tokenizer.codebook
    table = codebook.embed.clone()
    table[700] = table[30]
    twin = type(codebook)(*table.shape)
    twin.embed.copy_(table)

    assert twin.nearest(table[700]).item() == 30


def test_speed_one_leaves_other_rows_speeds_alone() -> None:
    """In a batch of speeds a row at speed 1 keeps its frames bit for bit."""
    model = golden("v2").model
    x = unit_normal(1, 2, 192, 10)

    stretched, lengths = model.apply_speed(x, torch.tensor([10, 8]), [1.0, 0.8])

    assert lengths.tolist() == [10, 11]
    assert torch.equal(stretched[0, :, :10], x[0])
    assert not stretched[0, :, 10:].any()
