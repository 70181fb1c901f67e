"""Text that upstream drops or breaks, written so that it can be read.

Upstream takes every character outside its table for a mark, so "50%", "3.5", "二〇二三年" and
"ｶﾞ" lose a word or fall apart. This is for callers who want all of a text read rather than what
upstream reads; the frontend leaves it out unless asked.
"""

import re
import unicodedata

from sovits_serve.frontend.aligned_text import AlignedText

_WORDS = {
    **dict.fromkeys("%﹪", "パーセント"),
    **dict.fromkeys("℃℉", "度"),
    **dict.fromkeys("&＆", "アンド"),
    **dict.fromkeys("+＋", "プラス"),
    **dict.fromkeys("=＝", "イコール"),
    **dict.fromkeys("@＠", "アット"),
    "÷": "わる",
    "№": "ナンバー",
    "〒": "郵便番号",
    "〆": "締",
    "𠮷": "吉",
    "𠮟": "叱",
    "𩸽": "ほっけ",
    "㐂": "喜",
}
_AREAS = {"㎡": "平方メートル", "㎥": "立方メートル"}
_CURRENCIES = {
    **dict.fromkeys("¥￥", "円"),
    **dict.fromkeys("$＄", "ドル"),
    "€": "ユーロ",
    "£": "ポンド",
}
_KANJI_DIGITS = "一二三四五六七八九〇"
_WORD = re.compile(f"[{''.join(_WORDS)}]")
# Half width kana with a voicing mark, squared words and units, Han written for compatibility.
_COMPATIBILITY = re.compile(
    "[ｦ-ﾝ][ﾞﾟ]|[\u32ff-\u3357\u3371-\u33df\u33ff]|[\uf900-\ufaff\U0002f800-\U0002fa1f]"
)
_NUMBER_SIGN = re.compile("[\u2160-\u217f\u2460-\u2473\u3280-\u3289]")  # Ⅲ, ③, ㊂
_THOUSANDS = re.compile(r"(?<![\d,，])\d{1,3}(?:[,，]\d{3})+(?![\d,，])")
_MONEY = re.compile(f"([{''.join(_CURRENCIES)}])" r"(\d+(?:[.．]\d+)?[万億兆]?)(?![円ドユポ])")
# One point between digits; with two it is a date or a version.
_DECIMAL = re.compile(r"(?<![\d.．])(\d+)[.．](\d+)(?![.．]?\d)")
_RANGE = re.compile(r"(?<=[\d年月日時分秒円人個本%％])[〜～~](?=\d)")
_MINUS = re.compile(r"(?<![\dA-Za-zＡ-Ｚａ-ｚ一-鿿])[-−－](?=\d)")
_KANJI_ZERO = re.compile(f"(?<=[{_KANJI_DIGITS}十百千])〇|〇(?=[{_KANJI_DIGITS}])")
_REPEATED_KANA = re.compile("([ぁ-ゖァ-ヴ])([ゝヽゞヾ])")


def legible(text: AlignedText) -> AlignedText:
    """Return the text with words in the place of signs, and characters that can be read."""
    text = text.sub(_COMPATIBILITY, lambda match: _compatible(match.group()))
    text = text.sub(_NUMBER_SIGN, lambda match: str(int(unicodedata.numeric(match.group()))))
    text = text.sub(_THOUSANDS, lambda match: re.sub("[,，]", "", match.group()))
    text = text.sub(_MONEY, lambda match: match[2] + _CURRENCIES[match[1]])
    text = text.sub(_RANGE, lambda _: "から").sub(_MINUS, lambda _: "マイナス")
    # The middle dot is a mark inside words to the analysis, and a decimal point between digits.
    text = text.sub(_DECIMAL, r"\1・\2").sub(_KANJI_ZERO, lambda _: "０")
    text = text.sub(_REPEATED_KANA, lambda match: match[1] + _repeated(match[1], match[2]))
    return text.sub(_WORD, lambda match: _WORDS[match.group()])


def _compatible(text: str) -> str:
    return _AREAS.get(text) or unicodedata.normalize("NFKC", text)


def _repeated(kana: str, mark: str) -> str:
    if mark in "ゝヽ":
        return kana
    voiced = unicodedata.normalize("NFC", kana + "\u3099")
    return voiced if len(voiced) == 1 else kana
