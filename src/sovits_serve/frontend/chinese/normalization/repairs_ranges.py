"""Repairs of ranges, whose mark upstream reads as 减 or 负, or drops."""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import read_one_by_one
from sovits_serve.frontend.chinese.normalization.repairs_patterns import (
    AMOUNT,
    NEGATIVE,
    NUMBER_END,
    NUMBER_START,
    TO_MARK,
    group,
    read_amount,
    rewrite_matches,
)
from sovits_serve.frontend.chinese.normalization.rewriting import reworded

_YEARS = "学?年度?|赛季|财年"
_DATES = "月份?|日|号|室|点|时(?!速)"
_DEGREES = "℃|°C(?![A-Za-z])|摄氏度|度"
_PERCENT = "%|％"
_LENGTHS = "公里|千米|厘米|毫米|分米|米|公分|英里|英尺|英寸|海里|尺|寸|平方|平米|立方|亩|公顷"
_WEIGHTS = "公斤|千克|毫克|克|吨|斤|两|毫升|升"
_MONEY = "[美日欧港韩]元|元|块|角|英镑|港币"
_TIMES = "分钟|小时|秒钟?|天|周岁?|岁|星期|分|刻钟|个"
_COUNTED = "人|名|位|次|倍|页|层|楼|级|只|件|条|张|辆|台|本|家|步|遍|句|种|章|节|课|集|回|届|班|路|杯|瓶|碗|片|粒|颗|支|套|户|字|成|折|分贝"
_POWERS = "[万亿千百]{1,2}"
_SPAN = "之间|左右|不等"
_UNIT = "|".join(
    (
        _YEARS,
        _DATES,
        _DEGREES,
        _PERCENT,
        _LENGTHS,
        _WEIGHTS,
        _MONEY,
        _TIMES,
        _COUNTED,
        _POWERS,
        _SPAN,
    )
)
_CALENDAR = re.compile(f"{_YEARS}|{_DATES}")
_IS_YEARS = re.compile(f"(?:{_YEARS})(?!级)")
_ROOMS = ("号", "室")
# One unit behind both numbers, and a unit behind each.
_ONE_UNIT = re.compile(
    f"{NUMBER_START}(?<![+×÷=/:~-])(?P<sign>{NEGATIVE})?(?P<first>{AMOUNT})(?P<to>{TO_MARK}|[到至])"
    f"(?P<second_sign>-)?(?P<second>{AMOUNT})(?P<unit> ?(?:{_UNIT}))|[0-9]++"
)
_TWO_UNITS = re.compile(
    f"(?<=[0-9])(?P<unit>{_UNIT})(?P<to>{TO_MARK})(?=-?[0-9]++(?:[.,][0-9]++)*+(?:{_UNIT}))"
)
# Marks between bare numbers that upstream drops, and years of a life in brackets.
_BARE = re.compile(
    f"{NUMBER_START}(?<![+×÷=/:~-])(?P<first>{AMOUNT})(?P<to> ?(?:——|[～〜\u2012-\u2015]) ?)"
    f"(?P<second>{AMOUNT})(?![+×÷=/:~～〜-]){NUMBER_END}|[0-9]++"
)
_FROM = re.compile(
    f"(?<=[从由])(?P<first>{AMOUNT})(?P<to>{TO_MARK})(?P<second>{AMOUNT}){NUMBER_END}"
)
_LIFETIME = re.compile(
    f"(?<=[(（])(?P<first>[12][0-9]{{3}})(?P<to>{TO_MARK})(?P<second>[12][0-9]{{3}})(?=[)）])"
)


def read_ranges_of_quantities(text: AlignedText) -> AlignedText:
    """Name the mark of a range between two numbers with a unit each: 5月1日-7日, 3%-5%."""
    return rewrite_matches(text, _TWO_UNITS, _read_mark)


def _read_mark(text: AlignedText, match: re.Match[str]) -> AlignedText:
    return group(text, match, "unit") + reworded(group(text, match, "to"), "至")


def read_ranges(text: AlignedText) -> AlignedText:
    """Read ranges with one unit (3-5天, 2020～2021年, 20-25℃), and bare ones with a dash."""
    text = rewrite_matches(text, _ONE_UNIT, _read_range)
    text = rewrite_matches(text, _FROM, _read_bare_range)
    text = rewrite_matches(text, _BARE, _read_bare_range)
    return rewrite_matches(text, _LIFETIME, _read_codes)


def _read_range(text: AlignedText, match: re.Match[str]) -> AlignedText | None:
    unit = match["unit"]
    if unit is None:
        return None
    if match["sign"] is None and _are_codes(match["first"], unit.strip()):
        return _read_codes(text, match) + group(text, match, "unit")
    spoken = group(text, match, "unit").strip()
    negative, before = "负", ""
    if unit.strip() in _PERCENT:
        before, spoken = "百分之", spoken[:0]
    elif re.match(_DEGREES, unit.strip()):
        negative, spoken = (
            "零下",
            spoken if spoken.text in ("度", "摄氏度") else reworded(spoken, "度"),
        )
    is_calendar = _CALENDAR.match(unit.strip()) and not _IS_YEARS.match(unit.strip())
    parts = [
        _read_signed(text, match, "sign", "first", negative, before),
        reworded(group(text, match, "to"), "至" if is_calendar else "到"),
        _read_signed(text, match, "second_sign", "second", negative, before),
        spoken,
    ]
    return AlignedText.concat(parts)


def _are_codes(number: str, unit: str) -> bool:
    """Return whether digits are read one by one: years, with century or not, and rooms."""
    if _IS_YEARS.match(unit):
        return len(number) == 4 or (len(number) == 2 and number > "70")
    return len(number) > 2 and unit in _ROOMS


def _read_signed(
    text: AlignedText, match: re.Match[str], sign: str, value: str, negative: str, before: str
) -> AlignedText:
    number = group(text, match, value)
    mark = group(text, match, sign)
    return AlignedText.concat(
        (
            reworded(mark, negative) if mark.text else mark,
            reworded(number, before),
            read_amount(number),
        )
    )


def _read_bare_range(text: AlignedText, match: re.Match[str]) -> AlignedText | None:
    if match["to"] is None:
        return None
    first, second = match["first"], match["second"]
    if _is_year(first) and _is_year(second):
        return _read_codes(text, match)
    to = reworded(group(text, match, "to"), "到")
    return read_amount(group(text, match, "first")) + to + read_amount(group(text, match, "second"))


def _is_year(number: str) -> bool:
    return len(number) == 4 and number.isdecimal() and "1000" <= number < "2100"


def _read_codes(text: AlignedText, match: re.Match[str]) -> AlignedText:
    to = reworded(group(text, match, "to"), "至")
    first, second = group(text, match, "first"), group(text, match, "second")
    return read_one_by_one(first) + to + read_one_by_one(second)
