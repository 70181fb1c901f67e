"""CUDA graphs of the SoVITS stages for a bounded list of shapes; what does not fit runs without.

A few hundred small kernels cost the host more than the device: as a graph they cost one launch.
Rows are padded up to the next shape, which changes no row beyond rounding. Everything is queued
on the current stream; results are copies, not the graphs' own memory.
"""

import logging
from collections.abc import Callable
from collections.abc import Sequence as Rows
from dataclasses import dataclass

import torch
from torch import Tensor

from sovits_serve.models.cuda.graphs import Pool, record
from sovits_serve.models.cuda.staging import Uploads
from sovits_serve.models.sovits.model import SovitsModel

_log = logging.getLogger(__name__)

_LATENT_ROWS = (1, 4, 16)
_LATENT_TOKENS = (64, 128, 192, 256, 384)
_LATENT_PHONEMES = (64, 128, 256)
_GENERATOR_ROWS = (1, 2, 4, 8)
_GENERATOR_FRAMES = (24, 48, 64, 96, 160, 256)


@dataclass(frozen=True)
class _Graph:
    """A recorded computation, what it reads and what it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor


class LatentGraphs:
    """Tokens, phonemes, style and noise to latents, at normal speed."""

    def __init__(self, sovits: SovitsModel, pool: Pool) -> None:
        self._sovits, self._pool = sovits, pool
        self._device = sovits.text_encoder.proj.weight.device
        size = _LATENT_ROWS[-1] * (_LATENT_TOKENS[-1] + _LATENT_PHONEMES[-1] + 2)
        self._integers = torch.ones(size, dtype=torch.int32, device=self._device)
        self._uploads = Uploads(size, self._device)
        self._graphs: dict[tuple[int, int, int], _Graph] = {}

    def capture(self) -> None:
        """Record every shape, the largest first: it takes the memory."""
        for rows in reversed(_LATENT_ROWS):
            for tokens in reversed(_LATENT_TOKENS):
                for phonemes in reversed(_LATENT_PHONEMES):
                    self._graphs[rows, tokens, phonemes] = self._record(rows, tokens, phonemes)

    def fits(self, tokens: Rows[Rows[int]], phones: Rows[Rows[int]]) -> bool:
        """Return whether there is a shape for these rows."""
        return self._shape(tokens, phones) is not None

    def __call__(
        self,
        tokens: Rows[Rows[int]],
        phones: Rows[Rows[int]],
        styles: Rows[Tensor],
        noise: Tensor,
    ) -> Tensor:
        """Encode rows.

        Args:
            tokens, phones: per row, at least one of each.
            styles: (D_style) each.
            noise: float32 (B, inter, T), scaled already.

        Returns:
            (at least B, inter, at least T), valid until the next call.
        """
        shape = self._shape(tokens, phones)
        assert shape is not None
        graph = self._graphs[shape]
        self._uploads.upload(_table(tokens, phones, shape), self._integers)
        style, static_noise = graph.inputs
        torch.stack(list(styles), out=style[: len(styles)])
        static_noise[: len(tokens), :, : noise.size(2)].copy_(noise[..., : static_noise.size(2)])
        graph.graph.replay()
        return graph.output

    def _shape(
        self, tokens: Rows[Rows[int]], phones: Rows[Rows[int]]
    ) -> tuple[int, int, int] | None:
        rows = _at_least(_LATENT_ROWS, len(tokens))
        num_tokens = _at_least(_LATENT_TOKENS, max(map(len, tokens)))
        num_phones = _at_least(_LATENT_PHONEMES, max(map(len, phones)))
        shape = rows, num_tokens, num_phones
        return shape if shape in self._graphs else None

    def _record(self, rows: int, num_tokens: int, num_phones: int) -> _Graph:
        dims, frames = self._sovits.dims, num_tokens * self._sovits.spec.frames_per_token
        style = torch.zeros(rows, dims.style_dim, dtype=self._sovits.dtype, device=self._device)
        noise = torch.zeros(rows, dims.inter_channels, frames, device=self._device)
        sizes = [rows * num_tokens, rows * num_phones, rows, rows]

        def compute() -> Tensor:
            parts = torch.split(self._integers[: sum(sizes)].long(), sizes)
            lengths = parts[2]
            encoded = self._sovits.encode_semantic(
                parts[0].view(rows, -1), lengths, parts[1].view(rows, -1), parts[3], style
            )
            mean, log_deviation = self._sovits.project(encoded.x, encoded.lengths)
            return self._sovits.sample_latent(
                mean, log_deviation, encoded.lengths, style, noise=noise, noise_scale=1.0
            )

        graph, output = record(compute, self._pool)
        return _Graph(graph, (style, noise), output)


class GeneratorGraphs:
    """A generator for few rows and frames as graphs, and as it is for more."""

    def __init__(
        self,
        generate: Callable[[Tensor, Tensor, Tensor], Tensor],
        sovits: SovitsModel,
        pool: Pool,
    ) -> None:
        self._generate, self._sovits, self._pool = generate, sovits, pool
        self._device = sovits.text_encoder.proj.weight.device
        self._graphs: dict[tuple[int, int], _Graph] = {}

    def capture(self) -> None:
        """Record every shape."""
        for rows in reversed(_GENERATOR_ROWS):
            for frames in reversed(_GENERATOR_FRAMES):
                self._graphs[rows, frames] = self._record(rows, frames)

    def reserve(self, rows: int, frames: int) -> None:
        """Let the allocator have what so much audio needs, now and not under load.

        Where there is not as much, batches that do not fit are computed in parts.
        """
        try:
            self._generate(*self._inputs(rows, frames))
        except torch.OutOfMemoryError as error:
            error.__traceback__ = None  # its frames hold what had been allocated
            _log.warning("no memory for %d windows of %d frames at once", rows, frames)
            torch.cuda.empty_cache()

    def __call__(self, z: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        """Do as ``SovitsModel.generate``, with ``lengths`` on the device; may return more rows."""
        rows = _at_least(_GENERATOR_ROWS, z.size(0))
        frames = _at_least(_GENERATOR_FRAMES, z.size(2))
        graph = self._graphs.get((rows, frames))
        if graph is None:
            return self._generate(z, lengths, style)
        static_z, static_lengths, static_style = graph.inputs
        static_z[: z.size(0), :, : z.size(2)].copy_(z)
        static_lengths.zero_()
        static_lengths[: z.size(0)].copy_(lengths)
        static_style[: z.size(0)].copy_(style)
        graph.graph.replay()
        return graph.output

    def _record(self, rows: int, frames: int) -> _Graph:
        inputs = self._inputs(rows, frames)
        graph, output = record(lambda: self._generate(*inputs), self._pool)
        return _Graph(graph, inputs, output)

    def _inputs(self, rows: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents of zeros, their lengths and styles."""
        dims = self._sovits.dims
        like = torch.zeros(0, dtype=self._sovits.dtype, device=self._device)
        z = like.new_zeros(rows, frames, dims.inter_channels).transpose(1, 2)
        lengths = torch.full((rows,), frames, device=self._device)
        style = like.new_zeros(rows, dims.style_dim)
        return z, lengths, style


def _table(
    tokens: Rows[Rows[int]], phones: Rows[Rows[int]], shape: tuple[int, int, int]
) -> list[int]:
    """Return padded tokens, padded phonemes and both lengths; rows that are none have length 1."""
    rows, num_tokens, num_phones = shape
    values: list[int] = []
    for lists, width in ((tokens, num_tokens), (phones, num_phones)):
        for row in lists:
            values += row
            values += [0] * (width - len(row))
        values += [0] * (width * (rows - len(lists)))
    for lists in (tokens, phones):
        values += [len(row) for row in lists]
        values += [1] * (rows - len(lists))
    return values


def _at_least(sizes: Rows[int], needed: int) -> int:
    """Return the smallest size that is not below ``needed``, 0 if none is."""
    return next((size for size in sizes if size >= needed), 0)
