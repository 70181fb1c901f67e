"""Reading digits: one by one, as a cardinal number, or as a number with decimals.

Source: GPT-SoVITS 48b1a01, text/zh_normalization/num.py, verbalize_cardinal, verbalize_digit and
num2str. Differs: groups of eight digits instead of recursion, so that numbers of any length are
read in linear time.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.rewriting import reworded

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_ZEROS_AND_DIGIT = re.compile("(0{0,4})([1-9])")
_ONE_BY_ONE = str.maketrans("0123456789.", _DIGITS + "点")
# On the telephone 一 sounds too much like 七. A break in a number is a comma.
_AS_CODE = str.maketrans("0123456789-", _DIGITS.replace("一", "幺") + "，")


def cardinal(digits: str) -> str:
    """Return digits as a cardinal: "1020" is 一千零二十, "" is nothing."""
    significant = digits.lstrip("0")
    if not significant:
        return digits[:1] and _DIGITS[0]
    ends = range(len(significant), 0, -8)
    groups = [significant[max(0, end - 8) : end] for end in ends]
    read = "亿".join(_read_group(group) for group in reversed(groups))
    return read[1:] if read.startswith("一十") else read


def _read_group(group: str) -> str:
    """Read up to eight digits; every eight more are 亿, so that 1e16 is 一亿亿."""
    upper, lower = group[:-4], group[-4:]
    if upper.strip("0"):
        return _read_block(upper) + "万" + _read_block(lower)
    return _read_block(group)


def _read_block(block: str) -> str:
    """Read four digits and zeros before them.

    Zeros before another digit are one 零, zeros at the end are silent.
    """
    return "".join(
        (match[1] and _DIGITS[0]) + _DIGITS[int(match[2])] + _PLACES[len(block) - match.end()]
        for match in _ZEROS_AND_DIGIT.finditer(block)
    )


def read_cardinal(piece: AlignedText) -> AlignedText:
    """Read digits as a cardinal number."""
    return reworded(piece, cardinal(piece.text))


def read_count(piece: AlignedText) -> AlignedText:
    """Read digits as a count: as a cardinal, but two of something are 两."""
    read = cardinal(piece.text)
    return reworded(piece, "两" if read == "二" else read)


def read_number(piece: AlignedText) -> AlignedText:
    """Read digits with or without decimals; of zeros at the end one is read, ".5" is 零点五."""
    point = piece.text.find(".")
    if point < 0:
        return read_cardinal(piece)
    decimals = piece[point + 1 :]
    kept = len(decimals.text.rstrip("0"))
    parts = [
        read_cardinal(piece[:point]) if point else reworded(piece[:1], _DIGITS[0]),
        reworded(piece[point : point + 1], "点"),
        read_one_by_one(decimals[:kept]),
    ]
    if kept < len(decimals):
        parts.append(reworded(decimals[kept:], _DIGITS[0]))
    return AlignedText.concat(parts)


def read_one_by_one(piece: AlignedText) -> AlignedText:
    """Read each digit, and each point, for itself: years, versions, decimals."""
    return AlignedText(piece.text.translate(_ONE_BY_ONE), piece.starts, piece.ends)


def read_as_code(piece: AlignedText) -> AlignedText:
    """Read each digit for itself with 幺 for 一, hyphens as breaks: telephone numbers."""
    return AlignedText(piece.text.translate(_AS_CODE), piece.starts, piece.ends)
