"""Dates, times, money, measures and other numbers that upstream misreads. Steps of ``repairs.py``."""

import re
from functools import partial

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.english import numbers

_MONTHS = (
    "January February March April May June July August September October November December"
).split()
_SLASHED_DATE = re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])")
_ISO_DATE = re.compile(r"(?<![\d-])([12]\d{3})-(\d{2})-(\d{2})(?![\d-])")
_NAME_WITH_S = re.compile(r"(?<=\biPhone )(\d{1,2})(?=[sS]\b)")
_PHONE = re.compile(
    r"(?<![\w.,+\-])(?:\+?1[ .-])?(?:\(\d{3}\)[ .-]?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w\-]|[.,]\d)"
    r"|(?<![\w.,])\+\d{1,3}(?:[ -]\(?\d{1,5}\)?){2,5}(?![\w\-]|[.,]\d)"
    r"|(?<![\w.,:/\-])0\d{2,4}(?:[ -]\d{3,4}){1,3}(?![\w\-/:]|[.,]\d)"
)
_CODE = re.compile(r"(?<![\w.,:/\-+])0\d++(?![\w\-/:]|[.,]\d)")
_DIGITS = re.compile(r"\d++")
_POINT_FIRST = re.compile(r"(?<![\w.,)])\.(?=\d)")
_PAIR = re.compile(r"(?<![\w.,/])(\d{1,2})/(\d{1,2})(?![\w/]|[.,]\d)")
_PAIRS = frozenset({(24, 7), (9, 11)})
_RANGE = re.compile(r"(?<![\w.,/$£€¥+=-])(\d{1,4})-(\d{1,4})(?![\w/=-]|[.,]\d| ?=)")
_MONEY_RANGE = re.compile(r"([$£€])(\d[\d,.]{0,20})\s?[-–]\s?\1?(?=\d)")
_PERCENT_RANGE = re.compile(r"(?<=\d%)(?:[-–]|\s[-–]\s)(?=\d)")  # "5% -3%" is none
_GROUPED_SUM = re.compile(r"([$£])([12],\d{3})(?:\.(\d\d))?+(?![\d]|[.,]\d)")
_GROUPED_NUMBER = re.compile(r"(?<![\w.,$£])([12],\d{3})(?:\.(\d++))?+(?!\d|,\d|[.]\d)")
_DECADE = re.compile(r"(?<![\d.,])(?:'(?=\d0s)|(1\d|20)(?=\d0s))(\d)0'?s\b")
_TENS = "- tens twenties thirties forties fifties sixties seventies eighties nineties".split()
_TIME = re.compile(
    r"\b([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?+(?:\s?+([AaPp])(?:\.[Mm]\.|[Mm]\b))?+(?![\d:])"
)
_HOUR = re.compile(r"\b(1[0-2]|[1-9])\s?([AaPp])(?:\.[Mm]\.|[Mm]\b)")
_HALF_OF_DAY = re.compile(r"\b([ap])\.m\.")
# A full stop that ends the sentence, too.
_LAST_STOP = re.compile(r"\s{0,20}(?:$|[A-Z\"'(])")
_CURRENCIES = {
    "$": ("dollar", "dollars"),
    "£": ("pound", "pounds"),
    "€": ("euro", "euros"),
    "¥": ("yen", "yen"),
    "₹": ("rupee", "rupees"),
    "₩": ("won", "won"),
    "₽": ("ruble", "rubles"),
}
_SIGNS = "".join(_CURRENCIES)
_SCALES = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion"}
_LARGE = re.compile(
    rf"([{re.escape(_SIGNS)}])(\d(?:[\d,.]*\d)?)\s?(hundred|thousand|million|billion|trillion|bn|[kKmMbB])\b"
)
_FOREIGN = re.compile(r"([€¥₹₩₽])\s?(\d(?:[\d,.]*\d)?)")
_FOREIGN_BEHIND = re.compile(r"(?<![\d.,])(\d(?:[\d,.]*\d)?)\s?([€¥₹₩₽])")
_UNITS = {
    "km/h": "kilometer per hour|kilometers per hour",
    "kph": "kilometer per hour|kilometers per hour",
    "mph": "mile per hour|miles per hour",
    "m/s": "meter per second|meters per second",
    "kg": "kilogram|kilograms",
    "mg": "milligram|milligrams",
    "km": "kilometer|kilometers",
    "cm": "centimeter|centimeters",
    "mm": "millimeter|millimeters",
    "ml": "milliliter|milliliters",
    "mL": "milliliter|milliliters",
    "lb": "pound|pounds",
    "lbs": "pound|pounds",
    "oz": "ounce|ounces",
    "ft": "foot|feet",
    "ms": "millisecond|milliseconds",
    "min": "minute|minutes",
    "Hz": "hertz|hertz",
    "kHz": "kilohertz|kilohertz",
    "MHz": "megahertz|megahertz",
    "GHz": "gigahertz|gigahertz",
    "kW": "kilowatt|kilowatts",
    "MW": "megawatt|megawatts",
    "kWh": "kilowatt hour|kilowatt hours",
    "KB": "kilobyte|kilobytes",
    "kB": "kilobyte|kilobytes",
    "MB": "megabyte|megabytes",
    "GB": "gigabyte|gigabytes",
    "TB": "terabyte|terabytes",
    "°C": "degree celsius|degrees celsius",
    "°F": "degree fahrenheit|degrees fahrenheit",
}
_MEASURE = re.compile(
    rf"(?<![\w.,])(\d[\d,]*+(?:\.\d++)?+)\s?({'|'.join(map(re.escape, _UNITS))})(?![\w/])"
)
_VERSION = re.compile(r"(?<![\d.])\d++(?:\.\d++){2,}+(?![\d.]*\d)")
_COMMAS = re.compile(r"(?<![\d,])\d++(?:,\d++)++")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})*,\d{3}")
_SLASHES = re.compile(r"(?<![\d/])\d++(?:/\d++){2,}+")
# Numbers of many parts: what parts them, and what is said there.
_PARTED = ((_VERSION, ".", " point "), (_SLASHES, "/", " "), (_COMMAS, ",", ", "))
_MIXED = re.compile(r"(?<=\d)\s++(?=[1-7]/[2-8]\b)")
# The L of an A6L is no liter.
_WITHIN_NAME = re.compile(r"(?<=[A-Za-z])\d++(?=[A-Za-z])")
_LETTER_DIGIT = re.compile(r"(?<=[A-Za-z])(?=\d)")
_DIGIT_LETTER = re.compile(r"(?<=\d)(?!(?:st|nd|rd|th|m|km|ft|L|tbsp|tsp|h|min|s)\b)(?=[A-Za-z])")


def read_dates(text: AlignedText) -> AlignedText:
    """Read 12/25/2023, 2023-12-25 and the 1990s."""
    text = text.sub(_SLASHED_DATE, _slashed_date).sub(_ISO_DATE, _iso_date)
    return text.sub(_DECADE, _decade)


def read_codes(text: AlignedText) -> AlignedText:
    """Read telephone numbers, and what begins with zero, digit by digit; iPhone 5s as a name."""
    text = text.sub(_NAME_WITH_S, r"\1 ").sub(_PHONE, _phone)
    return text.sub(_CODE, lambda match: _one_by_one(match[0])).sub(_POINT_FIRST, "0.")


def read_pairs(text: AlignedText) -> AlignedText:
    """Read 24/7, 50/50 and 9/11, and the hyphen of 10-15 and 3-1."""
    return (
        text.sub(_PAIR, _pair)
        .sub(_MONEY_RANGE, r"\2 to \1")
        .sub(_PERCENT_RANGE, " to ")
        .sub(_RANGE, _range)
    )


def read_times(text: AlignedText) -> AlignedText:
    """Read 3:30 PM, 15:30, 7am and p.m."""
    text = text.sub(_TIME, _time).sub(_HOUR, _hour)
    return text.sub(_HALF_OF_DAY, _half_of_day)


def read_money(text: AlignedText) -> AlignedText:
    """Read $5 million, €20 and 300 ¥."""
    text = text.sub(_LARGE, _large_sum).sub(_GROUPED_SUM, _grouped_sum)
    text = text.sub(_FOREIGN, lambda match: _sum(match[2], match[1]))
    return text.sub(_FOREIGN_BEHIND, lambda match: _sum(match[1], match[2]))


def read_measures(text: AlignedText) -> AlignedText:
    """Read units behind numbers, with or without a blank between."""
    return text.sub(_MEASURE, _measure)


def part_numbers(text: AlignedText) -> AlignedText:
    """Part 1.2.3 and 1,2,3, and digits from letters, where upstream glues them."""
    text = text.sub(_GROUPED_NUMBER, _grouped_number)
    for pattern, sign, said in _PARTED:
        text = text.sub(pattern, partial(_part, text, sign, said))
    return (
        text.sub(_MIXED, " and ")
        .sub(_WITHIN_NAME, r" \g<0> ")
        .sub(_LETTER_DIGIT, " ")
        .sub(_DIGIT_LETTER, " ")
    )


def _one_by_one(digits: str) -> str:
    return " ".join(numbers.cardinal(digit) for digit in digits)


def _phone(match: re.Match[str]) -> str:
    said = ", ".join(map(_one_by_one, _DIGITS.findall(match[0])))
    return f"plus {said}" if match[0].startswith("+") else said


def _pair(match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[2])
    is_share = first > 9 and second > 9 and first + second == 100
    is_pair = (first, second) in _PAIRS or first == second or is_share
    return f"{first} {second}" if is_pair else match[0]


def _range(match: re.Match[str]) -> str:
    sizes = len(match[1]), len(match[2])
    is_other = sizes in {(3, 4), (4, 2)} or match[2].startswith("0")  # 555-1234, 2024-25
    return match[0] if is_other else f"{match[1]} to {match[2]}"


def _grouped_sum(match: re.Match[str]) -> str:
    unit, hundredth = ("dollars", "cents") if match[1] == "$" else ("pounds", "pence")
    said = f"{numbers.cardinal(match[2].replace(',', ''))} {unit}"
    if not match[3] or match[3] == "00":
        return said
    return f"{said} and {numbers.cardinal(match[3])} {hundredth}"


def _grouped_number(match: re.Match[str]) -> str:
    said = numbers.cardinal(match[1].replace(",", ""))
    return f"{said} point {_one_by_one(match[2])}" if match[2] else said


def _part(text: AlignedText, sign: str, said: str, match: re.Match[str]) -> AlignedText:
    number = text[match.start() : match.end()]
    return number if _GROUPED.fullmatch(match[0]) else number.replace(sign, said)


def _slashed_date(match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[2])
    month, day = (second, first) if first > 12 else (first, second)
    return _date(month, day, match[3]) or match[0]


def _iso_date(match: re.Match[str]) -> str:
    return _date(int(match[2]), int(match[3]), match[1]) or match[0]


def _date(month: int, day: int, year: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return ""
    return f"{_MONTHS[month - 1]} {numbers.ordinal(str(day))}, {numbers.number(year)}"


def _decade(match: re.Match[str]) -> str:
    century, tens = match[1], int(match[2])
    if not century:
        return _TENS[tens] if tens > 1 else match[0]
    if tens == 0:
        return "two thousands" if century == "20" else f"{numbers.cardinal(century)} hundreds"
    return f"{numbers.cardinal(century)} {_TENS[tens]}"


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    said = [numbers.cardinal(str(hour % 12 or 12))]
    if minute or match[3]:
        said.append(("oh " if minute < 10 else "") + numbers.cardinal(str(minute)))
    elif not match[4]:
        said.append("o'clock")
    if match[3]:
        said.append(("oh " if match[3] < "10" else "") + numbers.cardinal(match[3]))
    # Nobody writes 3:30 and says "a.m.", but 0:30 and 15:30 say which half of the day they mean.
    half = match[4] or ("a" if not hour else "p" if hour > 12 else "")
    if half:
        said.append(f"{half.upper()} M{_last_stop(match)}")
    return " ".join(said)


def _hour(match: re.Match[str]) -> str:
    return f"{match[1]} {match[2].upper()} M{_last_stop(match)}"


def _half_of_day(match: re.Match[str]) -> str:
    return f"{match[1].upper()} M{_last_stop(match)}"


def _last_stop(match: re.Match[str]) -> str:
    """Return the full stop of "p.m." if a sentence ends with it."""
    ends = match[0].endswith(".") and _LAST_STOP.match(match.string, match.end())
    return "." if ends else ""


def _large_sum(match: re.Match[str]) -> str:
    scale = _SCALES.get(match[3].lower(), match[3])
    return f"{match[2]} {scale} {_CURRENCIES[match[1]][1]}"


def _sum(amount: str, sign: str) -> str:
    one, many = _CURRENCIES[sign]
    return f"{amount} {one if amount == '1' else many}"


def _measure(match: re.Match[str]) -> str:
    one, many = _UNITS[match[2]].split("|")
    return f"{match[1]} {one if match[1] == '1' else many}"
