import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.parity.text_spans import Span, has_features, spans

# What upstream's front end made of 91 texts in Chinese and mixed modes.
CASES = json.loads(Path(__file__).with_name("text_spans.json").read_text(encoding="utf-8"))

_SYLLABLES = ["n i3", "h ao3", "zh ong1", "AA a1", "EE er2", "y v4", "sh ir4", "x van5", "w En2"]
_WORDS = {"hello": "HH AH0 L OW1", "two words": "T UW1 W ER1 D Z", "I": "AY1"}

han = st.tuples(
    st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), st.sampled_from(_SYLLABLES)
)
mark = st.sampled_from([(mark, mark) for mark in "!?…,.-"] + [(",", "SP2")])
chinese = st.tuples(han, st.lists(han | mark, max_size=8)).map(lambda parts: [parts[0], *parts[1]])
english = st.sampled_from(sorted(_WORDS.items())).map(lambda word: [word])


def _with_features(text: str, phones: list[str]) -> list[list[object]]:
    """Return start, text and counts of the spans with features."""
    found, start = [], 0
    for span in spans(text, phones):
        if span.word2ph is not None:
            found.append([start, span.text, list(span.word2ph)])
        start += span.num_phones
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:16])
def test_spans_equal_upstreams_segments(case: dict[str, Any]) -> None:
    """The Chinese segments found are those that upstream's front end read."""
    assert has_features(case["mode"])
    assert _with_features(case["text"], case["phones"].split()) == case["spans"]


@given(st.lists(chinese, min_size=1, max_size=4), english, st.booleans())
def test_mixed_text_is_taken_apart(
    runs: list[list[tuple[str, str]]], word: list[tuple[str, str]], begins_chinese: bool
) -> None:
    """Chinese runs between English words are found whole, with a count per character."""
    pieces = [piece for run in runs for piece in (word, run)][begins_chinese:]
    text = "".join(character for piece in pieces for character, _ in piece)
    phones = [phone for piece in pieces for _, sound in piece for phone in sound.split()]
    found = spans(text, phones)

    assert [span.text for span in found if span.word2ph is not None] == [
        "".join(character for character, _ in run) for run in runs
    ]
    assert "".join(span.text for span in found) == text
    assert sum(span.num_phones for span in found) == len(phones)
    assert all(span.word2ph is None or sum(span.word2ph) == span.num_phones for span in found)


@given(st.text(max_size=12), st.lists(st.sampled_from("n i3 h ao3 , . HH AH0 SP2 [".split())))
def test_any_text_is_taken_apart_or_refused(text: str, phones: list[str]) -> None:
    """Nonsense either fits, with every phoneme accounted for, or is a ValueError."""
    try:
        found = spans(text, phones)
    except ValueError:
        return

    assert sum(span.num_phones for span in found) == len(phones)


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("你好", "n i3"),
        ("你好", "n i3 h ao3 m a5"),
        ("你好", "."),
        ("", "n i3"),
        ("hello", "n i3 h ao3"),
    ],
)
def test_phonemes_of_another_text_are_refused(text: str, phones: str) -> None:
    """Text and phonemes that cannot belong together are refused by name."""
    with pytest.raises(ValueError, match="do not fit"):
        spans(text, phones.split())


def test_punctuation_alone_is_chinese() -> None:
    """Upstream gives a text of marks alone to the Chinese reader."""
    assert spans("...", [".", ".", "."]) == [Span("...", 3, (1, 1, 1))]


@pytest.mark.parametrize("mode", ["en", "ja", "all_ja", "ko", "yue", "auto_yue", "all_YUE"])
def test_modes_without_chinese_have_no_features(mode: str) -> None:
    """In other languages' modes no phoneme has features, whatever the case of the letters."""
    assert not has_features(mode)
