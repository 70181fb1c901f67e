"""Each language mode gives the runs that upstream's preprocessor makes."""

import json

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.languages import collapse_blanks, split_by_mode
from tests.golden import DATA

GOLDEN = [
    item for item in json.loads((DATA / "frontend_modes.json").read_text("utf-8")) if "segs" in item
]
MODES = sorted({item["mode"] for item in GOLDEN})


def runs_of(text: str, mode: str, *, keep_all: bool = False) -> list[tuple[str, str]]:
    """Return language and text of the runs of a text, done as upstream does."""
    runs = split_by_mode(collapse_blanks(AlignedText.of(text)), mode, keep_all=keep_all)
    return [(run.language, run.text.text) for run in runs]


@pytest.mark.parametrize("mode", MODES)
def test_runs_are_those_of_upstream(mode: str) -> None:
    """Every recorded text has the recorded runs, also where upstream put a dot in front."""
    items = [item for item in GOLDEN if item["mode"] == mode]

    different = [
        item["text"]
        for item in items
        if runs_of("." * item["retried_with_dot"] + item["text"], mode)
        != [(run["lang"], run["text"]) for run in item["segs"]]
    ]

    assert different == []


def test_all_modes_are_recorded() -> None:
    """The record covers the eleven modes."""
    assert len(MODES) == 11


@pytest.mark.parametrize(
    ("mode", "runs"),
    [
        ("en", [("en", "你好 world です")]),
        ("zh", [("zh", "你好 "), ("en", "world "), ("zh", "です")]),
        ("yue", [("yue", "你好 "), ("en", "world "), ("yue", "です")]),
        ("auto", [("zh", "你好 "), ("en", "world "), ("ja", "です")]),
        ("auto_yue", [("yue", "你好 "), ("en", "world "), ("ja", "です")]),
        ("all_yue", [("yue", "你好 "), ("en", "world "), ("yue", "です")]),
    ],
)
def test_what_a_mode_calls_a_language(mode: str, runs: list[tuple[str, str]]) -> None:
    """A mode decides which languages are told apart and what Chinese is called."""
    assert runs_of("你好 world です", mode) == runs


def test_only_several_blanks_become_one() -> None:
    """Blanks collapse, and what follows keeps its place in the original."""
    text = collapse_blanks(AlignedText.of("a   b c"))

    assert text.text == "a b c"
    assert text.origin(1, 2)[0] >= 1
    assert text.origin(2, 3) == (4, 5)


@pytest.mark.parametrize("mode", ["auto", "zh", "ja", "ko", "yue", "auto_yue"])
def test_foreign_words_become_english_when_all_is_kept(mode: str) -> None:
    """Words that no language of the mode has are kept for a reader of English."""
    assert runs_of("Привет, мир!", mode, keep_all=True) == [("en", "Привет, мир!")]
