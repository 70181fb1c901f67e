"""Telephone numbers: mobile, landline, and the service numbers that begin with 400.

Source: GPT-SoVITS 48b1a01, text/zh_normalization/phonecode.py.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import read_as_code
from sovits_serve.frontend.chinese.normalization.rewriting import rewrite

_MOBILE_PREFIX = "1(?:[38][0-9]|5[0-35-9]|7[678]|9[89])"
_MOBILE = re.compile(
    rf"(?<![0-9])(?P<number>(?:\+?86)?{_MOBILE_PREFIX}[0-9]{{8}})(?![0-9])",
)
_AREA_CODE = "0(?:10|2[1-3]|[3-9][0-9]{2})"
_LANDLINE = re.compile(
    f"(?<![0-9])(?P<number>(?:{_AREA_CODE}-?)?[1-9][0-9]{{6,7}})(?![0-9])",
)
_SERVICE = re.compile("(?P<number>400-?[0-9]{3}-?[0-9]{4})")


def read_telephone_numbers(text: AlignedText) -> AlignedText:
    """Read telephone numbers digit by digit. Any seven or eight digits are one."""
    text = rewrite(text, _MOBILE, number=lambda number: read_as_code(number.strip("+")))
    text = rewrite(text, _LANDLINE, number=read_as_code)
    return rewrite(text, _SERVICE, number=read_as_code)
