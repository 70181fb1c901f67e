"""A simulated listener: plays a stream as it comes, and notes where it would have had to wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# Sound cards and players buffer more than this: a shorter hole is not heard.
_HEARD_S = 0.005


@dataclass(frozen=True)
class Playback:
    """What a listener would have heard of one stream."""

    gaps_s: tuple[float, ...]  # between arrivals of pieces
    num_underruns: int
    waited_s: float  # silence in the midst of speech


def play(arrivals: Sequence[tuple[float, float]]) -> Playback:
    """Play pieces ``(arrival, duration)`` in seconds from the moment that the first is there."""
    num_underruns, waited_s = 0, 0.0
    heard_to: float | None = None  # when all that is there will have been played
    for at_s, duration_s in arrivals:
        if heard_to is None:
            heard_to = at_s
        elif at_s > heard_to:
            if at_s - heard_to > _HEARD_S:
                num_underruns += 1
                waited_s += at_s - heard_to
            heard_to = at_s
        heard_to += duration_s
    times = [at_s for at_s, _ in arrivals]
    gaps = tuple(after - before for before, after in pairwise(times))
    return Playback(gaps, num_underruns, waited_s)
