"""The two hidden Markov models by which jieba finds words that its dictionary lacks.

One gives words, the other words with their part of speech. Both take a run of ideographs.

Source: jieba 0.42.1, finalseg/__init__.py and posseg/viterbi.py. Differs: only transitions that
exist are tried, and a run of unknown characters costs a few steps; the results are the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sovits_serve.frontend.chinese.jieba_data import load_parameters
from sovits_serve.frontend.chinese.loading import load_once

_IMPOSSIBLE = -3.14e100  # jieba's logarithm of a probability of zero
_BEFORE = {"B": "ES", "M": "MB", "S": "SE", "E": "BM"}

_Scored = tuple[tuple[int, float], ...]  # states, each with a log probability
_Step = tuple[dict[int, float], dict[int, int]]  # state -> score, state -> state before it


@dataclass(frozen=True, slots=True)
class WordModel:
    """Finds words: log probabilities by place in the word (begin, middle, end, single)."""

    start: Mapping[str, float]
    transition: Mapping[str, Mapping[str, float]]
    emission: Mapping[str, Mapping[str, float]]

    def cut(self, run: str) -> list[str]:
        """Return the words of a run of ideographs."""
        return [run[start:end] for start, end in _spans("".join(self._places(run)))]

    def _places(self, run: str) -> list[str]:
        scores = {y: self.start[y] + self._emitted(y, run[0]) for y in "BMES"}
        steps: list[dict[str, str]] = []
        for character in run[1:]:
            best = {y: self._best(y, scores, self._emitted(y, character)) for y in "BMES"}
            scores = {y: score for y, (score, _) in best.items()}
            steps.append({y: before for y, (_, before) in best.items()})
        places = [max("ES", key=lambda y: (scores[y], y))]
        for step in reversed(steps):
            places.append(step[places[-1]])
        return places[::-1]

    def _best(self, y: str, scores: Mapping[str, float], emitted: float) -> tuple[float, str]:
        return max(
            (scores[x] + self.transition[x].get(y, _IMPOSSIBLE) + emitted, x) for x in _BEFORE[y]
        )

    def _emitted(self, y: str, character: str) -> float:
        return self.emission[y].get(character, _IMPOSSIBLE)


@dataclass(frozen=True, slots=True)
class TaggingModel:
    """Finds words with their part of speech.

    States are numbered in the order of their names. ``before`` and ``after`` have, per state, the
    (state, log probability) that may precede and follow it; ``emission`` has, per character, the
    states it can have; a character without an entry can have any.
    """

    places: str
    tags: tuple[str, ...]
    start: tuple[float, ...]
    before: tuple[_Scored, ...]
    after: tuple[_Scored, ...]
    emission: Mapping[str, _Scored]

    def cut(self, run: str) -> list[tuple[str, str]]:
        """Return the words of a run of ideographs, each with its part of speech."""
        path = self._path(run)
        spans = _spans("".join(self.places[state] for state in path))
        return [(run[start:end], self.tags[path[end - 1]]) for start, end in spans]

    def _path(self, run: str) -> list[int]:
        first = self.emission.get(run[0]) or ((y, _IMPOSSIBLE) for y in range(len(self.tags)))
        scores = {y: self.start[y] + emitted for y, emitted in first}
        steps: list[dict[int, int]] = []
        for i in range(1, len(run)):
            if self._is_settled(run, i, steps):
                steps.append(steps[-1])
                continue
            scores, before = self._step(scores, run[i])
            steps.append(before)
        path = [max(scores, key=lambda y: (scores[y], y))]
        for step in reversed(steps):
            path.append(step[path[-1]])
        return path[::-1]

    def _step(self, scores: dict[int, float], character: str) -> _Step:
        reached: dict[int, tuple[float, int]] = {}
        for y, emitted in self.emission.get(character, ()):
            found = [(scores[x] + p + emitted, x) for x, p in self.before[y] if x in scores]
            if found:
                reached[y] = max(found)
        reached = reached or self._reach_any(scores)
        return (
            {y: score for y, (score, _) in reached.items()},
            {y: before for y, (_, before) in reached.items()},
        )

    def _reach_any(self, scores: dict[int, float]) -> dict[int, tuple[float, int]]:
        """Return what is reached by a character that could be anything."""
        reached: dict[int, tuple[float, int]] = {}
        for x, score in scores.items():
            for y, p in self.after[x]:
                found = (score + p + _IMPOSSIBLE, x)
                if y not in reached or found > reached[y]:
                    reached[y] = found
        return reached

    def _is_settled(self, run: str, i: int, steps: list[dict[int, int]]) -> bool:
        """Tell whether characters up to i are unknown and the last two steps were the same."""
        if len(steps) < 2 or any(character in self.emission for character in run[i - 2 : i + 1]):
            return False
        return steps[-1] == steps[-2]


def _spans(places: str) -> Iterator[tuple[int, int]]:
    """Yield the range of each word, from the place of each character in its word."""
    begin = done = 0
    for i, place in enumerate(places):
        if place == "B":
            begin = i
        elif place == "E":
            yield begin, i + 1
            done = i + 1
        elif place == "S":
            yield i, i + 1
            done = i + 1
    if done < len(places):
        yield done, len(places)


@load_once
def load_word_model() -> WordModel:
    """Read the model that finds words, once."""
    names = ("prob_start", "prob_trans", "prob_emit")
    return WordModel(*(load_parameters(f"finalseg/{name}") for name in names))


@load_once
def load_tagging_model() -> TaggingModel:
    """Read the model that finds words with their part of speech, once."""
    start = load_parameters("posseg/prob_start")
    transitions = load_parameters("posseg/prob_trans")
    emissions = load_parameters("posseg/prob_emit")
    possible = load_parameters("posseg/char_state_tab")
    states: list[tuple[str, str]] = sorted(transitions)
    number = {state: i for i, state in enumerate(states)}
    return TaggingModel(
        places="".join(place for place, _ in states),
        tags=tuple(tag for _, tag in states),
        start=tuple(start[state] for state in states),
        before=tuple(
            tuple((number[x], transitions[x][y]) for x in states if y in transitions[x])
            for y in states
        ),
        after=tuple(tuple((number[y], p) for y, p in transitions[x].items()) for x in states),
        emission={
            character: tuple((number[y], emissions[y].get(character, _IMPOSSIBLE)) for y in own)
            for character, own in possible.items()
        },
    )
