"""Comparing int16 audio with upstream's, which wraps where ours saturates."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sovits_serve.parity.report import Check, at_most

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True)
class PcmDifference:
    """``largest`` is in LSB; ``num_wrapped`` counts full-scale samples that upstream wrapped."""

    largest: int
    num_wrapped: int


def compare(ours: Pcm, recorded: Pcm) -> PcmDifference:
    """Compare two signals of one length around the int16 circle.

    Upstream turns +1.0 into -32768 (an audible click), we into 32767: next to each other on the
    circle, therefore equal here, and counted.
    """
    straight = np.abs(ours.astype(np.int32) - recorded.astype(np.int32))
    circle = np.minimum(straight, 65536 - straight)
    num_wrapped = int((straight != circle).sum())
    return PcmDifference(int(circle.max(initial=0)), num_wrapped)


def check(name: str, ours: Pcm, recorded: Pcm, limit: int) -> list[Check]:
    """Check length and samples; a wrapped sample is reported as a further check that passes."""
    if ours.shape != recorded.shape:
        value = f"ours {ours.shape[0]} samples, recorded {recorded.shape[0]}"
        return [Check(name, "length", value, None, False)]
    found = compare(ours, recorded)
    checks = [at_most(name, "max_lsb_difference", found.largest, limit)]
    if found.num_wrapped:
        checks.append(Check(name, "samples_upstream_wrapped", found.num_wrapped, None, True))
    return checks
