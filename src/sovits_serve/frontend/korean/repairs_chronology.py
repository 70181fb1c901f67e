"""Dates, times and telephone numbers, written as they are said. Steps of ``repairs.py``."""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.repairs_numbers import say_digits, say_number

_DATE = re.compile(
    r"(?<![\d\-/])(?<!\d\.)([12]\d{3})(?P<by>\s?[.\-/]\s?)(0?[1-9]|1[0-2])(?P=by)(0?[1-9]|[12]\d|3[01])"
    r"(?![\d\-/]|\.\d)(?P<stop>\.?)(?:\s?\((?P<day>[월화수목금토일])\))?"
)
_MONTH = re.compile(r"(?<![\d\-/])(?<!\d\.)((?:19|20)\d\d)\.(0[1-9]|1[0-2])(?![\d.\-/])")
_WEEKDAY = re.compile(r"(?<=[0-9]일)\s?\(([월화수목금토일])\)")
_MEMORIAL = re.compile(
    r"(?<![\d·])(?<!\d\.)(1[0-2]|[1-9])(?:·|\.(?=\d{1,2}\s?(?:전쟁|사변|혁명|운동|민주|항쟁|광복|사태|의거|정변|총선|대선|절)))"
    r"(3[01]|[12]\d|[1-9])(?![\d.·])"
)
_AS_UPSTREAM = frozenset({"6·25", "3·1절"})
_WHOLE_DAYS = frozenset({"10", "12"})
_CLOCK = re.compile(
    r"(?<![\d:])(?<!\d\.)(?:([AaPp])\.?[Mm]\.?\s?)?([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])"
    r"(?:\s?([AaPp])\.?[Mm]\b)?"
)
_HALVES = {"a": "오전 ", "p": "오후 "}
_RATIO = re.compile(
    r"(?<![\d:])(?<!\d[.,])(\d{1,6})(?:\s?:\s?|(?<=\d)\s?대\s?)(\d{1,6})(?![\d:]|[.,]\d|\s?[만천억원])"
)
_BRANDS = "1[568](?:00|11|22|33|44|55|60|61|66|68|70|77|88|99)"
_PHONE = re.compile(
    r"(?<![\d\-+])(?<!\d\.)(?P<country>\+82[\-. ]?)?(?:"
    r"\(?(?P<a>0?\d{1,2})\)?[\-. ]{1,2}(?P<b>\d{3,4})[\-. ](?P<c>\d{4})"
    rf"|(?P<d>01[016789])(?P<e>\d{{3,4}})(?P<f>\d{{4}})|(?P<g>{_BRANDS})-(?P<h>\d{{4}})"
    r")(?![\d\-]|년)"
)


def read_phone_numbers(text: AlignedText) -> AlignedText:
    """Read telephone numbers digit by digit, with a comma between their parts."""
    return text.sub(_PHONE, _phone)


def read_dates(text: AlignedText) -> AlignedText:
    """Read 2024-03-05, 2024. 3. 5.(화) and 4·19."""
    text = text.sub(_DATE, _date).sub(_MONTH, lambda match: f"{match[1]}년 {int(match[2])}월")
    return text.sub(_WEEKDAY, r" \1요일").sub(_MEMORIAL, _memorial)


def read_times(text: AlignedText) -> AlignedText:
    """Read 3:25 as a time, and 3:1 and 3대 1 as a score."""
    return text.sub(_CLOCK, _clock).sub(_RATIO, _ratio)


def _phone(match: re.Match[str]) -> str:
    if match["a"] and match["a"][0] != "0" and not match["country"]:
        return match[0]
    parts = [match[name] for name in "abcdefgh" if match[name]]
    if match["country"]:
        parts.insert(0, "82")
    return ", ".join(say_digits(part, "공") for part in parts)


def _date(match: re.Match[str]) -> str:
    said = f"{match[1]}년 {int(match[3])}월 {int(match[4])}일"
    if match["day"]:
        return f"{said} {match['day']}요일"
    is_last = match.end() == len(match.string)
    return said + (match["stop"] if is_last else "")


def _memorial(match: re.Match[str]) -> str:
    month, day = match[1], match[2]
    name = f"{month}·{day}"
    if name + match.string[match.end() : match.end() + 1] in _AS_UPSTREAM or name in _AS_UPSTREAM:
        return name
    is_whole = len(day) == 1 or day in _WHOLE_DAYS
    return say_number(month) + (say_number(day) if is_whole else say_digits(day))


def _clock(match: re.Match[str]) -> str:
    half = (match[1] or match[5] or "").lower()
    said = f"{_HALVES.get(half, '')}{int(match[2])}시"
    if match[4] or int(match[3]):
        said += f" {int(match[3])}분"
    return said + (f" {int(match[4])}초" if match[4] else "")


def _ratio(match: re.Match[str]) -> str:
    return f"{say_number(match[1])} 대 {say_number(match[2])}"
