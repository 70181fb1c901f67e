"""Numbers in words."""

import pytest

from sovits_serve.frontend.english import numbers


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("0", "zero"),
        ("21", "twenty-one"),
        ("100", "one hundred"),
        ("123", "one hundred twenty-three"),
        ("1000", "one thousand"),
        ("3001", "three thousand one"),
        ("3100", "three thousand, one hundred"),
        ("12345", "twelve thousand, three hundred forty-five"),
        ("1000000000", "one billion"),
        ("1" + "0" * 35, "one hundred decillion"),
    ],
)
def test_cardinals_group_by_thousands(digits: str, words: str) -> None:
    """A cardinal names its groups of three digits, with commas between the large ones."""
    assert numbers.cardinal(digits) == words


def test_and_stands_before_tens_and_ones() -> None:
    """With "and", it stands behind every hundred and before a last small group."""
    assert numbers.cardinal("123", with_and=True) == "one hundred and twenty-three"
    assert numbers.cardinal("1001", with_and=True) == "one thousand and one"


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("1066", "ten sixty-six"),
        ("1905", "nineteen oh five"),
        ("1900", "nineteen hundred"),
        ("2000", "two thousand"),
        ("2007", "two thousand seven"),
        ("2024", "twenty twenty-four"),
        ("1000", "one thousand"),
        ("3000", "three thousand"),
        ("01969", "nineteen sixty-nine"),
    ],
)
def test_numbers_of_four_digits_are_years(digits: str, words: str) -> None:
    """1001 to 2999 are read as years, other numbers as cardinals."""
    assert numbers.number(digits) == words


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("1", "first"),
        ("12", "twelfth"),
        ("20", "twentieth"),
        ("21", "twenty-first"),
        ("101", "one hundred and first"),
        ("1000", "one thousandth"),
    ],
)
def test_ordinals_change_the_last_word(digits: str, words: str) -> None:
    """An ordinal differs from its cardinal in the last word only."""
    assert numbers.ordinal(digits) == words


def test_ordinal_suffixes_know_the_teens() -> None:
    """11, 12 and 13 take th, also behind hundreds."""
    suffixes = [
        numbers.ordinal_suffix(digits) for digits in ("1", "2", "3", "4", "11", "112", "123")
    ]

    assert suffixes == ["st", "nd", "rd", "th", "th", "th", "rd"]


def test_numbers_without_a_name_are_read_digit_by_digit() -> None:
    """A number of 400 digits, longer than any that has a name, gives 400 words."""
    assert numbers.number("7" * 400).split() == ["seven"] * 400
