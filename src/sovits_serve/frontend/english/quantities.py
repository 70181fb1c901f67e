"""Amounts of money, measures, times, fractions and decimals: from digits to words and digits.

Each step is a pattern and what becomes of its match; cardinals left over are read by the last step.
All patterns are linear: runs of digits are taken whole and only from their start.

Source: GPT-SoVITS 48b1a01, text/en_normalization/expend.py. Differs: patterns that cannot run
quadratically; amounts that upstream fails on ("(5$)", 40 digits, "£,5") are read.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sovits_serve.frontend.english import numbers

Replacement = Callable[[re.Match[str]], str]

_UNITS = {
    "m": ("meter", "meters"),
    "km": ("kilometer", "kilometers"),
    "ft": ("feet", "feet"),
    "L": ("liter", "liters"),
    "tbsp": ("tablespoon", "tablespoons"),
    "tsp": ("teaspoon", "teaspoons"),
    "h": ("hour", "hours"),
    "min": ("minute", "minutes"),
    "s": ("second", "seconds"),
    "°C": ("degree celsius", "degrees celsius"),
    "°F": ("degree fahrenheit", "degrees fahrenheit"),
}
_AT_DIGITS = "(?<![0-9])"


@dataclass(frozen=True, slots=True)
class Currency:
    """How amounts in a currency are called, one and many, whole and hundredth."""

    one: str
    many: str
    one_hundredth: str
    many_hundredths: str

    def __call__(self, match: re.Match[str]) -> str:
        """Read the amount in a match's first group: "5.5" as "5 dollars and 50 cents"."""
        amount = match[1].strip(",(").replace(",", "").replace("(", "")
        parts = amount.split(".")
        if len(parts) > 2:
            return f"{amount} {self.many}"
        whole = parts[0].lstrip("0")
        hundredths = parts[1].ljust(2, "0").lstrip("0") if len(parts) > 1 else ""
        said = []
        if whole:
            said.append(f"{whole} {self.one if whole == '1' else self.many}")
        if hundredths:
            name = self.one_hundredth if hundredths == "1" else self.many_hundredths
            said.append(f"{hundredths} {name}")
        return " and ".join(said) or f"zero {self.many}"


def _ordinal_mark(match: re.Match[str]) -> str:
    return f"{match[1]}{numbers.ordinal_suffix(match[1])}, "


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    said_hour = numbers.cardinal(str(hour - 12 if hour > 12 else hour))
    said_minute = numbers.cardinal(str(minute)) if minute else "o'clock"
    return f"{said_hour} {said_minute} {'a.m.' if hour < 12 else 'p.m.'}"


def _measure(match: re.Match[str]) -> str:
    amount, unit = match[1], match[2]
    one, many = _UNITS[unit]
    return f"{amount} {one if amount.lstrip('0') == '1' else many}"


def _decimal(match: re.Match[str]) -> str:
    return f"{match[1]} point {' '.join(match[2])}"


def _fraction(match: re.Match[str]) -> str:
    above, below = match[1].lstrip("0"), match[2].lstrip("0")
    said = numbers.cardinal(above, with_and=True)
    if below == "1":
        return said
    if below == "2":
        return f"{said} {'half' if above == '1' else 'halves'}"
    is_many = above not in {"", "1"}
    return f"{said} {numbers.ordinal(below)}{'s' if is_many else ''}"


def _spoken_ordinal(match: re.Match[str]) -> str:
    return numbers.ordinal(match[1])


def _number(match: re.Match[str]) -> str:
    return numbers.number(match[0])


_POUNDS = Currency("pound", "pounds", "penny", "pence")
_DOLLARS = Currency("dollar", "dollars", "cent", "cents")

_Step = tuple[re.Pattern[str], Replacement]
# "1. Wash" is read as an ordinal: upstream does it wherever a number and a full stop stand.
_ANY_MARK: _Step = re.compile(r"\b([0-9]++)\. "), _ordinal_mark
_LIST_MARK: _Step = re.compile(r"(?:^|(?<=[.!?,] ))([0-9]{1,2})\. (?=\D)"), _ordinal_mark
# "1969. 5 years" is no decimal, but upstream reads it as one.
_ANY_DECIMAL: _Step = re.compile(rf"{_AT_DIGITS}([0-9]++)\.(\s*+[0-9]++)"), _decimal
_DECIMAL: _Step = re.compile(rf"{_AT_DIGITS}([0-9]++)\.([0-9]++)"), _decimal
_BEFORE_DECIMALS: tuple[_Step, ...] = (
    (re.compile(r"[0-9][0-9,]+[0-9]"), lambda match: match[0].replace(",", "")),
    (re.compile(r"\b([01]?[0-9]|2[0-3]):([0-5][0-9])\b"), _time),
    (re.compile(rf"\b([0-9]++(?:\.[0-9]++)?+)({'|'.join(_UNITS)})\b"), _measure),
    (re.compile(r"£([0-9.,]*[0-9])"), _POUNDS),
    (re.compile(r"(?<![0-9.,])([0-9.,]++)(?<=[0-9])£"), _POUNDS),
    (re.compile(r"\$([0-9.,]*[0-9])"), _DOLLARS),
    (re.compile(r"(?<![(0-9.,])([(0-9.,]++)(?<=[0-9])\$"), _DOLLARS),
)
_AFTER_DECIMALS: tuple[_Step, ...] = (
    (re.compile(rf"{_AT_DIGITS}([0-9]++)/([0-9]++)"), _fraction),
    (re.compile(rf"{_AT_DIGITS}([0-9]++)(?:st|nd|rd|th)"), _spoken_ordinal),
    (re.compile("[0-9]++"), _number),
)


def list_mark(*, is_strict: bool) -> _Step:
    """Return the step for "1. ", which comes first."""
    return _ANY_MARK if is_strict else _LIST_MARK


def steps(*, is_strict: bool) -> Iterator[_Step]:
    """Yield the steps in upstream's order: what one writes, a later one reads."""
    yield from _BEFORE_DECIMALS
    yield _ANY_DECIMAL if is_strict else _DECIMAL
    yield from _AFTER_DECIMALS
