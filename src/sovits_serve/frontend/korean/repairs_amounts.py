"""Money, fractions and negative numbers, written as they are said. Steps of ``repairs.py``.

Numbers stay in digits; ``repairs_numbers.py`` reads them.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.repairs_numbers import say_number
from sovits_serve.frontend.korean.repairs_units import AMOUNT

_CURRENCIES = {"$": "달러", "€": "유로", "£": "파운드", "¥": "엔", "₩": "원"}
_CENTS = {"$": "센트", "€": "센트", "£": "펜스"}
_MONEY = re.compile(
    rf"(?:US(?=\$))?([$€£¥₩])\s?({AMOUNT})(?![\d,.]*\d)(\s?[십백천만억조]++)?(?![A-Za-z])"
    r"(?:\s?(?:달러|유로|파운드|엔|원))?"
)
_MONEY_BEHIND = re.compile(r"(?<=[\d만억])\s?([$€£¥₩])(?!\d)")
_CENTS_AMOUNT = re.compile(r"\A([\d,]++)\.(\d\d)\Z")
_QUARTER = re.compile(r"(?<![\d/])(?<!\d\.)([1-4])/4\s?(?=분기)")
_FRACTION = re.compile(r"(?<![\d/])(?<!\d\.)(\d{1,3})/(\d{1,3})(?![\d/])")
_SHORT_DATE = re.compile(
    r"(?<![\d/])(?<!\d\.)(1[0-2]|0?[1-9])/(3[01]|[12]\d|0?[1-9])\s?\(([월화수목금토일])\)"
)
_COLD = re.compile(r"(?<![\w)\]\-])(?<!\w\.)-(?=\d{1,3}(?:\.\d{1,3})?\s?(?:도|°C))")
_NEGATIVE = re.compile(r"(?<![\w)\]\-])(?<!\w\.)-(?=\d)")


def read_money(text: AlignedText) -> AlignedText:
    """Read $5, ₩10,000 and 100€."""
    return text.sub(_MONEY, _money).sub(_MONEY_BEHIND, lambda match: _CURRENCIES[match[1]])


def read_fractions(text: AlignedText) -> AlignedText:
    """Read 1/2 as one of two parts, 1/4분기 as a quarter and 3/5(월) as a date."""
    text = text.sub(_SHORT_DATE, lambda m: f"{int(m[1])}월 {int(m[2])}일 {m[3]}요일")
    text = text.sub(_QUARTER, lambda match: f"{say_number(match[1])}사")
    return text.sub(_FRACTION, _fraction)


def read_negatives(text: AlignedText) -> AlignedText:
    """Read -5도 as so many degrees below zero, and other minus signs."""
    return text.sub(_COLD, "영하 ").sub(_NEGATIVE, "마이너스 ")


def _money(match: re.Match[str]) -> str:
    sign, amount, scale = match[1], match[2], (match[3] or "").strip()
    cents = _CENTS_AMOUNT.fullmatch(amount)
    if cents and sign in _CENTS and not scale:
        rest = f" {int(cents[2])}{_CENTS[sign]}" if int(cents[2]) else ""
        return f"{cents[1]}{_CURRENCIES[sign]}{rest}"
    return f"{amount}{scale}{_CURRENCIES[sign]}"


def _fraction(match: re.Match[str]) -> str:
    part, whole = match[1], match[2]
    if "0" in (part[0], whole[0]) or int(part) >= int(whole):
        return match[0]
    return f"{say_number(whole)}분의 {say_number(part)}"
