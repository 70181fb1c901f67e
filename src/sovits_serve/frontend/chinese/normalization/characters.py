"""Steps that look at one character at a time: folding forms, naming symbols, mapping marks.

Source: GPT-SoVITS 48b1a01, text/zh_normalization/text_normlization.py (TextNormalizer._split,
_post_replace), constants.py, and text/chinese2.py (replace_punctuation,
replace_consecutive_punctuation). Differs: digits of every script are digits; upstream fails on
all but ASCII and full-width ones.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.rewriting import rewrite
from sovits_serve.frontend.chinese.normalization.simplification import (
    FIRST_IDEOGRAPH,
    LAST_IDEOGRAPH,
    simplified_characters,
)

_DROPPED = " —《》【】<>{}()（）#&@“”^_|\\"
_FULL_WIDTH = ord("Ａ") - ord("A")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NAMES = {
    "/": "每",
    "+": "加",
    "-": "减",
    "×": "乘",
    "÷": "除",
    "=": "等",
    **dict(zip("①②③④⑤⑥⑦⑧⑨⑩", "一二三四五六七八九十", strict=True)),
    "α": "阿尔法",
    "β": "贝塔",
    "γΓ": "伽玛",
    "δΔ": "德尔塔",
    "ε": "艾普西龙",
    "ζ": "捷塔",
    "η": "依塔",
    "θΘ": "西塔",
    "ι": "艾欧塔",
    "κ": "喀帕",
    "λΛ": "拉姆达",
    "μ": "缪",
    "ν": "拗",
    "ξΞ": "克西",
    "ο": "欧米克伦",
    "πΠ": "派",
    "ρ": "肉",
    "σςΣ": "西格玛",
    "τ": "套",
    "υ": "宇普西龙",
    "φΦ": "服艾",
    "χ": "器",
    "ψΨ": "普赛",
    "ωΩ": "欧米伽",
}
_NAME_OF = {symbol: name for symbols, name in _NAMES.items() for symbol in symbols}
_MARKS = "!?…,.-"
_AS_MARK = {
    **dict.fromkeys("：；，·、", ","),
    "。": ".",
    "$": ".",
    "！": "!",
    "？": "?",
    "—": "-",
    "~": "…",
    "～": "…",
    # Ideographs that the pronunciation dictionaries lack, as ones that sound alike.
    "嗯": "恩",
    "呣": "母",
}
_THREE_POINTS = re.compile(r"(?P<points>\.\.\.)")
_MARKS_AFTER_A_MARK = re.compile(f"(?<=[{_MARKS}])(?P<marks>[{_MARKS}]+)")


@cache
def _folded_characters() -> Mapping[str, str]:
    letters = {chr(ord(letter) + _FULL_WIDTH): letter for letter in _LETTERS}
    dropped = dict.fromkeys(_DROPPED, "")
    return MappingProxyType({**simplified_characters(), **letters, **dropped})


def fold_characters(text: AlignedText) -> AlignedText:
    """Simplify ideographs, make letters and digits ASCII, drop blanks, brackets and quotes."""
    table = _folded_characters()

    def fold(character: str) -> str:
        if character.isdecimal():
            return str(unicodedata.decimal(character))
        return table.get(character, character)

    return text.map_characters(fold)


def name_symbols(text: AlignedText) -> AlignedText:
    """Name Greek letters, circled digits and the operators that are left."""
    return text.map_characters(lambda character: _NAME_OF.get(character, character))


def to_marks_and_ideographs(text: AlignedText) -> AlignedText:
    """Map punctuation to the six marks, drop what is no ideograph, keep one mark of each run."""
    text = rewrite(text, _THREE_POINTS, points="…").map_characters(_readable)
    return rewrite(text, _MARKS_AFTER_A_MARK, marks="")


def _readable(character: str) -> str:
    character = _AS_MARK.get(character, character)
    if FIRST_IDEOGRAPH <= character <= LAST_IDEOGRAPH or character in _MARKS:
        return character
    return ""
