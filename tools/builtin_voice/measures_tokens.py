"""Skipped and repeated words, found by aligning semantic tokens with those of the teacher's speech.

Tokens are int arrays (T,) at 25 Hz. Codes that sound alike lie near one another in the codebook,
so tokens are compared by distance, not by equality. Knows no model.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.builtin_voice.measures import BoolArray, FloatArray, NotMeasurable, warp

TokenArray = npt.NDArray[np.int64]

# One side stands still for so many tokens that sound different: 0.24 s, a short word.
MIN_RUN = 6
_STAND_STILL_COST = 0.05  # so that equal speech is aligned one to one
_UNLIKE = 0.5  # distance, in medians of the codebook, above which two tokens are not one sound


@dataclass(frozen=True)
class TokenAlignment:
    """How generated tokens follow the teacher's.

    Attributes:
        skipped: longest run of the teacher's tokens with nothing to match.
        repeated: longest run of ours with nothing to match.
        distance: mean over the path; 0 equal, 1 as far apart as codes drawn by chance.
    """

    skipped: int
    repeated: int
    distance: float

    def is_flagged(self, min_run: int = MIN_RUN) -> bool:
        """Return whether a word seems to be skipped or repeated."""
        return max(self.skipped, self.repeated) >= min_run


def code_distances(codebook: FloatArray) -> FloatArray:
    """Return the distances (V, V) of all codes, in medians, at most 1."""
    codebook = codebook.astype(np.float64)
    squares = (codebook**2).sum(1)
    products = squares[:, None] + squares - 2 * codebook @ codebook.T
    distances = np.sqrt(np.maximum(products, 0))
    np.fill_diagonal(distances, 0)
    scale = float(np.median(distances[~np.eye(len(distances), dtype=bool)]))
    return np.asarray(np.minimum(1, distances / max(scale, 1e-9)))


def align_tokens(
    ours: TokenArray,
    teacher: TokenArray,
    distances: FloatArray,
    *,
    is_silent: BoolArray | None = None,
    is_silent_teacher: BoolArray | None = None,
) -> TokenAlignment:
    """Align generated tokens with the teacher's.

    Args:
        ours: what the model generated.
        teacher: what the model's own encoder makes of the teacher's speech.
        distances: of ``code_distances``.
        is_silent: which of ours are silence: a longer pause is no repeated word.
        is_silent_teacher: the same for the teacher's.

    Raises:
        NotMeasurable: one of them is empty.
    """
    if not len(ours) or not len(teacher):
        raise NotMeasurable("no tokens")
    pairs = distances[np.ix_(teacher, ours)]
    rows, columns = warp(pairs + _STAND_STILL_COST)
    along = pairs[rows, columns]
    no_teacher = np.diff(rows, prepend=-1) == 0
    no_ours = np.diff(columns, prepend=-1) == 0
    skipped = no_ours & ~_taken(is_silent_teacher, rows)
    repeated = no_teacher & ~_taken(is_silent, columns)
    return TokenAlignment(
        skipped=_longest_run(skipped, no_ours, along),
        repeated=_longest_run(repeated, no_teacher, along),
        distance=float(along.mean()),
    )


def silent_tokens(samples: FloatArray, num_tokens: int, ratio: float = 0.02) -> BoolArray:
    """Return which tokens are silence, of audio that they divide into equal parts."""
    edges = np.linspace(0, len(samples), num_tokens + 1).astype(int)
    sums = np.append(0, np.cumsum(samples.astype(np.float64) ** 2))
    levels = np.sqrt((sums[edges[1:]] - sums[edges[:-1]]) / np.maximum(1, np.diff(edges)))
    return np.asarray(levels < ratio * levels.max(initial=0))


def _taken(is_silent: BoolArray | None, places: npt.NDArray[np.intp]) -> BoolArray:
    if is_silent is None:
        return np.zeros(len(places), dtype=bool)
    return is_silent[np.minimum(places, len(is_silent) - 1)]


def _longest_run(counted: BoolArray, still: BoolArray, distances: FloatArray) -> int:
    """Return the most counted, unlike tokens in one run in which a side stands still."""
    longest = run = 0
    for step in range(len(still)):
        if not still[step]:
            run = 0
        elif counted[step] and distances[step] > _UNLIKE:
            run += 1
            longest = max(longest, run)
    return longest
