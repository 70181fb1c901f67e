"""Repairs of numbers without a unit of measurement: telephone numbers, ratios, signs, counts."""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import (
    read_as_code,
    read_cardinal,
    read_number,
    read_one_by_one,
)
from sovits_serve.frontend.chinese.normalization.repairs_patterns import (
    DECIMALS,
    GROUPED,
    NEGATIVE,
    NUMBER_START,
    group,
    read_amount,
    rewrite_matches,
)
from sovits_serve.frontend.chinese.normalization.rewriting import NUMBER, reworded, rewrite

_PHONE_START = r"(?<![0-9A-Za-z.+\-])(?<![0-9] )"
_PHONE_END = r"(?!-?[0-9]|\.[0-9])"
_PHONE = re.compile(
    _PHONE_START
    + r"(?P<phone>"
    + r"(?:\+?86[ -]?)?1[3-9][0-9](?P<gap>[ -])[0-9]{4}(?P=gap)[0-9]{4}"
    + r"|\+?86[ -]1[3-9][0-9]{9}"
    + r"|(?:\+?86[ -])?0[0-9]{2,3}-[0-9]{7,8}(?:-[0-9]{1,5})?"
    + r"|[48]00-(?:[0-9]{3}-[0-9]{4}|[0-9]{4}-[0-9]{3}|[0-9]{7})"
    + r"|\+[0-9]{1,3}(?:[ -][0-9]{2,8}){2,5}"
    + r"|(?:(?<=电话)|(?<=热线)|(?<=拨打)|(?<=致电)|(?<=号码)|(?<=电话[：:])|(?<=热线[：:]))"
    + r"[0-9]{2,5}(?:-[0-9]{2,8}){1,4}"
    + r")"
    + _PHONE_END
)
_GAPS = re.compile("[ +-]+")

_RATIO_BEFORE = "比分|比例|比率|配比|比值|之比|以"
_SCORE_AFTER = "战?[胜败平]|获胜|领先|落后|击败|大胜|险胜|力克|淘汰"
_CLOCK_SHAPE = re.compile("(?:[01]?[0-9]|2[0-3]):[0-5][0-9]")
_RATIO = re.compile(
    r"(?<![0-9A-Za-z:：./])(?<![第表图题案骤注例条章节])(?P<first>[0-9]{1,4}):"
    "(?P<second>[0-9]{1,4})(?P<more>(?::[0-9]{1,4})*+)(?![0-9A-Za-z:：.])"
)
_STATED_RATIO = re.compile(
    f"(?:{_RATIO_BEFORE})(?:[是为约]|定格在)? ?(?P<ratio>[0-9]{{1,4}}[:：][0-9]{{1,4}})(?![0-9:：.])"
    f"|(?<![0-9:：.])(?P<score>[0-9]{{1,3}}[:：][0-9]{{1,3}})(?=的比分|{_SCORE_AFTER})"
)
_RESULT = "[战取获大险完小]?[胜赢贏]|[输輸负負败敗平惜告击擊]|领先|領先|落后|落後|横扫|逆转|力克|淘汰|不敌|的比分"
# A hyphen is arithmetic elsewhere.
_HYPHEN_SCORE = re.compile(
    "(?<=比分)[是为]? ?(?P<stated>[0-9]{1,3}-[0-9]{1,3})(?![0-9.,:：/=-])"
    f"|(?<![0-9A-Za-z.,:：/+-])(?P<score>[0-9]{{1,3}}-[0-9]{{1,3}})(?={_RESULT})"
)
_PARTS = re.compile("(?P<colon>[:：-])|(?P<number>[0-9]+)")
# Upstream takes seven digits behind a point for a telephone number.
_LONG_DECIMAL = re.compile(
    r"(?<![0-9A-Za-z.,+-])(?P<value>[0-9]{1,20}\.[0-9]{6,})(?![0-9.%‰A-Za-z]| [0-9])|[0-9.]++"
)
# 1米78 is a height. What follows Latin letters and a colon is no amount either.
_HEIGHT = re.compile(
    "(?<![0-9.])(?P<metres>[12])(?P<unit>米)(?P<rest>[0-9]{2})(?![0-9.,多余几])(?! ?[-~～至到米厘公个人]| ?[A-Za-z])"
)
_LABELLED = re.compile("^[:：] ?(?P<code>[0-9]{5,12})(?![0-9A-Za-z.,:：%-])")
_MODEL = re.compile(
    "(?<=[歼轰苏图运])(?P<hyphen>-)(?=[0-9])"
    "|(?<=米格|东风|长征|北斗|神舟|天宫|天舟|嫦娥|鹰击|红旗|巨浪|快舟|枭龙|幻影)(?P<other>-)(?=[0-9])"
)

_DECIMAL_FRACTION = re.compile(
    rf"(?<![0-9A-Za-z./])(?P<numerator>{NUMBER})/(?P<denominator>{NUMBER})(?![0-9A-Za-z/]|\.[0-9])"
)
_GROUPED = re.compile(
    f"(?P<sign>{NEGATIVE})?(?P<value>{GROUPED}{DECIMALS})(?P<then>(?= ?(?:[%‰℃°]|摄氏)))?"
)
_NEGATIVE_DECIMAL = re.compile(
    rf"(?P<sign>{NEGATIVE})(?P<value>[0-9]++\.[0-9]++)(?![0-9%‰℃°度/~-]|\.[0-9]| ?(?:摄氏|华氏))"
)
# Units and measure words of amounts: numbers of any length before these are no codes. Those
# behind the bar follow long numbers too, but upstream reads up to six digits before them.
_COUNTED_ALWAYS = (
    "克|公斤|公里|公分|公顷|公尺|纳米|海里|英[里尺寸镑亩]|欧元|港[币元]|日元|韩元|人民币|新?台币|卢布"
    "|兆|千?瓦|伏|赫兹|大?卡|平[米方]|立方|摄氏度|华氏度|种|句|倍|步|遍|次(?![列品序级])|字|回|招|声"
    "|集(?![团合])|首|项|款|幅|封|颗|粒|瓶|杯|碗|桌|餐|顿|轮|局"
)
_COUNTED_LONG = (
    "元|块|美元|人(?!工)|个|次|名|位|户|家|件|辆|台|套|本|册|吨|斤|米|亩|字|年|天|小时|分钟|条|张|只|头|株|棵|枚"
    "|票|万|亿|毫[米升克]|厘米|千[米克]|升"
)
_SHORT_AMOUNT = re.compile(
    f"{NUMBER_START}(?P<amount>[1-9][0-9]{{2,5}}{DECIMALS})(?P<more>[多余])?+(?= ?(?:{_COUNTED_ALWAYS}))"
)
_LONG_AMOUNT = re.compile(
    rf"{NUMBER_START}(?<![+-])(?P<amount>[1-9][0-9]{{6,10}}{DECIMALS})(?P<more>[多余])?+"
    f"(?= ?(?:{_COUNTED_ALWAYS}|{_COUNTED_LONG}))"
)
# 2 is 两 before a measure word, but not in an order, a date or a fraction.
_TWO = re.compile(
    "(?<=第)(?P<ordinal> ?2)(?![0-9.,%])"
    "|(?<![0-9.,])(?P<two>2)(?= ?(?:月(?!饼)|日|时|两|季度|年级|分之|手[房车货机烟]))"
)


def read_phone_numbers(text: AlignedText) -> AlignedText:
    """Read telephone numbers with hyphens or blanks digit by digit, in groups."""
    return rewrite(text, _PHONE, phone=_read_phone)


def _read_phone(phone: AlignedText) -> AlignedText:
    return read_as_code(phone.strip("+").sub(_GAPS, lambda _: "-"))


def read_codes(text: AlignedText) -> AlignedText:
    """Read heights (1米78), labelled numbers (QQ：12345) and models (歼-20) as people do."""
    text = rewrite(text, _HEIGHT, rest=_read_height)
    text = rewrite(text, _LABELLED, code=read_as_code)
    return rewrite(text, _MODEL, hyphen="", other="")


def _read_height(digits: AlignedText) -> AlignedText:
    return read_one_by_one(digits[:1] if digits.text[1] == "0" else digits)


def read_long_decimals(text: AlignedText) -> AlignedText:
    """Read decimals of many digits."""
    return rewrite(text, _LONG_DECIMAL, value=read_number)


def read_ratios(text: AlignedText) -> AlignedText:
    """Read the colon of 3:2 and 16:9 and of stated scores; what can be a time of day is one."""
    text = rewrite(text, _STATED_RATIO, ratio=_read_parts, score=_read_parts)
    text = rewrite(text, _HYPHEN_SCORE, stated=_read_parts, score=_read_parts)
    return rewrite_matches(text, _RATIO, _read_ratio)


def _read_ratio(text: AlignedText, match: re.Match[str]) -> AlignedText | None:
    if _CLOCK_SHAPE.fullmatch(match["first"] + ":" + match["second"]):
        return None
    return _read_parts(text[match.start() : match.end()])


def _read_parts(ratio: AlignedText) -> AlignedText:
    return rewrite(ratio, _PARTS, colon="比", number=read_cardinal)


def read_decimal_fractions(text: AlignedText) -> AlignedText:
    """Read fractions with a decimal point in either part, such as 6.3/10."""
    return rewrite_matches(text, _DECIMAL_FRACTION, _read_fraction)


def _read_fraction(text: AlignedText, match: re.Match[str]) -> AlignedText | None:
    if "." not in match[0]:
        return None
    slash = text[match.end("numerator") : match.start("denominator")]
    numerator = read_number(group(text, match, "numerator"))
    return read_number(group(text, match, "denominator")) + reworded(slash, "分之") + numerator


def read_grouped_digits(text: AlignedText) -> AlignedText:
    """Read 1,234,567.89 as one number; before % and degrees only take out the commas."""
    return rewrite_matches(text, _GROUPED, _read_grouped)


def _read_grouped(text: AlignedText, match: re.Match[str]) -> AlignedText:
    sign, value = group(text, match, "sign"), group(text, match, "value")
    if match["then"] is not None:
        return sign + value.replace(",", "")
    return reworded(sign, "负") + read_amount(value) if sign.text else read_amount(value)


def read_large_counts(text: AlignedText) -> AlignedText:
    """Read numbers before a unit as amounts where upstream takes them for codes."""
    text = rewrite(text, _SHORT_AMOUNT, amount=read_amount)
    return rewrite(text, _LONG_AMOUNT, amount=read_amount)


def read_two(text: AlignedText) -> AlignedText:
    """Read 2 as 二 where it counts nothing: 第2天, 2月, 2年级."""
    return rewrite(text, _TWO, ordinal="二", two="二")


def read_negative_decimals(text: AlignedText) -> AlignedText:
    """Read -3.5: upstream takes the sign and the digits before the point for themselves."""
    return rewrite(text, _NEGATIVE_DECIMAL, sign="负", value=read_number)
