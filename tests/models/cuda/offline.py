"""Compile what is launched at the published dimensions, for a CUDA device that need not be there.

Launches on CPU tensors are compiled instead of run. Prints JSON: for each kernel its name and the
bytes of shared memory of one program. ``TRITON_INTERPRET`` must not be set.

    python -m tests.models.cuda.offline t2s 8.9 101376 [bfloat16]
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TypeVar, cast
from unittest import mock

import torch
import triton
from torch import nn
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from sovits_serve.models.cuda.device import DeviceLimits
from sovits_serve.models.spec import SovitsDims, T2SDims

T2S = T2SDims(512, 16, 2, 1025, 732, 54)  # two of 24 layers: all are alike
V2 = SovitsDims(
    inter_channels=192,
    hidden_channels=192,
    filter_channels=768,
    num_heads=2,
    num_layers=6,
    kernel_size=3,
    style_dim=512,
    num_symbols=732,
    upsample_rates=(10, 8, 2, 2, 2),
    upsample_kernel_sizes=(16, 16, 8, 2, 2),
    upsample_initial_channels=512,
    resblock_kernel_sizes=(3, 7, 11),
    resblock_dilation_sizes=((1, 3, 5),) * 3,
)
FEW, MANY = [0], list(range(64))
_CPU = torch.device("cpu")
Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def compiling(limits: DeviceLimits) -> Iterator[dict[str, tuple[str, int]]]:
    """Compile for a device in place of launching; fill the dictionary, by hash."""
    major, minor = limits.capability
    target = GPUTarget("cuda", major * 10 + minor, 32)
    triton.runtime.driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: target,
            get_current_device=lambda: 0,
            get_current_stream=lambda _: 0,
        )
    )
    kernels: dict[str, tuple[str, int]] = {}

    def get_item(kernel: JITFunction, grid: object) -> Callable[..., None]:
        def launch(*arguments: object, **options: object) -> None:
            compiled = kernel.warmup(*arguments, grid=grid, **options)
            kernels[compiled.hash] = compiled.name, compiled.metadata.shared

        return launch

    with (
        mock.patch.object(JITFunction, "__getitem__", get_item),
        mock.patch("sovits_serve.models.cuda.device.limits_of", return_value=limits),
    ):
        yield kernels


def launch_t2s(dtype: torch.dtype) -> None:
    """Launch prefill, decoding with few rows and with many, draws, and the latents' noise."""
    from sovits_serve.engine.graph_decoder import GraphDecoder
    from sovits_serve.engine.paged_cache import PagedCache
    from sovits_serve.engine.row_table import RowTable
    from sovits_serve.models.cuda.noise import LatentNoise
    from sovits_serve.models.cuda.prefill import TOKEN_BUCKETS, PackedPrefill
    from sovits_serve.models.t2s import T2SModel

    with torch.device("meta"):
        empty = T2SModel(T2S)
    model = _filled(empty, dtype)
    cache = PagedCache(T2S, num_slots=len(MANY), num_tokens=8192, max_length=512, dtype=dtype)
    prefill = PackedPrefill(model, [cache.layer(index) for index in range(T2S.num_layers)])
    for bucket in TOKEN_BUCKETS:
        prefill._launch(bucket)
    table = RowTable(len(MANY), T2S.vocab_size, _CPU)
    table.draw_first(torch.zeros(1, T2S.vocab_size), 1)
    decoder = GraphDecoder(model, cache, table, num_slots=len(MANY))
    decoder.decode(FEW)
    decoder.decode(MANY)
    LatentNoise(V2.inter_channels, 1, 0, _CPU)([(0, 0, 4)], 4)


def launch_bert(dtype: torch.dtype) -> None:
    """Launch a BERT of chinese-roberta-wwm-ext-large's widths."""
    from transformers import BertConfig, BertModel

    from sovits_serve.models.cuda.bert import TOKEN_BUCKETS, PackedBert
    from sovits_serve.models.text_features.bert import BertFeatures

    config = BertConfig(
        vocab_size=100,
        hidden_size=1024,
        num_hidden_layers=1,
        num_attention_heads=16,
        intermediate_size=4096,
    )
    model = BertModel(config, add_pooling_layer=False).to(dtype)
    features = SimpleNamespace(_model=model, max_characters=510)
    packed = PackedBert(cast(BertFeatures, features))
    for bucket in TOKEN_BUCKETS:
        packed._launch(bucket)


def launch_v2(dtype: torch.dtype) -> None:
    """Launch the generator of v1, v2 and v2Pro."""
    _launch_generator(V2, dtype)


def launch_v2proplus(dtype: torch.dtype) -> None:
    """Launch the generator of v2ProPlus."""
    wide = replace(
        V2,
        style_dim=1024,
        upsample_kernel_sizes=(20, 16, 8, 2, 2),
        upsample_initial_channels=768,
    )
    _launch_generator(wide, dtype)


def _launch_generator(dims: SovitsDims, dtype: torch.dtype) -> None:
    from sovits_serve.models.cuda.generator import FusedGenerator
    from sovits_serve.models.sovits.generator import Generator

    with torch.device("meta"):
        empty = Generator(dims)
    fused = FusedGenerator(_filled(empty, dtype))
    z, style = torch.zeros(1, dims.inter_channels, 4), torch.zeros(1, dims.style_dim)
    fused(z, torch.tensor([4]), style)


def _filled(module: Module, dtype: torch.dtype) -> Module:
    """Return a module with memory."""
    return module.to_empty(device=_CPU).to(dtype)


PARTS = {
    "t2s": launch_t2s,
    "bert": launch_bert,
    "v2": launch_v2,
    "v2proplus": launch_v2proplus,
}


@torch.inference_mode()
def main() -> None:
    """Do as the module says."""
    part, capability, shared_memory, *dtype = sys.argv[1:]
    major, minor = map(int, capability.split("."))
    with compiling(DeviceLimits((major, minor), int(shared_memory))) as kernels:
        PARTS[part](getattr(torch, dtype[0] if dtype else "float16"))
    sys.stdout.write(json.dumps(list(kernels.values())))


if __name__ == "__main__":
    main()
