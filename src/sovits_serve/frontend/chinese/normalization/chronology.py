"""Dates and times of day.

Source: GPT-SoVITS 48b1a01, text/zh_normalization/chronology.py. Differs: parts keep their origins.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import (
    cardinal,
    read_cardinal,
    read_one_by_one,
)
from sovits_serve.frontend.chinese.normalization.rewriting import reworded, rewrite

_DATE = re.compile(
    "(?P<year>[0-9]{4}|[0-9]{2})年"
    "(?:(?P<month>0?[1-9]|1[0-2])月)?"
    "(?:(?P<day>0?[1-9]|[12][0-9]|3[01])[日号])?"
)
_NUMERIC_DATE = re.compile(
    "(?P<year>[0-9]{4})(?P<after_year>[-/.])"
    "(?P<month>0[1-9]|1[0-2])(?P<after_month>(?P=after_year))"
    "(?P<day>0[1-9]|[12][0-9]|3[01])"
)
_CLOCK = "(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?"
_TIME = re.compile(f"(?P<time>{_CLOCK})")
_TIME_RANGE = re.compile(f"(?P<range>{_CLOCK}[~-]{_CLOCK})")
_COLON = re.compile(":")
_TO = re.compile("[~-]")


def read_dates(text: AlignedText) -> AlignedText:
    """Read 2024年5月1日, 86年 and 2024-05-01 (also with slashes or points)."""
    text = rewrite(text, _DATE, year=read_one_by_one, month=read_cardinal, day=read_cardinal)
    return rewrite(
        text,
        _NUMERIC_DATE,
        year=read_one_by_one,
        after_year="年",
        month=read_cardinal,
        after_month="月",
        day=lambda day: reworded(day, cardinal(day.text) + "日"),
    )


def read_times(text: AlignedText) -> AlignedText:
    """Read 8:30-12:30 and 12:05:09."""
    return rewrite(rewrite(text, _TIME_RANGE, range=_read_range), _TIME, time=_read_time)


def _read_range(times: AlignedText) -> AlignedText:
    """Read two times; both or none are at half past, as the first one says (a slip of upstream)."""
    first, second = times.pieces(_TO)
    is_half = _is_half(first)
    to = AlignedText.from_range("至", first.ends[-1], second.starts[0])
    return AlignedText.concat((_read_clock(first, is_half), to, _read_clock(second, is_half)))


def _read_time(time: AlignedText) -> AlignedText:
    return _read_clock(time, _is_half(time))


def _is_half(time: AlignedText) -> bool:
    return time.text.split(":")[1] == "30"


def _read_clock(time: AlignedText, is_half: bool) -> AlignedText:
    hour, minute, *seconds = time.pieces(_COLON)
    parts = [reworded(hour, cardinal(hour.text) + "点")]
    if minute.text != "00":
        parts.append(reworded(minute, "半" if is_half else _two_digits(minute.text) + "分"))
    parts += (
        reworded(part, _two_digits(part.text) + "秒") for part in seconds if part.text != "00"
    )
    return AlignedText.concat(parts)


def _two_digits(digits: str) -> str:
    """Return minutes or seconds as they are said: "05" is 零五."""
    return ("零" if digits.startswith("0") else "") + cardinal(digits)
