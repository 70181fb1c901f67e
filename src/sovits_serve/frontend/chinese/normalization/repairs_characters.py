"""Repairs that need no number: forms, signs, single characters, line breaks."""

import re
import unicodedata
from functools import lru_cache

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.numbers import cardinal
from sovits_serve.frontend.chinese.normalization.repairs_patterns import rewrite_matches
from sovits_serve.frontend.chinese.normalization.rewriting import reworded, rewrite

_HAN = "一-龥"
_WIDE = {chr(code + 0xFEE0): chr(code) for code in map(ord, "0123456789")}
_WIDE |= {chr(code + 0xFEE0): chr(code) for code in (*range(65, 91), *range(97, 123))}

# Other forms of signs, and what must stand next to them.
_PLAIN_SIGNS = (
    (re.compile("(?<=[0-9])(?P<sign> ?[％﹪])"), "%"),
    (re.compile("(?P<sign>[－−﹣])(?= ?[0-9])|(?<=[0-9])(?P<other>[－−﹣])"), "-"),
    (re.compile("(?<=[0-9A-Za-z])(?P<sign>[‐‑])(?=[0-9A-Za-z])"), "-"),
    (re.compile("(?P<sign>[＋﹢])(?=[0-9A-Za-z])"), "+"),
    (re.compile(r"(?P<sign>[＝﹦])(?=[\w\-])"), "="),
    (re.compile("(?<=[0-9])(?P<sign>[．])(?=[0-9])"), "."),
    (re.compile(r"(?<=\w)(?P<sign>[／⁄∕])(?=\w)"), "/"),
    (re.compile(r"(?<=[0-9])(?P<sign> ?(?:[*＊✕✖⨯]|x(?= ?[0-9])) ?)(?=[0-9])"), "×"),
    (re.compile("(?P<sign>＄)(?=[0-9])"), "$"),
    (re.compile("(?P<sign>￡)(?=[0-9])"), "£"),
    (re.compile("(?P<sign>￦)(?=[0-9])"), "₩"),
    (re.compile("(?<=[0-9])(?P<sign>∶)(?=[0-9])"), ":"),
)
_SIGN_NAMES = {
    "±": "正负",
    "≥": "大于等于",
    "≧": "大于等于",
    "⩾": "大于等于",
    "≤": "小于等于",
    "≦": "小于等于",
    "⩽": "小于等于",
    "≠": "不等于",
    "≈": "约等于",
    "≒": "约等于",
    "√": "根号",
    "∞": "无穷大",
}
_NAMED_SIGN = re.compile("(?P<sign>[" + "".join(_SIGN_NAMES) + "])")
_LESS_OR_GREATER = re.compile(
    "(?<![<>＜＞=-])(?P<sign>[<>＜＞]=?+)(?= ?-?[0-9]++(?:\\.[0-9]++)?+(?![>＞]))"
)
_COMPARED = {"<": "小于", ">": "大于", "＜": "小于", "＞": "大于"}
# What upstream reads as 等 for want of a digit or a letter beside it.
_EQUALS = re.compile(
    r"(?<=[\w²³%)）]) ?(?!(?<=[0-9A-Za-z])=(?:-?[0-9]|[A-Za-z]))(?P<sign>=)(?= ?[\w\-(（√])(?<!==)"
)
# Between two things of which the first is no unit, a slash is no 每, and a hyphen never 减.
_SLASH = re.compile(
    f"(?<=[{_HAN}])(?<![元角块分里米克斤吨升次个件人天时秒度帧字页])(?P<slash>/)(?=[{_HAN}])"
)
_HYPHEN = re.compile(f"(?<=[0-9{_HAN}])(?P<hyphen>-)(?=[{_HAN}])")
_WEEKDAY = "一二三四五六日天"
_WEEKDAYS = re.compile(
    f"(?<=[周期拜][{_WEEKDAY}])(?P<to>[-~～—–])(?=(?:周|星期|礼拜)?[{_WEEKDAY}])"
)
# A pause, which the normaliser drops: 我——我不知道.
_DASH = re.compile(r"(?<=[\w”’」』》）)])(?P<dash>[—―]{1,4})(?=[\w“‘「『《（(])")
_DIVIDED = re.compile("(?<=[0-9)）])(?P<sign> ?÷ ?)(?=[0-9(（])")
_TIMES = re.compile("(?<=[0-9)）])(?P<sign> ?× ?)(?=[0-9(（])")
# What the normaliser drops, so that the numbers on both sides would become one.
_BETWEEN_NUMBERS = re.compile(
    r"(?<=[0-9])(?P<gap> ++(?![0-9]{3}(?![0-9]))| *+[—《》【】<>{}()（）#&@“”_|\\]"
    r"[ —《》【】<>{}()（）#&@“”_|\\]*+)(?=[0-9])"
)

_FRACTION = re.compile("(?P<whole>[0-9]?)(?P<fraction>[\u00bc-\u00be\u2150-\u215e\u2189])")
_NUMERAL = re.compile(
    "(?P<numeral>[\u2160-\u216b\u2170-\u217b\u246a-\u249b\u24ea-\u24f4\u2776-\u2793"
    "\u3251-\u325f\u32b1-\u32bf])"
)
_ZERO = re.compile("(?P<zero>〇)")
_REPEATED = re.compile(f"(?<=[{_HAN}㐀-䶵])(?P<repeat>[々〻]++)")

# Blanks and what the normaliser drops; a line break among them; what is a pause by itself.
_GAP = re.compile(r"[\s—《》【】<>{}()（）“”‘’「」『』\"'_|\\]++")
_PAUSES = frozenset("!?…,.-！？。，、：；:;~～·•")


def fold_wide_forms(text: AlignedText) -> AlignedText:
    """Make letters and digits of any form ASCII, as the normaliser will."""

    def fold(character: str) -> str:
        if character > "\x7f" and character.isdecimal():
            return str(unicodedata.decimal(character))
        return _WIDE.get(character, character)

    return text.map_characters(fold)


def plain_signs(text: AlignedText) -> AlignedText:
    """Write signs that the normaliser does not know in the form that it knows."""
    for pattern, sign in _PLAIN_SIGNS:
        text = rewrite(text, pattern, **dict.fromkeys(pattern.groupindex, sign))
    return text


def name_single_characters(text: AlignedText) -> AlignedText:
    """Write out 〇, 々, ½, Ⅲ and ❶."""
    text = rewrite(text, _ZERO, zero="零")
    text = rewrite_matches(text, _REPEATED, _repeat)
    text = rewrite_matches(text, _FRACTION, _read_fraction)
    return rewrite(text, _NUMERAL, numeral=_read_numeral)


def _repeat(text: AlignedText, match: re.Match[str]) -> AlignedText:
    marks = text[match.start() : match.end()]
    return AlignedText(text.text[match.start() - 1] * len(marks), marks.starts, marks.ends)


def _read_fraction(text: AlignedText, match: re.Match[str]) -> AlignedText:
    whole, piece = text[match.start() : match.end() - 1], text[match.end() - 1 : match.end()]
    read = reworded(piece, _name_fraction(piece.text))
    return whole + reworded(piece, "又") + read if whole.text else read


@lru_cache(maxsize=32)
def _name_fraction(character: str) -> str:
    numerator, _, denominator = unicodedata.normalize("NFKC", character).partition("⁄")
    return f"{cardinal(denominator)}分之{cardinal(numerator)}"


def _read_numeral(piece: AlignedText) -> AlignedText:
    return reworded(piece, cardinal(str(int(unicodedata.numeric(piece.text)))))


def name_signs(text: AlignedText) -> AlignedText:
    """Name signs between and before numbers and words: ±, ≥, =, <; a slash that is no 每."""
    text = rewrite(text, _NAMED_SIGN, sign=lambda sign: reworded(sign, _SIGN_NAMES[sign.text]))
    text = rewrite(text, _LESS_OR_GREATER, sign=_read_comparison)
    is_formula = "=" in text.text
    text = rewrite(text, _DIVIDED, sign="除以")
    if is_formula:
        text = rewrite(text, _TIMES, sign="乘")
    text = rewrite(text, _EQUALS, sign="等于")
    text = rewrite(text, _WEEKDAYS, to="至")
    text = rewrite(text, _SLASH, slash="除以" if is_formula else "，")
    return text if is_formula else rewrite(text, _HYPHEN, hyphen="")


def _read_comparison(sign: AlignedText) -> AlignedText:
    return reworded(sign, _COMPARED[sign.text[0]] + ("等于" if len(sign) > 1 else ""))


def pause_at_dashes(text: AlignedText) -> AlignedText:
    """Make a comma of a dash between words."""
    return rewrite(text, _DASH, dash="，")


def separate_numbers(text: AlignedText) -> AlignedText:
    """Keep numbers apart that have nothing between them but what the normaliser drops."""
    return rewrite(text, _BETWEEN_NUMBERS, gap="，")


def mark_newlines(text: AlignedText) -> AlignedText:
    """Make a line break between words a comma, several a full stop."""
    if "\n" not in text.text:
        return text
    return rewrite_matches(text, _GAP, _read_gap)


def _read_gap(text: AlignedText, match: re.Match[str]) -> AlignedText | None:
    start, end = match.span()
    num_breaks = match[0].count("\n")
    if not num_breaks or not start or end == len(text):
        return None
    if text.text[start - 1] in _PAUSES or text.text[end] in _PAUSES:
        return None
    first = start + match[0].index("\n")
    mark = reworded(text[first : first + 1], "，" if num_breaks == 1 else "。")
    return text[start:first] + mark + text[first + 1 : end]
