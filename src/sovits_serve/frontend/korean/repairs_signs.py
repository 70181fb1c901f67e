"""Signs that upstream makes a stop of: folded, written as words, or left out. Steps of ``repairs.py``."""

import re
import unicodedata
from functools import lru_cache

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.hangul import is_syllable, parse

_FORMS = {
    "−": "-",
    "‐": "-",
    "‑": "-",
    "⁃": "-",
    "–": "-",
    "－": "-",
    "〜": "~",
    "∼": "~",
    "～": "~",
    "⋯": "…",
    "ㆍ": "·",
    "・": "·",
    "･": "·",
    "‧": "·",
    "∙": "·",
    "•": "·",
    "⁄": "/",
    "∕": "/",
    "∶": ":",
    "￦": "₩",
    "￥": "¥",
    "￡": "£",
    "℃": "°C",
    "℉": "°F",
    "ℓ": "L",
}
_SINGLE = re.compile("[^ -~가-힣ㄱ-ㅣ]")
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_SIGN_WORDS = (
    (re.compile(r"(?<=[A-Za-z])\+\+"), " 플러스플러스"),
    (re.compile(r"(?<=[A-Za-z])\+(?=[가-힣])"), " 플러스"),
    (re.compile(r"(?<=\w)\s?\+\s?(?=\w)"), " 플러스 "),
    (re.compile(r"(?<=\w)\+|\+(?=\w)"), " 플러스 "),
    (re.compile(r"\s?±\s?(?=\w)"), " 플러스마이너스 "),
    (re.compile(r"(?<=\w)\s?[×✕✖]\s?(?=\w)"), " 곱하기 "),
    (re.compile(r"(?<=\w)\s?÷\s?(?=\w)"), " 나누기 "),
    (re.compile(r"&amp;|&"), " 앤 "),
    (re.compile(r"(?<=\w)@(?=\w)"), " 골뱅이 "),
    (re.compile(r"(?<=[A-Za-z])#"), "샵"),
    (re.compile(r"#(?=\d|[영공일이삼사오육칠팔구십백천만]+\b)"), " 샵 "),
    (re.compile(r"#(?=\w)"), " 해시태그 "),
    (re.compile(r"(?<=[A-Za-z])\.(?=[a-z]{2})"), " 닷 "),
    (re.compile(r"°C?(?![A-Za-z])"), "도"),
)
_READ = re.compile(r"[+±×✕✖÷&@#°=]|(?<=[A-Za-z])\.[a-z]")
_BLANKS = re.compile(" {2,}")
_BLANK_AT_EDGE = re.compile(r"^ | (?=[,.!?，。！？])")
_EQUALS = re.compile(r"(?<=\w)\s?=\s?(?=\w)")
_WITH_CODA = frozenset("lmnLMN013678")  # as they are called: 엘, 영
_QUOTES = "\"'“”‘’„‟«»‹›「」『』《》〈〉【】〔〕`´"
_OPENING_QUOTES = "“‘„«‹「『《〈【〔"
_GLUED_QUOTE = re.compile(f"(?<=\\w)[{_OPENING_QUOTES}](?=\\w)")
_QUOTE = re.compile(f"[{_QUOTES}]")
_OPENING = re.compile(r"(?<=\w)\s?[(\[{<]+\s?(?=\w)")
_CLOSING = re.compile(r"(?<=\w)[)\]}>]+(?=\s\w)")
_BRACKET = re.compile(r"[()\[\]{}<>]")
_CLAUSE = re.compile(r"(?<=\w)\s?(?:[:;—―→]|-{2,}+|=>)++\s?(?=\w)|(?<=\w)[:;](?=\s|$)")
_SLASH = re.compile(r"(?<=[가-힣])\s?/\s?(?=\w)|(?<=\w)\s?/\s?(?=[가-힣])")
_WAVE = re.compile(r"(?<=\w)\s?~++(?=\s?\w)")
_NEWLINE = re.compile(r"(?<=\w)[ \t]*+\n\s*+(?=\S)")
_BLANK_SIGNS = re.compile(r"[\s_]")
_BEFORE_MARK = re.compile(r"\s?,\s?(?=[.?!…])")
_COMMAS = re.compile(r",(?:\s*+,)++")
_UNSAYABLE = re.compile(
    r"(?<!\s)\s*+[^\w\s!,\-.?…：；，。！？·、%]++(?:\s|[^\w\s!,\-.?…：；，。！？·、%])*+"
)
# What may not stay as it is.
_UNSAID = re.compile(r"[^\w !,\-.?…：；，。！？·、%]|_|\n|,\s*+,")


def fold_forms(text: AlignedText) -> AlignedText:
    """Write wide, small and rare forms of letters, digits and marks as the plain ones."""
    if not _SINGLE.search(text.text):
        return text
    return text.sub(_VULGAR, "과 ").map_characters(_fold)


def read_signs(text: AlignedText) -> AlignedText:
    """Write signs that are read aloud as words."""
    if not _READ.search(text.text):
        return text
    text = text.sub(_EQUALS, _equals)
    for pattern, word in _SIGN_WORDS:
        text = text.sub(pattern, word)
    return text.sub(_BLANKS, " ").sub(_BLANK_AT_EDGE, _nothing)


def place_marks(text: AlignedText) -> AlignedText:
    """Make commas of what parts clauses, and leave out what is not said."""
    if not _UNSAID.search(text.text):
        return text
    text = text.sub(_NEWLINE, ".").sub(_GLUED_QUOTE, " ").sub(_QUOTE, _nothing)
    text = text.sub(_OPENING, ", ").sub(_CLOSING, ",").sub(_BRACKET, _nothing)
    text = text.sub(_CLAUSE, _comma).sub(_SLASH, _comma).sub(_WAVE, _comma)
    text = text.sub(_BLANK_SIGNS, " ").sub(_UNSAYABLE, _gap)
    return text.sub(_COMMAS, ",").sub(_BEFORE_MARK, _nothing)


def _nothing(_: re.Match[str]) -> str:
    return ""


def _gap(match: re.Match[str]) -> str:
    """Leave a blank where a sign stood between blanks, nothing at the ends of the text."""
    if match.start() == 0 or match.end() == len(match.string):
        return ""
    return " " if " " in match[0] else ""


def _comma(match: re.Match[str]) -> str:
    return "," if match.end() == len(match.string) or match.string[match.end()].isspace() else ", "


def _equals(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1]
    coda = parse(before).coda if is_syllable(before) else before in _WITH_CODA
    return "은 " if coda else "는 "


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    if character in _FORMS:
        return _FORMS[character]
    if "가" <= character <= "힣" or "ㄱ" <= character <= "ㅣ" or character == "…":
        return character
    if "！" <= character <= "～":
        return character if character in "：；，！？" else chr(ord(character) - 0xFEE0)
    if unicodedata.category(character) == "Zs":
        return " "
    if "Ⅰ" <= character <= "ⅿ":
        return str(int(unicodedata.numeric(character)))
    compatible = unicodedata.normalize("NFKC", character)
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.digit(character))
    if "豈" <= character <= "龎":
        return compatible
    if "⁄" in compatible or "ﾡ" <= character <= "ￜ" or "㎀" <= character <= "㏟":
        return compatible.replace("⁄", "/")
    return character
