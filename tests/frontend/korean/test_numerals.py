"""Numbers in words."""

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.numerals import spell_native, spell_numbers, spell_sino


def spelled(text: str, counters: str = "") -> str:
    """Spell a text's numbers; each character of ``counters`` ends a counter."""
    return spell_numbers(AlignedText.of(text), ["B" if c in counters else "" for c in text])[0].text


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("0", "영"),
        ("10", "십"),
        ("111", "백십일"),
        ("2024", "이천이십사"),
        ("10000", "만"),
        ("1000000", "백만"),
        ("100000000", "일억"),
        ("123456789", "일억이천삼백사십오만육천칠백팔십구"),
        ("1" + "0" * 16, "일경"),
    ],
)
def test_sino_korean_numbers(digits: str, words: str) -> None:
    """Numbers are said in groups of four digits; a leading one is silent below 억."""
    assert spell_sino(digits) == words


@pytest.mark.parametrize(
    ("digits", "words"),
    [("3", "세"), ("20", "스무"), ("21", "스물한"), ("99", "아흔아홉"), ("120", "백스물")],
)
def test_native_numbers(digits: str, words: str) -> None:
    """Before native counters the tens and ones are native words."""
    assert spell_native(digits) == words


def test_the_counter_decides() -> None:
    """Hours are counted with native numbers, minutes with Sino-Korean ones."""
    assert spelled("3시 25분", "시분") == "세시 이십오분"


def test_a_number_without_counter_is_said_digit_by_digit() -> None:
    """Telephone numbers, and whatever is not counted."""
    assert spelled("010-1234") == "영일영-일이삼사"


def test_grouped_digits_are_one_number() -> None:
    """Commas in a counted number are not said."""
    assert spelled("1,234원", "원") == "천이백삼십사원"


def test_a_number_inside_another_is_left_alone() -> None:
    """The 3 of 13개 is not what is counted in 3개, which upstream mixes up at random."""
    assert spelled("3개 13개", "개") == "세개 열세개"


@pytest.mark.parametrize("size", [17, 24, 25, 400])
def test_long_numbers_are_said(size: int) -> None:
    """However long a number is, it is said."""
    assert len(spelled("9" * size + "원", "원")) > size


def test_words_come_from_the_digits() -> None:
    """The words' range is the number's; what follows keeps its own, and the marks move along."""
    text, marks = spell_numbers(AlignedText.of("약 21개"), ["", "", "", "", "B"])

    assert text.text == "약 스물한개"
    assert text.origin(2, 5) == (2, 4)
    assert text.origin(5, 6) == (4, 5)
    assert marks == ["", "", "", "", "", "B"]
