"""Does a voice sound like its own speaker? Asked of the model's style and of the average spectrum.

Style: a reference of A against the mean style of A's other recordings and of B's, by cosine.
Timbre, which knows no model: the mean log mel spectrum of a recording's speech, its own mean over
the bands removed; what the model says with A's voice against the means of the teachers A and B, by
Euclidean distance. All speakers say the same sentences.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from tools.builtin_voice.measures import FloatArray, active_frames, log_mel


@dataclass(frozen=True)
class Trials:
    """How often the right speaker was the nearer one."""

    num_right: int
    num_all: int


def timbre(samples: FloatArray) -> FloatArray:
    """Return the average spectrum (bands) of the speech in a recording at 16 kHz.

    Raises:
        NotMeasurable: there is no speech.
    """
    values = log_mel(samples)
    average = values[active_frames(values)].mean(axis=0)
    return np.asarray(average - average.mean())


def cosine_distance(ours: FloatArray, other: FloatArray) -> float:
    """Return 1 minus the cosine of the angle between two vectors."""
    return float(1 - ours @ other / max(1e-12, float(np.linalg.norm(ours) * np.linalg.norm(other))))


def euclidean_distance(ours: FloatArray, other: FloatArray) -> float:
    """Return the length of the difference."""
    return float(np.linalg.norm(ours - other))


def reference_trials(
    recordings: Mapping[str, Sequence[FloatArray]],
    distance: Callable[[FloatArray, FloatArray], float],
) -> Trials:
    """Compare each recording of A with A's others and with B's, for all A and B.

    Args:
        recordings: vectors by speaker.
        distance: of two vectors.
    """
    return _count(
        distance(vector, _mean([*own[:place], *own[place + 1 :]])) < distance(vector, other)
        for own, other in _pairs(recordings)
        if len(own) > 1
        for place, vector in enumerate(own)
    )


def speech_trials(
    spoken: Mapping[str, Sequence[FloatArray]],
    recordings: Mapping[str, Sequence[FloatArray]],
    distance: Callable[[FloatArray, FloatArray], float],
) -> Trials:
    """Compare what is said with A's voice with the recordings of A and of B, for all A and B."""
    return _count(
        distance(vector, _mean(recordings[first])) < distance(vector, _mean(recordings[second]))
        for first, second in permutations(recordings, 2)
        if recordings[first] and recordings[second]
        for vector in spoken.get(first, ())
    )


def _pairs(
    recordings: Mapping[str, Sequence[FloatArray]],
) -> Iterator[tuple[Sequence[FloatArray], FloatArray]]:
    for first, second in permutations(recordings, 2):
        if recordings[second]:
            yield recordings[first], _mean(recordings[second])


def _count(results: Iterator[bool]) -> Trials:
    found = list(results)
    return Trials(sum(found), len(found))


def _mean(vectors: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.mean(np.stack(list(vectors)), axis=0))
