"""What is taken from the morphological analysis."""

import pytest

from sovits_serve.frontend.korean.annotation import marks


def test_stems_endings_particles_and_counters_are_marked() -> None:
    """The kinds of words that the rules ask for, at the last character of each."""
    text = "나의 사과 3개를 먹을 것이다. 안 읽고"
    found = marks(text)

    assert {text[i]: mark for i, mark in enumerate(found) if mark} == {
        "의": "J",
        "개": "B",
        "을": "E",
        "읽": "P",
    }


@pytest.mark.parametrize(
    "text", ["", " ", "가\t나", "3개\x00", "\ud800 3개", "😀 3개", "가" * 5000]
)
def test_every_character_has_a_mark(text: str) -> None:
    """There are as many marks as characters, whatever the text."""
    assert len(marks(text)) == len(text)


def test_long_texts_are_marked_to_their_end() -> None:
    """A text that is analysed in parts is analysed whole."""
    text = "사과 3개를 먹었다. " * 300

    assert marks(text).count("B") == 300
