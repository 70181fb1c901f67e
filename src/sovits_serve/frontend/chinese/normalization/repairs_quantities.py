"""Repairs of money, degrees and units in Latin letters.

Names of units are upstream's where it has any.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import read_count, read_number
from sovits_serve.frontend.chinese.normalization.repairs_patterns import (
    AMOUNT,
    NEGATIVE,
    NUMBER_START,
    TO_MARK,
    group,
    read_amount,
    rewrite_matches,
)
from sovits_serve.frontend.chinese.normalization.rewriting import NUMBER, reworded, rewrite

_CODES = {
    "RMB": "元",
    "CNY": "元",
    "USD": "美元",
    "HKD": "港币",
    "TWD": "新台币",
    "NTD": "新台币",
    "EUR": "欧元",
    "GBP": "英镑",
    "JPY": "日元",
    "KRW": "韩元",
    "AUD": "澳元",
    "CAD": "加元",
    "SGD": "新加坡元",
}
_DOLLARS = {
    "US$": "美元",
    "HK$": "港币",
    "NT$": "新台币",
    "AU$": "澳元",
    "A$": "澳元",
    "CA$": "加元",
    "C$": "加元",
    "S$": "新加坡元",
}
_SIGNS = {"$": "美元", "€": "欧元", "£": "英镑", "₩": "韩元", "₽": "卢布", "₹": "卢比"}
_MONEY_NAMES = {"￥": "元", "¥": "元", **_SIGNS, **_DOLLARS, **_CODES}
CURRENCY_CODES = "|".join((*_CODES, "US(?=\\$)", "HK(?=\\$)", "NT(?=\\$)"))
_ANY_DOLLARS = "|".join(map(re.escape, _DOLLARS))
_ANY_SIGN = "[" + "".join(_SIGNS) + "]"
_ANY_CODE = "|".join(_CODES)
_ALREADY_NAMED = (
    "元|块|圆|円|[美日欧港韩澳加]元|日圆|美[金刀]|港币|韩币|新?台币|人民币|英镑|卢布|刀"
)
_BEFORE = rf"(?:(?<![A-Za-z])(?:{_ANY_DOLLARS}|(?:{_ANY_CODE}) ?\$?)|{_ANY_SIGN}|[￥¥])"
_MONEY = re.compile(
    f"(?P<sign>{NEGATIVE})?(?P<symbol>{_BEFORE}) ?(?P<value>{AMOUNT})"
    f"(?:(?P<to>{TO_MARK}|[到至])(?:{_BEFORE} ?)?(?P<second>{AMOUNT}))?+"
    f" ?(?P<power>[十百千万亿]{{0,3}}+)(?P<name>{_ALREADY_NAMED})?(?![0-9A-Za-z]|[.,][0-9]|[千]?[克米])"
)
_MONEY_BEHIND = re.compile(
    f"{NUMBER_START}(?P<value>{AMOUNT})(?P<power>[十百千万亿]{{0,3}}+)"
    f"(?P<symbol> ?(?:{_ANY_CODE}|{_ANY_SIGN}))(?![0-9A-Za-z])"
)
_DOLLAR = re.compile(r"(?P<dollar>[$＄])")

_LENGTHS = dict(
    pair.split(":")
    for pair in "nm:纳米 μm:微米 um:微米 mm:毫米 cm:厘米 dm:分米 m:米 km:千米".split()
)
_POWERS = {"2": "平方", "²": "平方", "3": "立方", "³": "立方"}
_UNITS = {
    **_LENGTHS,
    **{
        name + power: word + spoken
        for name, spoken in _LENGTHS.items()
        for power, word in _POWERS.items()
    },
    **dict(
        pair.split(":")
        for pair in (
            "KM:千米 Km:千米 CM:厘米 MM:毫米 ha:公顷 ml:毫升 mL:毫升 ML:毫升 dL:分升 L:升 "
            "μg:微克 mg:毫克 g:克 kg:千克 Kg:千克 KG:千克 t:吨 "
            "ns:纳秒 μs:微秒 ms:毫秒 s:秒 min:分钟 h:小时 "
            "Hz:赫兹 kHz:千赫兹 KHz:千赫兹 MHz:兆赫兹 GHz:吉赫兹 dB:分贝 db:分贝 "
            "kW:千瓦 MW:兆瓦 kWh:千瓦时 V:伏 kV:千伏 mV:毫伏 mA:毫安 mAh:毫安时 Ω:欧姆 "
            "Pa:帕 kPa:千帕 MPa:兆帕 kJ:千焦 cal:卡 kcal:千卡 w:万 k:千"
        ).split()
    ),
}
LATIN_UNITS = "|".join(sorted(_UNITS, key=len, reverse=True))
_PER = {name: _UNITS[name] for name in ("h", "s", "min", "kg", "g", "L", "mL", "ml", "m", "km")}
_PER |= {name: spoken for name, spoken in _UNITS.items() if name[-1] in "2²3³"}
_PER |= {"s²": "二次方秒", "s2": "二次方秒", "d": "天"}
_ANY_PER = "|".join(sorted(_PER, key=len, reverse=True))
# 4k电视 is no amount.
_UNIT_END = (
    "(?![A-Za-z0-9²³])(?!(?<=k) ?(?:视频|电视|屏|显示|分辨率|画[质面]|[超高]清|蓝光|修复|摄))"
)
_WHOLE_UNIT = f"(?:{LATIN_UNITS})(?:/(?:{_ANY_PER}))?+{_UNIT_END}"
_NOT_IN_A_NAME = "(?<![A-Za-z] )(?<![A-Za-z]-)"
_QUANTITY = re.compile(
    f"{NUMBER_START}{_NOT_IN_A_NAME}(?P<first_sign>{NEGATIVE})?"
    f"(?:(?P<first>{AMOUNT})(?P<first_unit> ?{_WHOLE_UNIT})?(?P<to>{TO_MARK}|[到至]))?"
    f"(?P<sign>{NEGATIVE})?(?P<value>{AMOUNT})(?P<unit> ?{_WHOLE_UNIT})|[0-9]++"
)
_PER_LATIN = re.compile(f"(?<=[元角分块币万亿])(?P<per>/(?:{_ANY_PER}){_UNIT_END})")

_FAHRENHEIT = re.compile(
    f"{NUMBER_START}(?P<value>{NUMBER})(?P<degrees> ?(?:℉|°F(?![A-Za-z])))|[0-9]++"
)
_CELSIUS = re.compile(f"(?P<sign>{NEGATIVE})?{NUMBER_START}(?P<value>{NUMBER}) ?摄氏度|[0-9]++")
_ARC = re.compile(
    "(?<=[0-9])(?:(?P<degree>°)(?!C)(?:(?=[0-9]{1,2}[′'])[0-9]{1,2}(?P<minute>[′'])"
    '(?:(?=[0-9]{1,2}[″"])[0-9]{1,2}(?P<second>[″"]))?)?'
    "|(?P<minutes>′)(?:[0-9]{1,2}(?P<seconds>″))?)"
)
_ALONE = re.compile(
    "(?<![0-9])(?<![0-9] )(?:(?P<celsius>℃|°C(?![A-Za-z]))|(?P<fahrenheit>℉|°F(?![A-Za-z])))"
)
_OF_NUMBER = re.compile("(?<=[0-9])(?P<celsius> ?(?:℃|°C(?![A-Za-z])))")
_PER_MILLE = re.compile(
    f"{NUMBER_START}(?P<sign>{NEGATIVE})?(?P<value>{NUMBER})(?P<mille>‰)|[0-9]++"
)


def read_money(text: AlignedText) -> AlignedText:
    """Read amounts of money with a sign or a code: ￥199.99, US$5, 100 USD, $3.5亿."""
    text = rewrite_matches(text, _MONEY, _read_money)
    return rewrite_matches(text, _MONEY_BEHIND, _read_money_behind)


def _read_money(text: AlignedText, match: re.Match[str]) -> AlignedText:
    symbol, to, name = (group(text, match, part) for part in ("symbol", "to", "name"))
    spoken = _MONEY_NAMES[match["symbol"].replace(" ", "") if len(symbol) < 4 else symbol.text[:3]]
    parts = [
        _read_sign(group(text, match, "sign"), "负"),
        _read_price(group(text, match, "value"), match["power"] + (match["second"] or "")),
    ]
    if to.text:
        second = group(text, match, "second")
        parts += (reworded(to, "到"), _read_price(second, match["power"]))
    is_said = len(name) > 1 or (name.text and spoken == "元")
    parts += (group(text, match, "power"), name if is_said else reworded(symbol, spoken))
    return AlignedText.concat(parts)


def _read_money_behind(text: AlignedText, match: re.Match[str]) -> AlignedText:
    symbol = group(text, match, "symbol")
    value = _read_price(group(text, match, "value"), match["power"])
    name = reworded(symbol, _MONEY_NAMES[symbol.text.strip()])
    return AlignedText.concat((value, group(text, match, "power"), name))


def _read_price(value: AlignedText, more: str) -> AlignedText:
    if value.text == "2" and not more:
        return read_count(value)
    return read_amount(value, is_price=True)


def _read_sign(sign: AlignedText, name: str) -> AlignedText:
    return reworded(sign, name) if sign.text else sign


def drop_dollars(text: AlignedText) -> AlignedText:
    """Drop dollar signs that are not money, which upstream makes full stops."""
    return rewrite(text, _DOLLAR, dollar="")


def read_quantities(text: AlignedText) -> AlignedText:
    """Read units in Latin letters behind numbers, in ranges too: 5mm, 60km/h, 5~10kg."""
    text = rewrite_matches(text, _QUANTITY, _read_quantity)
    return rewrite(text, _PER_LATIN, per=lambda per: reworded(per, "每" + _PER[per.text[1:]]))


def _read_quantity(text: AlignedText, match: re.Match[str]) -> AlignedText | None:
    if match["unit"] is None:
        return None
    parts = []
    is_range = match["to"] is not None
    if is_range:
        parts = [
            _read_sign(group(text, match, "first_sign"), "负"),
            read_amount(group(text, match, "first")),
            _name_unit(group(text, match, "first_unit")),
            reworded(group(text, match, "to"), "至" if match["first_unit"] else "到"),
        ]
    value = group(text, match, "value")
    sign = group(text, match, "sign" if is_range else "first_sign")
    is_two = value.text == "2" and not is_range and not sign.text
    parts += (
        _read_sign(sign, "负"),
        read_count(value) if is_two else read_amount(value),
        _name_unit(group(text, match, "unit")),
    )
    return AlignedText.concat(parts)


def _name_unit(unit: AlignedText) -> AlignedText:
    name, _, per = unit.text.strip().partition("/")
    if not name:
        return unit[:0]
    return reworded(unit, _UNITS[name] + ("每" + _PER[per] if per else ""))


def read_degrees(text: AlignedText) -> AlignedText:
    """Read ℉, 摄氏度, degrees of arc with minutes and seconds, ‰, and ℃ without a number."""
    text = rewrite(text, _FAHRENHEIT, value=read_number, degrees="华氏度")
    text = rewrite(text, _CELSIUS, sign="零下", value=read_number)
    text = rewrite(text, _ARC, degree="度", minute="分", second="秒", minutes="分", seconds="秒")
    text = rewrite_matches(text, _PER_MILLE, _read_per_mille)
    return rewrite(text, _ALONE, celsius="摄氏度", fahrenheit="华氏度")


def name_celsius(text: AlignedText) -> AlignedText:
    """Name the ℃ of a number as the normaliser does."""
    return rewrite(text, _OF_NUMBER, celsius="度")


def _read_per_mille(text: AlignedText, match: re.Match[str]) -> AlignedText | None:
    if match["mille"] is None:
        return None
    sign = _read_sign(group(text, match, "sign"), "负")
    name = reworded(group(text, match, "mille"), "千分之")
    return AlignedText.concat((sign, name, read_number(group(text, match, "value"))))
