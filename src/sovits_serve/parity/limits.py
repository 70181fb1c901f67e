"""How close is close: the limits of every comparison, by device and number type.

float32 is compared by largest absolute difference; the limits are upstream's own spread over
thread counts and float64, widened (see docs/parity.md). Half precision cannot meet them: there
tensors are judged by correlation and tokens by how many agree.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sovits_serve.parity.report import Check, at_least, at_most

MIN_CORRELATION = 0.999
# Half precision breaks near-ties: random weights make many, a trained model few.
MIN_TOKEN_AGREEMENT = 0.9
# Below this gap between the two best logits float32 on another machine may choose the other.
DECIDED_MARGIN = 2e-3
# bfloat16 keeps 8 bits: it moves margins by up to 0.1, and the random models' are mostly smaller.
DECIDED_MARGIN_BFLOAT16 = 0.1

AR_LOGITS = 2e-4
PROBABILITIES = 1e-6
FEATURES = 1e-4
SPEAKER_RELATIVE = 1e-3
# Logarithms of bands without energy amplify rounding: nearly all values must be close, a few may
# be less so. For mel bands of upsampled recordings upstream's own arithmetic differs by 3e-4
# from one build of its resampler to the next.
FBANK = 2e-3
MEL_RELATIVE = 1e-3
LOG_USUAL = 1e-4
LOG_USUAL_SHARE = 0.99
AUDIO = 1e-4
PCM_STAGE = 1
PCM_WHOLE = 4


@dataclass(frozen=True)
class Precision:
    """The device and number type of a run, and the comparisons that follow from them."""

    device: torch.device
    dtype: torch.dtype

    @property
    def is_exact(self) -> bool:
        """Whether float32 limits apply."""
        return self.dtype == torch.float32

    def close(self, name: str, ours: Tensor, recorded: Tensor, limit: float) -> Check:
        """Compare a tensor that went through models."""
        if self.is_exact:
            return difference(name, ours, recorded, limit)
        return correlation(name, ours, recorded)

    def close_relative(self, name: str, ours: Tensor, recorded: Tensor, limit: float) -> Check:
        """Compare a tensor that went through models, relative to the recorded maximum."""
        if self.is_exact:
            return relative_difference(name, ours, recorded, limit)
        return correlation(name, ours, recorded)

    def tokens(self, name: str, num_wrong: int, num_tokens: int) -> Check:
        """Judge decided tokens: all must agree in float32, most in half precision."""
        if self.is_exact:
            return at_most(name, "wrong_tokens", num_wrong, 0)
        agreement = 1 - num_wrong / max(num_tokens, 1)
        return at_least(name, "token_agreement", agreement, MIN_TOKEN_AGREEMENT)


def decided_margin(dtype: torch.dtype) -> float:
    """Return how far the best logit leads where a model of this type must agree."""
    return DECIDED_MARGIN_BFLOAT16 if dtype == torch.bfloat16 else DECIDED_MARGIN


def difference(name: str, ours: Tensor, recorded: Tensor, limit: float) -> Check:
    """Compare by largest absolute difference; another shape fails."""
    if wrong := wrong_shape(name, ours, recorded):
        return wrong
    return at_most(name, "max_abs_difference", largest(_host(ours) - _host(recorded)), limit)


def relative_difference(name: str, ours: Tensor, recorded: Tensor, limit: float) -> Check:
    """Compare by largest absolute difference over the recorded largest magnitude."""
    if wrong := wrong_shape(name, ours, recorded):
        return wrong
    scale = max(largest(_host(recorded)), 1e-30)
    value = largest(_host(ours) - _host(recorded)) / scale
    return at_most(name, "max_relative_difference", value, limit)


def mostly_close(name: str, ours: Tensor, recorded: Tensor, scale: float = 1.0) -> Check:
    """Compare logarithms of energies by the share that is as close as other features."""
    if wrong := wrong_shape(name, ours, recorded):
        return wrong
    close = (_host(ours) - _host(recorded)).abs() <= LOG_USUAL * scale
    metric = f"share_within_{LOG_USUAL:g}"
    return at_least(name, metric, float(close.double().mean()), LOG_USUAL_SHARE)


def correlation(name: str, ours: Tensor, recorded: Tensor) -> Check:
    """Compare by correlation (uncentred, so that a constant offset counts against us)."""
    if wrong := wrong_shape(name, ours, recorded):
        return wrong
    a, b = _host(ours).flatten(), _host(recorded).flatten()
    value = torch.dot(a, b) / (a.norm() * b.norm()).clamp_min(1e-30)
    return at_least(name, "correlation", float(value), MIN_CORRELATION)


def equal(name: str, ours: Tensor, recorded: Tensor) -> Check:
    """Compare exactly: the value is how many elements differ."""
    if wrong := wrong_shape(name, ours, recorded):
        return wrong
    return at_most(name, "wrong_elements", int((ours.cpu() != recorded.cpu()).sum()), 0)


def same(name: str, ours: object, recorded: object) -> Check:
    """Compare two plain values exactly; a difference shows both."""
    if ours == recorded:
        return Check(name, "equal", "equal", None, True)
    return Check(name, "equal", f"ours {ours!r:.200}, recorded {recorded!r:.200}", None, False)


def wrong_shape(name: str, ours: Tensor, recorded: Tensor) -> Check | None:
    """Return a failed check when two shapes differ."""
    if ours.shape == recorded.shape:
        return None
    value = f"ours {list(ours.shape)}, recorded {list(recorded.shape)}"
    return Check(name, "shape", value, None, False)


def largest(values: Tensor) -> float:
    """Return the largest magnitude (0 of nothing, not a number if any is)."""
    return float(values.abs().max()) if values.numel() else 0.0


def _host(values: Tensor) -> Tensor:
    return values.detach().cpu().double()
