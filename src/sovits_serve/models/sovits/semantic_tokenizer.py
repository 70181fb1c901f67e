"""SSL features to semantic tokens (25 Hz), and tokens back to the vectors they stand for."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sovits_serve.models.spec import SovitsDims


class Codebook(nn.Module):
    """A table of vectors; a token is the index of the nearest one.

    Source: GPT-SoVITS 48b1a01, module/core_vq.py, EuclideanCodebook (inference only).
    """

    def __init__(self, num_codes: int, dim: int) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.zeros(num_codes, dim))

    def nearest(self, x: Tensor) -> Tensor:
        """Return the index (...) int64 of the vector nearest to ``x`` (..., D); ties: the first."""
        table = self.embed
        distance = x.square().sum(-1, keepdim=True) - 2 * x @ table.t() + table.square().sum(1)
        return distance.argmin(dim=-1)


class SemanticTokenizer(nn.Module):
    """Halve the rate of SSL features and quantise them.

    Stays in float32: it runs once per reference, and half precision would flip near ties.

    Source: GPT-SoVITS 48b1a01, module/models.py, SynthesizerTrn.extract_latent and
    module/quantize.py, ResidualVectorQuantizer. Differs: one codebook, batched.
    """

    def __init__(self, dims: SovitsDims) -> None:
        super().__init__()
        self.ssl_proj = nn.Conv1d(dims.ssl_dim, dims.ssl_dim, 2, stride=2)
        # Upstream's nesting, so that the parameter carries the name it has in checkpoints.
        layers = nn.ModuleList([nn.Module()])
        layers[0].register_module("_codebook", Codebook(dims.codebook_size, dims.ssl_dim))
        self.quantizer = nn.ModuleDict({"vq": nn.ModuleDict({"layers": layers})})

    @property
    def codebook(self) -> Codebook:
        """Return the one codebook."""
        codebook = self.get_submodule("quantizer.vq.layers.0._codebook")
        assert isinstance(codebook, Codebook)
        return codebook

    def forward(self, ssl_features: Tensor) -> Tensor:
        """Return tokens (B, T // 2) int64 of ``ssl_features`` (B, T, D)."""
        projected = self.ssl_proj(ssl_features.to(self.codebook.embed.dtype).transpose(1, 2))
        return self.codebook.nearest(projected.transpose(1, 2))

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the vectors (B, T, D) of ``tokens`` (B, T)."""
        return functional.embedding(tokens, self.codebook.embed)
