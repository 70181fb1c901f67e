"""Joining overlapping fragments where they fit best (SOLA). Samples are float32 (T,)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

SEARCH_SAMPLES = 320
_ENERGY_FLOOR = 1e-8


def sola(fragments: Sequence[FloatArray], overlap: int, search: int = SEARCH_SAMPLES) -> FloatArray:
    """Join fragments that overlap by ``overlap`` samples, shifting each to fit the one before.

    Each joint cuts off the overlap and up to ``search`` samples of shift, so that the length of
    the result depends on the signals.

    Raises:
        ValueError: there are no fragments, or one is shorter than the overlap.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, sola_algorithm. Differs: numpy; inputs are
    not changed.
    """
    if not fragments:
        raise ValueError("sola needs at least one fragment")
    joined = [fragments[0]]
    for fragment in fragments[1:]:
        previous = joined.pop()
        shift = find_shift(previous, fragment, overlap, search)
        joined.append(previous[: len(previous) - overlap])
        joined.append(_fade(previous[len(previous) - overlap :], fragment[shift:]))
    return np.concatenate(joined)


def find_shift(
    previous: FloatArray, current: FloatArray, overlap: int, search: int = SEARCH_SAMPLES
) -> int:
    """Return where in ``current`` the last ``overlap`` samples of ``previous`` fit best.

    Raises:
        ValueError: the overlap is not positive, or longer than one of the two.
    """
    if not 0 < overlap <= min(len(previous), len(current)):
        raise ValueError(
            f"the overlap is {overlap}, must be 1 to {min(len(previous), len(current))}"
        )
    tail = previous[len(previous) - overlap :].astype(np.float64)
    head = current[: overlap + search].astype(np.float64)
    correlation = np.correlate(head, tail, "valid")
    energy = np.convolve(head**2, np.ones(overlap), "valid")
    return int(np.argmax(correlation / np.sqrt(energy + _ENERGY_FLOOR)))


def _fade(tail: FloatArray, current: FloatArray) -> FloatArray:
    """Fade from ``tail`` into the beginning of ``current`` with the halves of a Hann window."""
    overlap = len(tail)
    # Periodic: the halves add up to one at every sample.
    rising = 0.5 - 0.5 * np.cos(np.pi * np.arange(overlap) / overlap)
    faded = current.copy()
    faded[:overlap] = rising * current[:overlap] + (1 - rising) * tail
    return faded
