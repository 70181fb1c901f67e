"""Goldens of the SoVITS decoder: tokens of a reference, style, intermediates, audio, streaming."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.spec import SPECS
from sovits_serve.parity import limits, models
from sovits_serve.parity.golden import (
    Arrays,
    GoldenDirectory,
    integer,
    number,
    record,
    records,
)
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.report import Check, Lazy, Step, Task
from sovits_serve.parity.streaming import StreamCall, Voice, decode_chunk


@dataclass(frozen=True)
class SovitsGolden:
    """One golden of a decoder, and our model of it."""

    name: str
    arrays: Arrays
    meta: dict[str, object]
    model: Lazy[SovitsModel]
    precision: Precision

    def tensor(self, key: str) -> Tensor:
        """Return an array on the device."""
        return self.arrays.tensor(key).to(self.precision.device)

    def style(self, num_references: int) -> Tensor:
        """Return the mean style (1, D_style) of the first references."""
        styles = [self._style_of(index) for index in range(num_references)]
        return torch.stack(styles).mean(0)

    def _style_of(self, index: int) -> Tensor:
        spectrogram = self.tensor(f"refer{index}")
        embedding = self.tensor(f"sv{index}") if f"sv{index}" in self.arrays else None
        return self.model().encode_style(spectrogram, _lengths(spectrogram), embedding)


def find(directory: GoldenDirectory, precision: Precision) -> Iterator[Task]:
    """Yield a task per ``.npz`` with tokens, text and references beside a SoVITS recipe."""
    for stem, arrays in directory.arrays.items():
        if not {"codes", "text", "refer0"} <= arrays.keys:
            continue
        recipe = directory.recipe(stem)
        if recipe is None or SPECS[models.model_version(recipe)].decoder != "generator":
            continue
        golden = SovitsGolden(
            stem,
            arrays,
            record(directory.json(f"{stem}.meta.json")),
            Lazy(partial(models.sovits_model, recipe, precision)),
            precision,
        )
        yield Task(stem, directory.files(stem), partial(_steps, golden))


def _steps(golden: SovitsGolden) -> Iterator[Step]:
    if {"ssl", "extract_codes"} <= golden.arrays.keys:
        yield Step(f"{golden.name}/extract_codes", lambda: [_check_codes(golden)])
    for case in records(golden.meta.get("cases")):
        name = f"{golden.name}/c{integer(case['case'])}"
        yield Step(name, partial(_check_case, golden, case))
    streams: dict[object, list[dict[str, object]]] = {}
    for call in records(golden.meta.get("stream")):
        streams.setdefault(call["speed"], []).append(call)
    for speed, calls in streams.items():
        name = f"{golden.name}/s{speed}"
        yield Step(name, partial(_check_stream, golden, calls))


def _check_codes(golden: SovitsGolden) -> Check:
    ssl = golden.tensor("ssl").transpose(1, 2)  # (B, T, D)
    tokens, _ = golden.model().extract_prompt_semantic(ssl, _lengths(ssl.transpose(1, 2)))
    recorded = golden.arrays.tensor("extract_codes").reshape(tokens.shape)
    return limits.equal(f"{golden.name}/extract_codes", tokens, recorded)


def _check_case(golden: SovitsGolden, case: dict[str, object]) -> Iterator[Check]:
    """Decode one case stage by stage, comparing each stage that was recorded."""
    key, speed = f"c{integer(case['case'])}", number(case["speed"])
    model, num_references = golden.model(), integer(case["n_refs"])
    codes, phones = golden.tensor("codes")[0], golden.tensor("text")
    style = golden.style(num_references)
    frames = model.encode_semantic(codes, _lengths(codes), phones, _lengths(phones), style)
    x, lengths = model.apply_speed(frames.x, frames.lengths, [speed])
    mean, log_deviation = model.project(x, lengths)
    noise_key = f"{key}_noise"
    noise = golden.tensor(noise_key) if noise_key in golden.arrays else torch.zeros_like(mean)
    z = model.sample_latent(
        mean,
        log_deviation,
        lengths,
        style,
        noise=noise.float(),
        noise_scale=number(case["noise_scale"]),
    )
    found = {
        "ref_enc": _raw_style(golden, num_references - 1),
        "enc_ssl": frames.ssl,
        "enc_text": frames.text,
        "mrte": frames.mrte,
        "enc_x": x,
        "m": mean,
        "logs": log_deviation,
        "z": z,
        "audio": model.generate(z, lengths, style)[0],
    }
    for stage, ours in found.items():
        if f"{key}_{stage}" in golden.arrays:
            yield _compare(golden, f"{key}_{stage}", ours)


def _raw_style(golden: SovitsGolden, index: int) -> Tensor:
    """Return the style encoder's output before its activation.

    With the speaker embedding already in it: upstream adds that in place, so the recorded tensor
    holds the sum.
    """
    encoder = golden.model().style_encoder
    spectrogram = golden.tensor(f"refer{index}")[:, : encoder.num_bins]
    spectrogram = spectrogram.to(golden.precision.dtype)
    raw: Tensor = encoder.ref_enc(spectrogram, _lengths(spectrogram))
    if f"sv{index}" in golden.arrays:
        raw = raw + encoder.sv_emb(golden.tensor(f"sv{index}").to(golden.precision.dtype))
    return raw.unsqueeze(2)


def _check_stream(golden: SovitsGolden, calls: list[dict[str, object]]) -> Iterator[Check]:
    voice = Voice(golden.model(), golden.tensor("text"), golden.style(1))
    tokens = golden.arrays.tokens("stream_codes")
    latent: Tensor | None = None
    for call in calls:
        key = f"s{call['speed']}_k{integer(call['chunk'])}"
        wanted = call["result_length"]
        result = decode_chunk(
            voice,
            StreamCall(
                tokens[: integer(call["codes_end"])],
                None if wanted is None else integer(wanted),
                integer(call["overlap_frames"]),
            ),
            latent,
            speed=number(call["speed"]),
            noise=golden.tensor(f"{key}_noise"),
        )
        latent = result.latent
        yield _compare(golden, f"{key}_latent", result.latent)
        yield _compare(golden, f"{key}_audio", result.audio)


def _compare(golden: SovitsGolden, key: str, ours: Tensor) -> Check:
    limit = limits.AUDIO if re.search(r"audio$", key) else limits.FEATURES
    return golden.precision.close(f"{golden.name}/{key}", ours, golden.arrays.tensor(key), limit)


def _lengths(rows: Tensor) -> Tensor:
    return torch.tensor([rows.size(-1)] * rows.size(0))
