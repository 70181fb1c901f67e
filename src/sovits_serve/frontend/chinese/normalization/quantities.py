"""Quantities: temperatures, units of measurement, ranges with units, counted things.

Source: GPT-SoVITS 48b1a01, text/zh_normalization/quantifier.py and num.py. Differs: linear time;
of the measure words only those that begin with no other one are listed, which finds the same.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import read_count, read_number
from sovits_serve.frontend.chinese.normalization.rewriting import (
    NUMBER,
    OR_DIGITS,
    reworded,
    rewrite,
)

# "mm" is not here: upstream has it behind "m", reads 5mm as 五米米, and 5mm~6mm as a range.
_UNITS = {
    "cm2": "平方厘米",
    "cm²": "平方厘米",
    "cm3": "立方厘米",
    "cm³": "立方厘米",
    "cm": "厘米",
    "db": "分贝",
    "ds": "毫秒",
    "kg": "千克",
    "km": "千米",
    "m2": "平方米",
    "m²": "平方米",
    "m3": "立方米",
    "m³": "立方米",
    "ml": "毫升",
    "m": "米",
    "s": "秒",
}
_ANY_UNIT = "|".join(_UNITS)
_UNIT = re.compile(f"(?P<unit>{_ANY_UNIT})")
_DEGREES = "°C|℃|度|摄氏度"
_TEMPERATURE = re.compile(f"(?P<sign>-)?(?P<value>{NUMBER})(?P<unit>{_DEGREES}){OR_DIGITS}")
_WITH_UNIT = rf"(?:-?{NUMBER}|\.[0-9]++)(?:%|{_DEGREES}|{_ANY_UNIT}|mm)"
_RANGE_WITH_UNITS = re.compile(f"{_WITH_UNIT}(?P<to>~){_WITH_UNIT}{OR_DIGITS}")

# The first characters by which upstream knows what can be counted.
_MEASURES = (
    "个件枚只支枝根条片面块张幅颗粒丸把捆扎叠堆线管板针贴"  # things and their parts
    "株棵朵匹头尾群窠壳口脚手人名位身腔客户家辈代世队"  # plants, animals, people
    "间所座栋幢层堂堵墙处山岭丘坡道江溪里场床台架辆艘砣"  # buildings, land, vehicles
    "双对套打批列单罗令担挑贯刀网"  # sets
    "杯盏碗碟盘盆钵锅煲壶卮瓶罐桶盒箱箩篮笼簋袋斛钟啖"  # vessels
    "本篇页首曲阙段课例项目注封回趟场出顶阵跳炮泡袭"  # texts, matters, turns
    "年季月旬周日天时刻分秒纪岁春夏秋冬夜更伏"  # time
    "元角毛钱铢两锱亿万千百"  # money, and powers of ten
    "丈尺寸厘毫丝忽米寻常程铺平方亩升斗石合勺撮吨斤钧"  # length, area, volume, weight
)
_LONG_MEASURES = "小时|公分|微米|微克|美元|十吨"
_COUNT = re.compile(
    f"(?P<count>[0-9]++)(?P<more>[多余几+])?+(?=[{_MEASURES}]|{_LONG_MEASURES}){OR_DIGITS}"
)


def read_ranges_with_units(text: AlignedText) -> AlignedText:
    """Read the wave of 5km~10km."""
    return rewrite(text, _RANGE_WITH_UNITS, to="至")


def read_temperatures(text: AlignedText) -> AlignedText:
    """Read -10℃ as degrees below zero; 摄氏度 becomes 度 too, as upstream's does."""
    return rewrite(text, _TEMPERATURE, sign="零下", value=read_number, unit="度")


def read_units(text: AlignedText) -> AlignedText:
    """Read units of measurement, wherever their letters stand."""
    return rewrite(text, _UNIT, unit=lambda unit: reworded(unit, _UNITS[unit.text]))


def read_counts(text: AlignedText) -> AlignedText:
    """Read numbers before a measure word: 2个 is 两个, 10+人 is 十多人."""
    return rewrite(text, _COUNT, count=read_count, more=_read_more)


def _read_more(more: AlignedText) -> AlignedText:
    return reworded(more, "多") if more.text == "+" else more
