"""Formulas and plain numbers: arithmetic, powers, fractions, ranges, signs, decimals.

Source: GPT-SoVITS 48b1a01, text/zh_normalization/num.py. Differs: linear time; an operator is
read where it stands between operands, instead of pair by pair until nothing changes.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import (
    cardinal,
    read_as_code,
    read_cardinal,
    read_number,
    read_one_by_one,
)
from sovits_serve.frontend.chinese.normalization.rewriting import (
    NUMBER,
    OR_DIGITS,
    reworded,
    rewrite,
)

_POWERS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ", "0123456789xyn", strict=True))
_ANY_POWER = "[" + "".join(_POWERS) + "]"
_POWER = re.compile(f"(?P<power>{_ANY_POWER}++)")
_OPERATORS = {"+": "加", "-": "减", "×": "乘", "÷": "除", "=": "等于"}
_OPERATOR = re.compile(
    rf"(?<=[0-9A-Za-z]){_ANY_POWER}*+(?P<operator>[+\-×÷=])(?=-?[0-9]|\.[0-9]|[A-Za-z])"
)
_FRACTION = re.compile(f"(?P<fraction>-?[0-9]++/[0-9]++){OR_DIGITS}")
_PERCENTAGE = re.compile(f"(?P<percentage>-?{NUMBER}%){OR_DIGITS}")
_RANGE = re.compile(
    rf"(?<![0-9+\-×÷=])(?P<first_sign>-)?(?P<first>{NUMBER})(?P<to>[-~])"
    r"(?P<second_sign>-)?(?P<second>[0-9]++(?:\.[0-9]++)?)(?![0-9+\-×÷=])"
)
_NEGATIVE = re.compile("(?P<sign>-)(?P<value>[0-9]++)")
_VERSION = re.compile(rf"(?P<version>[0-9]++(?:\.[0-9]++){{2,}}+){OR_DIGITS}")
_DECIMAL = re.compile(
    rf"(?P<sign>-)?(?P<value>[0-9]++\.[0-9]++)|(?P<fraction>\.[0-9]++){OR_DIGITS}"
)
_LONG_NUMBER = re.compile("(?P<digits>[0-9]{3,}+)")
_ANY_NUMBER = re.compile(rf"(?P<sign>-)?(?P<value>{NUMBER})|(?P<fraction>\.[0-9]++)")


def read_arithmetic(text: AlignedText) -> AlignedText:
    """Read operators between numbers or letters, then powers (their digits are read later)."""
    text = rewrite(text, _OPERATOR, operator=lambda it: reworded(it, _OPERATORS[it.text]))
    return rewrite(text, _POWER, power=_read_power)


def _read_power(power: AlignedText) -> AlignedText:
    return reworded(power, "的" + "".join(_POWERS[character] for character in power.text) + "次方")


def read_fractions(text: AlignedText) -> AlignedText:
    """Read -7/12 and 62.5%."""
    text = rewrite(text, _FRACTION, fraction=_read_fraction)
    return rewrite(text, _PERCENTAGE, percentage=_read_percentage)


def _read_fraction(piece: AlignedText) -> AlignedText:
    numerator, denominator = piece.text.lstrip("-").split("/")
    sign = "负" if piece.text.startswith("-") else ""
    return reworded(piece, f"{sign}{cardinal(denominator)}分之{cardinal(numerator)}")


def _read_percentage(piece: AlignedText) -> AlignedText:
    sign = "负" if piece.text.startswith("-") else ""
    value = read_number(AlignedText.of(piece.text.strip("-%"))).text
    return reworded(piece, f"{sign}百分之{value}")


def read_ranges(text: AlignedText) -> AlignedText:
    """Read 1~5 and -1.5~2, unless they are part of a longer formula."""
    return rewrite(
        text,
        _RANGE,
        first_sign="负",
        first=read_number,
        to="到",
        second_sign="负",
        second=read_number,
    )


def read_signs_and_points(text: AlignedText) -> AlignedText:
    """Read negative integers, then versions like 1.2.3, then decimals.

    The order is upstream's; by it -3.5 is 负三零点五.
    """
    text = rewrite(text, _NEGATIVE, sign="负", value=read_cardinal)
    text = rewrite(text, _VERSION, version=read_one_by_one)
    return rewrite(text, _DECIMAL, sign="负", value=read_number, fraction=read_number)


def read_plain_numbers(text: AlignedText) -> AlignedText:
    """Read whatever digits are left: three and more one by one, fewer as a number."""
    text = rewrite(text, _LONG_NUMBER, digits=read_as_code)
    return rewrite(text, _ANY_NUMBER, sign="负", value=read_number, fraction=read_number)
