"""Patterns and readers that several repairs share.

Patterns take linear time: a number is tried from its first digit only.
"""

import re
from collections.abc import Callable

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import read_number

# Begins no number inside another one, inside a name (A4, GPT-4) or behind a point or a comma.
NUMBER_START = r"(?<![0-9A-Za-z])(?<![0-9][.,])"
# A sign is no operator: what precedes it is no operand.
NEGATIVE = "(?<![0-9A-Za-z)）²³%年月日号时点分秒度℃])-"
# Groups of exactly three digits are one number. Groups that are not are no number at all.
GROUPED = r"(?<![0-9])(?<![0-9][.,])[1-9][0-9]{0,2}(?:,[0-9]{3})++(?![0-9])(?!,[0-9])"
DECIMALS = r"(?:\.[0-9]++)?+"
AMOUNT = f"(?:{GROUPED}|[0-9]++){DECIMALS}"
NUMBER_END = r"(?![0-9]|[.,][0-9])"
# Marks for a range, with or without blanks. A blank only before a hyphen makes it a sign.
TO_MARK = "(?: ?(?:——|[~～〜\u2010-\u2015]) ?| - |- ?)"
_COMMA = re.compile(",")
_SILENT_ZEROS = re.compile(r"\.0++$|(?<=[1-9])0++$")


def rewrite_matches(
    text: AlignedText,
    pattern: re.Pattern[str],
    read: Callable[[AlignedText, re.Match[str]], AlignedText | None],
) -> AlignedText:
    """Replace matches by what ``read`` makes of the text and a match; None leaves a match alone."""

    def replacement(match: re.Match[str]) -> str | AlignedText:
        read_match = read(text, match)
        return match[0] if read_match is None else read_match

    return text.sub(pattern, replacement)


def group(text: AlignedText, match: re.Match[str], name: str) -> AlignedText:
    """Return the part of a text that a named group matched; nothing if it matched none."""
    start, end = match.span(name)
    return text[start:end] if start >= 0 else text[:0]


def read_amount(amount: AlignedText, *, is_price: bool = False) -> AlignedText:
    """Read a number that may have thousands separators; zeros at a price's end are not said."""
    digits = amount.sub(_COMMA, "")
    if is_price and "." in digits.text:
        match = _SILENT_ZEROS.search(digits.text)
        digits = digits[: match.start()] if match else digits
    return read_number(digits)
