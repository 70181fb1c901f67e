"""From one to another: 3~5일, 20~30대, 월~금. A step of ``repairs.py``.

Between numbers a wave is always such a range; a hyphen only before a counter or a unit and from
less to more, for other numbers with hyphens are scores, addresses and serial numbers.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.annotation import words
from sovits_serve.frontend.korean.repairs_numbers import NATIVE_COUNTERS, say_number
from sovits_serve.frontend.korean.repairs_units import AMOUNT, UNIT

_NATIVE = "|".join(sorted(NATIVE_COUNTERS, key=len, reverse=True))
_SINO = (
    "개월|개국|년|월|일|주|분|초|세|원|도|점|위|회|차|층|인|명|쪽|페이지|단계|등급|퍼센트|킬로|미터|그램|학년|만|"
    "억|천|여"
)
_FIRST = rf"(?<![\d\-~])(?<!\d[,.])({AMOUNT})"
_DECADES = re.compile(r"(?<!\d)(?<!\d[,.])([1-9])0대?\s?~\s?([1-9])0대")
_OF_NATIVE = re.compile(
    rf"{_FIRST}\s?([~-])\s?({AMOUNT})(\s?(?:{_NATIVE}))(?![월국년소교점]|[0-9])"
)
_OF_NUMBERS = re.compile(rf"{_FIRST}\s?(~)\s?({AMOUNT})(?![\d.,~\-]*\d)")
_OF_COUNTED = re.compile(rf"{_FIRST}(-)({AMOUNT})(?=\s?(?:{_SINO}|{UNIT}))")
_OF_YEARS = re.compile(r"(?<![\d\-~])(?<!\d\.)(1\d{3}|20\d\d)(-)(1\d{3}|20\d\d)(?![\d\-~]|\.\d)")
_BEHIND_COUNTER = re.compile(
    r"(?:(?<=\d[가-힣])|(?<=\d[가-힣]{2})|(?<=\d[가-힣]{3})|(?<=요일))\s?~\s?"
    r"(?=\d|오전|오후|[월화수목금토일]요일)"
)
_OF_WEEKDAYS = re.compile(r"(?<![가-힣])([월화수목금토일])\s?~\s?([월화수목금토일])(?![가-힣])")
_OF_WORDS = re.compile(r"(?<=[가-힣])\s?~\s?(?=[가-힣])")
_PLACE = "지명"
_LEADING = re.compile(r"(?<![\w)])~(?=\d)")


def read_ranges(text: AlignedText) -> AlignedText:
    """Read ranges as from one to the other."""
    if "~" not in text.text and "-" not in text.text:
        return text
    text = text.sub(_DECADES, _decades).sub(_OF_NATIVE, _native)
    for pattern in (_OF_NUMBERS, _OF_COUNTED, _OF_YEARS):
        text = text.sub(pattern, _numbers)
    text = text.sub(_BEHIND_COUNTER, "에서 ").sub(_OF_WEEKDAYS, r"\1에서 \2")
    return _places(text).sub(_LEADING, lambda _: "")


def _decades(match: re.Match[str]) -> str:
    first, last = match[1], match[2]
    if int(last) == int(first) + 1:
        return f"{say_number(first)}{say_number(last)}십대"
    return f"{first}0대에서 {last}0대"


def _native(match: re.Match[str]) -> str:
    first, last, counter = match[1], match[3], match[4]
    return f"{first}{counter}에서 {last}{counter}" if _is_range(match) else match[0]


def _numbers(match: re.Match[str]) -> str:
    return f"{match[1]}에서 {match[3]}" if _is_range(match) else match[0]


def _is_range(match: re.Match[str]) -> bool:
    """Return whether numbers go up, unless a wave says it all."""
    if match[2] == "~":
        return True
    return _value(match[1]) < _value(match[3]) and "0" not in (match[1][0], match[3][0])


def _value(number: str) -> float:
    return float(number.replace(",", "")[:20])


def _places(text: AlignedText) -> AlignedText:
    """Read a wave between two places; between other words it only draws out the first."""
    if not _OF_WORDS.search(text.text):
        return text
    places = [word for word in words(text.text) if word.sense == _PLACE]
    starts = {word.start for word in places}
    ends = {word.end for word in places}

    def read(match: re.Match[str]) -> str:
        return "에서 " if match.start() in ends and match.end() in starts else match[0]

    return text.sub(_OF_WORDS, read)
