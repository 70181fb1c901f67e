"""Give every word to a language that can say it. Ours: upstream drops such words.

A frontend skips letters that its language does not have. Here a run is cut so that kana goes to
Japanese, hangul to Korean, Han characters to a home language and Latin letters to English; letters
of other scripts are written in Latin letters (``latin.py``) and read as English. Digits stay with
the language of the run; marks stay with what precedes them.
"""

import re
import unicodedata
from collections.abc import Iterator

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.languages.latin import (
    GREEK_WORDS,
    LETTER_NAMES,
    MARKS_OF_SCRIPTS,
    NUMERALS,
    is_letter_names,
    to_latin,
)
from sovits_serve.frontend.languages.run import LanguageRun, join_runs

_REPEAT = "々〻"
_HAN = "㐀-\u4dbf一-鿿〇\uf900-\ufaff\U00020000-\U000323af"
_KANA = "ぁ-ゖゝ-ゟァ-ヺヽ-ヿㇰ-ㇿｦ-ｯｱ-ﾝ〆\U0001b000-\U0001b16f"
_KANA_SIGNS = "ーｰ\u3099-゜ﾞﾟ"  # part of a word in kana; elsewhere they may be anything
_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f가-\ud7ff\uffa0-\uffdc"
_LATIN = "A-Za-zＡ-Ｚａ-ｚ"
_NO_LETTERS = f"_ªº{NUMERALS}"
_EAST_ASIAN = f"{_REPEAT}{_HAN}{_KANA}{_KANA_SIGNS}{_HANGUL}"

# What each language can say. Chinese and Japanese read single Greek letters by their names.
_CHINESE = f"0-9０-９{_NO_LETTERS}{_HAN}{LETTER_NAMES}"
_SAID = {
    "zh": _CHINESE,
    "yue": _CHINESE,
    "ja": f"0-9０-９{_LATIN}{_NO_LETTERS}{_REPEAT}{_HAN}{_KANA}{_KANA_SIGNS}{LETTER_NAMES}",
    "ko": f"0-9A-Za-z{_NO_LETTERS}{_HANGUL}",
    "en": f"\0-\x7f{_NO_LETTERS}",
}
# The C of 25°C is part of a sign that Chinese reads.
_FOREIGN = {language: re.compile(f"(?<!°)[^\\W{said}]") for language, said in _SAID.items()}

_HAN_OR_KANA = f"[{_REPEAT}{_HAN}{_KANA}{_KANA_SIGNS}]"
_CLAIMS_KANA = f"(?P<kana>[{_KANA}][{_KANA}{_KANA_SIGNS}]*)"
_CLAIMS_HAN = f"(?P<han>{_HAN_OR_KANA}+(?:\\W+{_HAN_OR_KANA}+)*)"
_CLAIMS_HANGUL = f"(?P<hangul>[{_HANGUL}]+)"
_CLAIMS_GREEK = f"(?P<greek>{GREEK_WORDS})"
_ALIEN = f"[^\\W\\d{_LATIN}{_NO_LETTERS}{_EAST_ASIAN}{LETTER_NAMES}]"
_ALIEN_OR_LATIN = f"(?:[{_LATIN}]|{_ALIEN}|(?!\\d)[{MARKS_OF_SCRIPTS}])"
_CLAIMS_OTHER = (
    f"(?P<other>(?<!°)(?:[{_LATIN}]|{_ALIEN}){_ALIEN_OR_LATIN}*(?:\\W+{_ALIEN_OR_LATIN}+)*)"
)
_CHINESE_CLAIMS = (_CLAIMS_KANA, _CLAIMS_HANGUL, _CLAIMS_GREEK, _CLAIMS_OTHER)
_CLAIMS = {
    language: re.compile("|".join(claims))
    for language, claims in {
        "zh": _CHINESE_CLAIMS,
        "yue": _CHINESE_CLAIMS,
        "ja": (_CLAIMS_HANGUL, _CLAIMS_GREEK, _CLAIMS_OTHER),
        "ko": (_CLAIMS_HAN, _CLAIMS_GREEK, _CLAIMS_OTHER),
        "en": (_CLAIMS_HAN, _CLAIMS_HANGUL),
    }.items()
}
_ANY_ALIEN = re.compile(_ALIEN)
_ANY_KANA = re.compile(f"[{_KANA}{_REPEAT}]")
_WORD = re.compile(r"[^\W_]")
_CLOSING = re.compile(r"[\s,.!?;:，。！？；：、…—～)）\]】」』》〉”’]*")
_REPEATED = re.compile(f"(?<=[{_HAN}])[{_REPEAT}]+")
_FOREIGN_DIGIT = re.compile(r"(?![0-9０-９])\d")
_WIDE_FORM = re.compile("[０-９Ａ-Ｚａ-ｚ]")
_WIDE_OFFSET = ord("Ａ") - ord("A")


def spoken_by(text: AlignedText, language: str, home: str = "zh") -> list[LanguageRun]:
    """Cut a run further, so that each part is in a language that can say it.

    Args:
        text: the text of the run.
        language: its language; what is none (of marks alone) becomes the home language.
        home: who reads Han characters in English and Korean text: "zh", "yue" or "ja".

    Returns:
        Runs in order; the whole text, as it is, in one run when its language can say all of it.
    """
    if language not in _FOREIGN:
        language = home
    if not _FOREIGN[language].search(text.text):
        return [LanguageRun(language, text)]
    text = _in_plain_forms(text, language)
    runs = join_runs(_runs(text, language, home))
    return [LanguageRun("en", to_latin(run.text)) if run.language == "en" else run for run in runs]


def _in_plain_forms(text: AlignedText, language: str) -> AlignedText:
    """Write digits of other scripts, and repeated characters in Chinese, so that they are read."""
    text = text.replace("µ", "μ").sub(_FOREIGN_DIGIT, lambda m: str(unicodedata.digit(m[0])))
    if language == "ko":
        return text.sub(_WIDE_FORM, lambda match: chr(ord(match[0]) - _WIDE_OFFSET))
    if language in ("zh", "yue"):
        return text.sub(_REPEATED, lambda m: m.string[m.start() - 1] * len(m[0]))
    return text


def _runs(text: AlignedText, language: str, home: str) -> Iterator[LanguageRun]:
    """Yield the parts that others claim, and what is between them."""
    whole = text.text
    starts: list[tuple[int, str]] = []
    done = 0
    for start, end, claimant in _claims(whole, language, home):
        if _WORD.search(whole, done, start):
            starts.append((_after_closing(whole, done) if starts else 0, language))
        starts.append((start if starts else 0, claimant))
        done = end
    if _WORD.search(whole, done) or not starts:
        starts.append((_after_closing(whole, done) if starts else 0, language))
    ends = [start for start, _ in starts[1:]] + [len(whole)]
    for (start, spoken), end in zip(starts, ends, strict=True):
        yield LanguageRun(spoken, text[start:end])


def _claims(text: str, language: str, home: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and language of each part that another language claims."""
    for match in _CLAIMS[language].finditer(text):
        claimant = _claimant(match, language, home)
        if claimant != language:
            yield match.start(), match.end(), claimant


def _claimant(match: re.Match[str], language: str, home: str) -> str:
    if match.lastgroup == "kana":
        return "ja"
    if match.lastgroup == "hangul":
        return "ko"
    if match.lastgroup == "han":
        return "ja" if _ANY_KANA.search(match[0]) else home
    if match.lastgroup == "greek":
        is_said = language != "ko" and is_letter_names(match[0])
    else:  # Japanese and Korean spell plain Latin letters
        is_said = language in ("ja", "ko") and not _ANY_ALIEN.search(match[0])
    return language if is_said else "en"


def _after_closing(text: str, position: int) -> int:
    """Return where text begins after marks that belong to what precedes them."""
    match = _CLOSING.match(text, position)
    return match.end() if match else position
