"""Text to semantic tokens: the autoregressive first stage."""

from sovits_serve.models.t2s.model import PrefillBatch, T2SModel

__all__ = ["PrefillBatch", "T2SModel"]
