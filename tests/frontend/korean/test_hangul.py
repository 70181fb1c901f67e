"""Syllables apart and together."""

import unicodedata

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.hangul import compose, parse, spell


def test_every_syllable_comes_back() -> None:
    """Taking apart and putting together are each other's reverse, for all 11,172 syllables."""
    syllables = [chr(code) for code in range(ord("가"), ord("힣") + 1)]

    assert [str(parse(syllable)) for syllable in syllables] == syllables


def test_conjoining_jamo_become_syllables_with_their_range() -> None:
    """Decomposed text, as some file systems give it, is composed; each syllable keeps its range."""
    composed = compose(AlignedText.of(unicodedata.normalize("NFD", "값 가")))

    assert composed.text == "값 가"
    assert [composed.origin(i, i + 1) for i in range(3)] == [(0, 3), (3, 4), (4, 6)]


def test_a_lone_jamo_becomes_a_letter() -> None:
    """Nothing of a damaged syllable is lost."""
    assert compose(AlignedText.of("\u1100 \u1161 \u11ab")).text == "ㄱ 아 ㄴ"


@pytest.mark.parametrize(
    ("letters", "spelled"), [("ㄱㅘ", "ㄱㅗㅏ"), ("ㅇㅢ", "ㅇㅡㅣ"), ("ㄲㅐ", "ㄲㅐ")]
)
def test_glides_are_spelled_with_two_vowels(letters: str, spelled: str) -> None:
    """The models know eight vowels; the others are said as two."""
    assert spell(letters) == spelled
