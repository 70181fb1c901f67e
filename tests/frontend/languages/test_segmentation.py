"""Texts are cut into the runs that upstream cuts them into; with ``keep_all`` nothing is lost."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.languages import LanguageRun, segment_languages
from tests.golden import DATA

GOLDEN = json.loads((DATA / "frontend_langseg.json").read_text("utf-8"))


def pairs(runs: list[LanguageRun]) -> list[list[str]]:
    """Return language and text of runs, as they are recorded."""
    return [[run.language, run.text.text] for run in runs]


@pytest.mark.parametrize("default", ["", "zh", "ja", "ko"])
def test_runs_are_those_of_upstream(default: str) -> None:
    """Every recorded text has the recorded runs, for every default language."""
    recorded = [item for item in GOLDEN if isinstance(item[default or "default"], list)]

    different = [
        item["text"]
        for item in recorded
        if pairs(segment_languages(AlignedText.of(item["text"]), default))
        != item[default or "default"]
    ]

    assert recorded
    assert different == []


@pytest.mark.parametrize("default", ["", "ja"])
@pytest.mark.parametrize("text", ["", "   ", "\n\r\n", "\u3000\t", "\x85"])
def test_blank_text_has_no_runs(text: str, default: str) -> None:
    """A text of blanks has no runs, where upstream raises an error."""
    assert segment_languages(AlignedText.of(text), default) == []


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("我有3个apple", [["zh", "我有3个"], ["en", "apple"]]),
        ("version 2", [["en", "version 2"]]),
        ("2024 hello", [["en", "2024 hello"]]),
        ("2024", [["zh", "2024"]]),
        ("He left.2024年到了", [["en", "He left."], ["zh", "2024年到了"]]),
    ],
)
def test_digits_follow_a_neighbour(text: str, runs: list[list[str]]) -> None:
    """Digits are read in the language beside them, the longer one unless a clause ends."""
    assert pairs(segment_languages(AlignedText.of(text))) == runs


def test_kana_and_hangul_leave_a_chinese_run() -> None:
    """Kana and hangul become runs of their own wherever they are found."""
    found = pairs(segment_languages(AlignedText.of("欢迎来到我们的首尔서울和东京とうきょう")))

    assert ["ko", "서울"] in found
    assert any(language == "ja" and "とうきょう" in text for language, text in found)


def test_letters_of_unknown_language_are_dropped_as_upstream_does() -> None:
    """Without ``keep_all`` a Russian text keeps only what Chinese text may hold."""
    text = AlignedText.of("Привет, мир!")

    assert pairs(segment_languages(text)) == [["zh", " !"]]
    assert pairs(segment_languages(text, keep_all=True)) == [["en", "Привет, мир!"]]


@pytest.mark.parametrize("text", ["25°C", "α波", "½", "①", "2022/3/4", "50€"])
def test_signs_that_chinese_reads_stay_chinese(text: str) -> None:
    """With ``keep_all``, signs in a Chinese text do not become English."""
    runs = segment_languages(AlignedText.of(f"这里有一个{text}的例子"), keep_all=True)

    assert {run.language for run in runs} == {"zh"}


def test_runs_know_where_they_come_from() -> None:
    """The characters of a run map to their places in the original, dropped ones left out."""
    text = AlignedText.of("  café。你好 world", offset=10)

    runs = segment_languages(text)

    assert pairs(runs) == [["zh", "。你好 "], ["en", "world"]]
    assert [run.text.origin(0, len(run.text)) for run in runs] == [(16, 20), (20, 25)]


SCRIPTS = st.sampled_from("a我の한я1,。'\n éア々x①")


@given(st.text(st.one_of(SCRIPTS, st.characters()), max_size=40))
def test_nothing_is_lost(text: str) -> None:
    """With ``keep_all`` the runs of any text are the text, and no neighbours are alike."""
    runs = segment_languages(AlignedText.of(text), keep_all=True)

    assert "".join(run.text.text for run in runs) == text.strip()
    assert all(one.language != other.language for one, other in pairwise(runs))


def test_long_alternating_text_is_one_pass() -> None:
    """Many characters in as many runs are no trouble."""
    runs = segment_languages(AlignedText.of("a한" * 10_000))

    assert len(runs) == 20_000


def test_threads_agree() -> None:
    """Several threads get what one gets."""
    texts = [AlignedText.of(item["text"]) for item in GOLDEN[:60]]
    alone = [segment_languages(text) for text in texts]

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(segment_languages, texts))

    assert together == alone
