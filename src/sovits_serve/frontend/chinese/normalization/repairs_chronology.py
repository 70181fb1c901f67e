"""Repairs of dates, times of day and durations."""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import read_cardinal
from sovits_serve.frontend.chinese.normalization.repairs_patterns import (
    TO_MARK,
    group,
    rewrite_matches,
)
from sovits_serve.frontend.chinese.normalization.rewriting import reworded, rewrite

# 2024-5-1: upstream knows months and days of two digits only.
_DATE = re.compile(
    r"(?<![0-9A-Za-z./-])(?P<year>(?:19|20)[0-9]{2})(?P<after_year>[-/.])"
    r"(?P<month>1[0-2]|0?[1-9])(?P<after_month>(?P=after_year))"
    r"(?P<day>3[01]|[12][0-9]|0?[1-9])(?P<unit>[日号]?)(?![0-9A-Za-z/-]|\.[0-9])"
)
_CLOCK = "(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?"
_WIDE_COLON = re.compile(
    "(?<![0-9:：/.第表图题案骤例注条章节项式组步型类比分以])(?:[01]?[0-9]|2[0-3])(?P<first>：)[0-5][0-9]"
    "(?:(?P<second>：)[0-5][0-9])?(?![0-9:：.,%％年月日号天岁个人元分秒度次胜战])"
)
_CLOCK_RANGE = re.compile(f"(?<![0-9:.]){_CLOCK}(?P<to>{TO_MARK})(?={_CLOCK}(?![0-9:])|[一-龥])")
# Two digits before 年 are a year to upstream: 等了10年 is 一零年.
_SINCE = "了近过约满共达每整隔等花用有要前后第超这"
_TILL = (
    "多年|年(?:前(?!后)|后|来|内|间|多|期|之[前后间]|左右|时间|历史|经验|的(?:时间|历史|经验|努力))"
)
_DURATION = re.compile(
    f"(?<=[{_SINCE}])(?P<after>[1-9][0-9])(?=年(?!代|[0-9]))"
    f"|(?<![0-9.])(?P<before>[1-6][0-9])(?={_TILL})"
    "|(?<![0-9.])(?P<decade>[1-9]0)(?=年代)"
)


def mend_dates(text: AlignedText) -> AlignedText:
    """Write 2024-5-1 as year, month and day."""
    return rewrite_matches(text, _DATE, _read_date)


def _read_date(text: AlignedText, match: re.Match[str]) -> AlignedText | None:
    month, day = match["month"], match["day"]
    if len(month) == len(day) == 2 and not match["unit"]:
        return None  # upstream reads it
    unit = group(text, match, "unit")
    return AlignedText.concat(
        (
            group(text, match, "year"),
            reworded(group(text, match, "after_year"), "年"),
            read_cardinal(group(text, match, "month")),
            reworded(group(text, match, "after_month"), "月"),
            read_cardinal(group(text, match, "day")),
            unit if unit.text else reworded(group(text, match, "day"), "日"),
        )
    )


def mend_clocks(text: AlignedText) -> AlignedText:
    """Make wide colons of times plain, and part two times so that each is read for itself."""
    text = rewrite(text, _WIDE_COLON, first=":", second=":")
    return rewrite(text, _CLOCK_RANGE, to="至")


def mend_durations(text: AlignedText) -> AlignedText:
    """Read 10 in 等了10年 and in 10年前 as a number, 90 in 90年代 as well."""
    return rewrite(text, _DURATION, **dict.fromkeys(_DURATION.groupindex, read_cardinal))
