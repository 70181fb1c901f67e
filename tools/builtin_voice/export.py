"""Stage 6: the trained parts as checkpoints in the published layout, and as the package's data.

    python -m tools.builtin_voice.export --encoder FILE --t2s FILE --decoder FILE --output DIR

Writes ``gpt.ckpt`` and ``sovits.pth`` as the trainer of GPT-SoVITS would, converts them to
safetensors as ``sovits-serve`` converts any checkpoint, and puts the speech encoder where a HuBERT
is looked for.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from sovits_serve.checkpoints.convert import convert
from sovits_serve.checkpoints.layout import write_sovits, write_t2s
from sovits_serve.checkpoints.random_configs import sovits_config, t2s_config
from sovits_serve.checkpoints.safetensors_format import write_tensors
from sovits_serve.models.spec import ModelVersion
from tools.builtin_voice.networks import SOVITS_DIMS, T2S_DIMS
from tools.builtin_voice.tokenizer import HUBERT_CONFIG

_HELPERS = ("aux.", "who.")
_WEIGHT_NORM = (
    "dec.ups.",
    "dec.resblocks.",
    ".enc.in_layers.",
    ".enc.res_skip_layers.",
    ".enc.cond_layer.",
)


def sovits_tensors(decoder: dict[str, Tensor], encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a SoVITS checkpoint's tensors, half precision, weight norm split as when training."""
    tensors: dict[str, Tensor] = {}
    for name, value in decoder.items():
        if name.startswith(_HELPERS):
            continue
        if name.endswith(".weight") and any(part in name for part in _WEIGHT_NORM):
            vectors = value.float()
            norm = vectors.flatten(1).norm(dim=1).view(-1, *[1] * (vectors.dim() - 1))
            tensors[name + "_g"], tensors[name + "_v"] = norm.half(), vectors.half()
        else:
            tensors[name] = value.half()
    tensors["ssl_proj.weight"] = encoder["ssl_proj.weight"].half()
    tensors["ssl_proj.bias"] = encoder["ssl_proj.bias"].half()
    tensors["quantizer.vq.layers.0._codebook.embed"] = encoder["embed"].half()
    return tensors


def t2s_tensors(t2s: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a GPT checkpoint's tensors."""
    return {f"model.{name}": value.half() for name, value in t2s.items()}


def write_speech_encoder(directory: Path, encoder: dict[str, Tensor]) -> None:
    """Write the encoder as a Hugging Face directory, under the spelling of ``HubertModel``."""
    prefix = "hubert."
    tensors = {
        name.removeprefix(prefix): value.half().contiguous()
        for name, value in encoder.items()
        if name.startswith(prefix) and name != "hubert.masked_spec_embed"
    }
    position = "encoder.pos_conv_embed.conv."
    for old, new in (("original0", "weight_g"), ("original1", "weight_v")):
        value = tensors.pop(f"{position}parametrizations.weight.{old}", None)
        if value is not None:
            tensors[position + new] = value
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(HUBERT_CONFIG, indent=2) + "\n"
    (directory / "config.json").write_text(text, encoding="utf-8")
    write_tensors(
        directory / "model.safetensors",
        {name: ("float16", tuple(value.shape)) for name, value in tensors.items()},
        lambda name: tensors[name].view(torch.uint8).numpy().data,
        {"format": "pt"},
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--t2s", type=Path, required=True)
    parser.add_argument("--decoder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    encoder, t2s, decoder = (
        torch.load(path, weights_only=True, map_location="cpu")
        for path in (args.encoder, args.t2s, args.decoder)
    )
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        gpt, sovits = Path(scratch) / "gpt.ckpt", Path(scratch) / "sovits.pth"
        write_t2s(gpt, t2s_tensors(t2s), t2s_config(T2S_DIMS))
        write_sovits(
            sovits, sovits_tensors(decoder, encoder), sovits_config(ModelVersion.V2, SOVITS_DIMS)
        )
        for path in (gpt, sovits):
            convert(path, args.output, overwrite=True)
            (args.output / path.with_suffix(".json").name).unlink()
    write_speech_encoder(args.output / "chinese-hubert-base", encoder)
    total = sum(path.stat().st_size for path in args.output.rglob("*") if path.is_file())
    print(f"{args.output}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
