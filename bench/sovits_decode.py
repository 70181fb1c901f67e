"""How fast SoVITS decodes: compute time per second of audio, by length and batch size.

One decode is tokens, phonemes and style to samples (text encoder, flow, generator), from random
weights of the real size. With ``--upstream`` the same weights also run in upstream's own module,
taking turns with ours in the same process; upstream decodes the rows of a batch one by one, and
encodes the style of a two-second reference in every decode, as its interface demands. Prints a
table, then one JSON line.

    PYTHONPATH=src python bench/sovits_decode.py --threads 2 --upstream ../GPT-SoVITS
"""

import argparse
import itertools
import json
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from workloads import environment

from sovits_serve.checkpoints.load import SovitsCheckpoint, load_sovits
from sovits_serve.checkpoints.random_model import write_random_sovits
from sovits_serve.models.kernels import use_exact_kernels
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.spec import SPECS, ModelVersion

TOKENS_PER_S = 25
PHONEMES_PER_S = 10
SEED = 20260818


@dataclass(frozen=True)
class Inputs:
    """What one decode reads; rows of equal length."""

    tokens: Tensor
    phonemes: Tensor
    spectrogram: Tensor
    speaker: Tensor
    noise: Tensor
    style: Tensor


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    who: str
    seconds: int
    batch: int
    rtf: float  # median over the repeats: compute time per second of audio
    best_rtf: float


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    use_exact_kernels()
    torch.backends.cudnn.benchmark = options.cudnn_benchmark
    with TemporaryDirectory() as directory, torch.inference_mode():
        path = Path(directory) / "sovits.pth"
        version = ModelVersion(options.version)
        write_random_sovits(path, version=version, size="full", seed=SEED)
        figures = measure(load_sovits(path), options)
    report(figures, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", default="v2", choices=["v1", "v2", "v2Pro", "v2ProPlus"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=int, nargs="+", default=[3, 6, 12])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cudnn-benchmark", action="store_true")
    parser.add_argument("--upstream", type=Path, help="a checkout of GPT-SoVITS 48b1a01")
    return parser.parse_args()


def measure(checkpoint: SovitsCheckpoint, options: argparse.Namespace) -> list[Figure]:
    """Time all sizes; within a size, ours and upstream's take turns."""
    spec = SPECS[checkpoint.version]
    dtype = getattr(torch, options.dtype)
    ours = SovitsModel.from_weights(
        spec, checkpoint.dims, checkpoint.weights, device=options.device, dtype=dtype
    )
    decoders: dict[str, Callable[[Inputs], Tensor]] = {"ours": lambda x: decode(ours, x)}
    if options.upstream:
        decoders["upstream"] = load_upstream(options.upstream, checkpoint, options)
    figures: list[Figure] = []
    for seconds, batch in itertools.product(options.seconds, options.batches):
        inputs = random_inputs(ours, seconds, batch)
        audio = [decoder(inputs) for decoder in decoders.values()]  # warms up, too
        if dtype is torch.float32 and len(audio) > 1 and options.device == "cpu":
            torch.testing.assert_close(audio[0], audio[1], rtol=0, atol=1e-4)
        figures += time_in_turns(decoders, inputs, seconds, batch, options)
    return figures


def time_in_turns(
    decoders: dict[str, Callable[[Inputs], Tensor]],
    inputs: Inputs,
    seconds: int,
    batch: int,
    options: argparse.Namespace,
) -> Iterator[Figure]:
    """Let the decoders take turns, so that a busy minute hits them all."""
    times: dict[str, list[float]] = {who: [] for who in decoders}
    for _, who in itertools.product(range(options.repeats), decoders):
        started = time.perf_counter()
        decoders[who](inputs)
        if options.device != "cpu":
            torch.cuda.synchronize()
        times[who].append((time.perf_counter() - started) / (seconds * batch))
    for who, spent in times.items():
        yield Figure(who, seconds, batch, statistics.median(spent), min(spent))


def random_inputs(model: SovitsModel, seconds: int, batch: int) -> Inputs:
    """Make seeded inputs of ``batch`` rows of ``seconds`` each."""
    random = torch.Generator().manual_seed(SEED)
    device = model.generator.conv_pre.weight.device
    dims = model.dims
    frames = model.num_frames(seconds * TOKENS_PER_S, 1.0)
    spectrogram = torch.rand(1, model.spec.num_spectrogram_bins, 100, generator=random)
    speaker = torch.randn(1, dims.speaker_dim, generator=random)
    inputs = (
        torch.randint(dims.codebook_size, (batch, seconds * TOKENS_PER_S), generator=random),
        torch.randint(dims.num_symbols, (batch, seconds * PHONEMES_PER_S), generator=random),
        spectrogram,
        speaker,
        torch.randn(batch, dims.inter_channels, frames, generator=random),
        model.encode_style(spectrogram.to(device), torch.tensor([100]), speaker.to(device)).repeat(
            batch, 1
        ),
    )
    return Inputs(*(tensor.to(device) for tensor in inputs))


def decode(model: SovitsModel, inputs: Inputs) -> Tensor:
    """Decode one batch with our model."""
    batch, num_tokens = inputs.tokens.shape
    latents = model.encode_latent(
        inputs.tokens,
        torch.full((batch,), num_tokens),
        inputs.phonemes,
        torch.full((batch,), inputs.phonemes.size(1)),
        inputs.style,
        speeds=[1.0] * batch,
        noise=inputs.noise,
        noise_scale=0.5,
    )
    return model.generate(latents.z, latents.lengths, inputs.style)


def load_upstream(
    root: Path, checkpoint: SovitsCheckpoint, options: argparse.Namespace
) -> Callable[[Inputs], Tensor]:
    """Build upstream's module with the same weights and return a decode over a batch."""
    synthesizer = import_upstream(root)
    dims, version = checkpoint.dims, str(checkpoint.version)
    model: Any = synthesizer(
        spec_channels=1025,
        segment_size=32,
        inter_channels=dims.inter_channels,
        hidden_channels=dims.hidden_channels,
        filter_channels=dims.filter_channels,
        n_heads=dims.num_heads,
        n_layers=dims.num_layers,
        kernel_size=dims.kernel_size,
        p_dropout=0.0,
        resblock="1",
        resblock_kernel_sizes=dims.resblock_kernel_sizes,
        resblock_dilation_sizes=dims.resblock_dilation_sizes,
        upsample_rates=dims.upsample_rates,
        upsample_initial_channel=dims.upsample_initial_channels,
        upsample_kernel_sizes=dims.upsample_kernel_sizes,
        gin_channels=dims.style_dim,
        semantic_frame_rate="25hz",
        version=version,
    )
    weights = checkpoint.weights
    state = {name: weights.tensor(name).float() for name in weights.names()}
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all(name.startswith("enc_q.") for name in missing), missing
    model = model.eval().to(options.device, getattr(torch, options.dtype))
    speaker_needed = SPECS[checkpoint.version].has_speaker_embedding
    return lambda inputs: decode_upstream(model, inputs, has_speaker=speaker_needed)


def decode_upstream(model: Any, inputs: Inputs, *, has_speaker: bool) -> Tensor:
    """Decode row by row: upstream's decode takes one."""
    dtype = next(model.parameters()).dtype
    reference, speaker = inputs.spectrogram.to(dtype), inputs.speaker.to(dtype)
    rows = []
    for row in range(inputs.tokens.size(0)):
        noise = inputs.noise[row : row + 1].to(dtype)
        with replaced(torch, "randn_like", lambda _, noise=noise: noise):
            rows.append(
                model.decode(
                    inputs.tokens[None, row : row + 1],
                    inputs.phonemes[row : row + 1],
                    [reference],
                    sv_emb=[speaker] if has_speaker else None,
                )[0]
            )
    return torch.cat(rows).float()


class replaced:  # noqa: N801  # reads as a verb: with replaced(...)
    """Replace an attribute for a while."""

    def __init__(self, owner: Any, name: str, value: object) -> None:
        self.owner, self.name, self.value = owner, name, value

    def __enter__(self) -> None:
        self.saved = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.value)

    def __exit__(self, *_: object) -> None:
        setattr(self.owner, self.name, self.saved)


def import_upstream(root: Path) -> Any:
    """Import upstream's module, with stand-ins for two dependencies that decoding hardly needs."""
    transformer = types.ModuleType("f5_tts.model")
    transformer.DiT = object  # type: ignore[attr-defined]  # v3 and v4 only
    sys.modules["f5_tts"], sys.modules["f5_tts.model"] = types.ModuleType("f5_tts"), transformer
    einops = types.ModuleType("einops")
    einops.rearrange = swap_last  # type: ignore[attr-defined]
    einops.repeat = None  # type: ignore[attr-defined]
    sys.modules["einops"] = einops
    sys.path.insert(0, str(root / "GPT_SoVITS"))
    from module.models import SynthesizerTrn  # its path is an option

    return SynthesizerTrn


def swap_last(x: Tensor, pattern: str) -> Tensor:
    """Do the one rearrangement that decoding asks einops for."""
    assert pattern == "b n d -> b d n", pattern
    return x.transpose(1, 2)


def report(figures: list[Figure], options: argparse.Namespace) -> None:
    print(f"{'':10} {'seconds':>8} {'batch':>6} {'RTF':>8} {'best':>8} {'x real time':>12}")
    for figure in figures:
        print(
            f"{figure.who:10} {figure.seconds:>8} {figure.batch:>6} {figure.rtf:>8.4f} "
            f"{figure.best_rtf:>8.4f} {1 / figure.rtf:>12.1f}"
        )
    settings = {
        name: getattr(options, name)
        for name in ("version", "device", "dtype", "threads", "repeats")
    }
    results = [asdict(figure) for figure in figures]
    print(json.dumps(settings | environment(options.device) | {"results": results}))


if __name__ == "__main__":
    main()
