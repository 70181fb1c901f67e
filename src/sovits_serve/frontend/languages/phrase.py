"""Cut Chinese and Japanese text into phrases, short enough to be each of one language.

Uses the trained weights that the package budoux brings: one small table of weights per n-gram
and per place relative to a possible boundary. Which n-grams count, and how, is the package's
format.

Source: BudouX 0.10.1, parser.py, Parser.parse (the score), and split-lang 2.1.1,
split/splitter.py, LangSplitter._parse_zh_ja (the Japanese, then the Chinese model; which phrases
join). Differs: linear in the length of a phrase.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache

from sovits_serve.frontend.languages.detection import package_file
from sovits_serve.frontend.languages.script import has_kana

# Tables of weights by name: of one, two or three characters, in so many places each. The k-th
# place of the first group begins three characters before the possible boundary, and so on.
_GROUPS = {"UW": (1, 6, -3), "BW": (2, 3, -2), "TW": (3, 4, -3)}
_REACH = 3  # no n-gram begins farther from the boundary
_LOADING = threading.Lock()


class PhraseModel:
    """Weights that say where phrases end."""

    def __init__(self, weights: Mapping[str, Mapping[str, int]]) -> None:
        self._total = sum(sum(table.values()) for table in weights.values())
        self._tables = [
            (size, _by_gram(weights, group, num_places, first))
            for group, (size, num_places, first) in _GROUPS.items()
        ]

    def split(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the start and end of every phrase."""
        scores = [0] * (len(text) + 2 * _REACH)
        for size, table in self._tables:
            for position in range(len(text) - size + 1):
                for offset, weight in table.get(text[position : position + size], ()):
                    scores[position + offset] += weight
        begin = 0
        for position in range(1, len(text)):
            if 2 * scores[position + _REACH] > self._total:
                yield begin, position
                begin = position
        if text:
            yield begin, len(text)


def _by_gram(
    weights: Mapping[str, Mapping[str, int]], group: str, num_places: int, first: int
) -> dict[str, list[tuple[int, int]]]:
    """Return for every n-gram which weights it adds, and how far from its start (+ reach)."""
    table: dict[str, list[tuple[int, int]]] = {}
    for place in range(num_places):
        offset = _REACH - (first + place)
        for gram, weight in weights.get(f"{group}{place + 1}", {}).items():
            table.setdefault(gram, []).append((offset, weight))
    return table


def split_phrases(text: str) -> list[tuple[int, int]]:
    """Return start and end of every phrase of a text in Han characters and kana.

    Neighbours with kana are one phrase; a single character without joins what precedes it.
    """
    with _LOADING:
        japanese, chinese = _models()
    phrases: list[tuple[int, int, bool]] = []
    for outer_start, outer_end in japanese.split(text):
        for inner_start, inner_end in chinese.split(text[outer_start:outer_end]):
            start, end = outer_start + inner_start, outer_start + inner_end
            is_kana = has_kana(text, start, end)
            if phrases and phrases[-1][2] is is_kana and (is_kana or end - start == 1):
                phrases[-1] = (phrases[-1][0], end, is_kana)
            else:
                phrases.append((start, end, is_kana))
    ranges = [(start, end) for start, end, _ in phrases]
    if len(ranges) > 1 and ranges[0] == (0, 1):
        ranges[:2] = [(0, ranges[1][1])]
    return ranges


def load_models() -> None:
    """Load the weights now, if they are not yet loaded."""
    with _LOADING:
        _models()


@lru_cache(maxsize=1)
def _models() -> tuple[PhraseModel, PhraseModel]:
    """Return the Japanese and the Chinese model."""
    files = (package_file("budoux", "models", name) for name in ("ja.json", "zh-hans.json"))
    japanese, chinese = (PhraseModel(json.loads(file.read_text("utf-8"))) for file in files)
    return japanese, chinese
