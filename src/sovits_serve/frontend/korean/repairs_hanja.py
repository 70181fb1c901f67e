"""Words in Han characters by their Korean readings. A step of ``repairs.py``.

The dictionary of the analysis has readings of words and of some single characters, ``hanja.py`` of
more. They give the first sound as it is within a word (녀자); the law of initials (두음법칙)
changes it (여자).
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.annotation import words
from sovits_serve.frontend.korean.hangul import Syllable, is_syllable, parse
from sovits_serve.frontend.korean.hanja import single_readings

_HANJA = re.compile("[㐀-䶿一-鿿\uf900-\ufaff]+")
_HANGUL = re.compile("[가-힣]")
_KANA = re.compile("[ぁ-ゖァ-ヺ]")
_IOTATED = "ㅑㅕㅖㅛㅠㅣ"


def can_read_hanja(text: str) -> bool:
    """Return whether every Han character of a text has a Korean reading here, and no kana is near.

    For deciding, before a text is cut into languages, whether they can stay in Korean text.
    """
    return not _KANA.search(text) and all(said for _, _, said in _readings(text))


def read_hanja(text: AlignedText) -> AlignedText:
    """Write words in Han characters in hangul; leave out those that only gloss a hangul word.

    A row that is not known to its end stays as it is, and so does what looks like Japanese (with
    kana) or Chinese (without hangul, with unknown characters).
    """
    if not _HANJA.search(text.text) or _KANA.search(text.text):
        return text
    parts: list[AlignedText] = []
    done = 0
    rows = _readings(text.text)
    if not _HANGUL.search(text.text) and not all(said for _, _, said in rows):
        return text  # Chinese
    for start, end, said in rows:
        if said is None:
            continue
        if _is_gloss(text.text, start, end, said):
            parts.append(text[done : start - 1])
            done = end + 1
            continue
        parts.append(text[done:start])
        parts.append(AlignedText(said, text.starts[start:end], text.ends[start:end]))
        done = end + len(said) + 2 if text.text.startswith(f"({said})", end) else end
    if not parts:
        return text
    return AlignedText.concat((*parts, text[done:]))


def _is_gloss(text: str, start: int, end: int, said: str) -> bool:
    """Return whether a row stands in brackets behind what it is read as: 한국(韓國)."""
    has_brackets = text[max(0, start - 1) : start] + text[end : end + 1] in {"()", "[]", "（）"}
    return has_brackets and text[max(0, start - 1 - len(said)) : start - 1] == said


def _readings(text: str) -> list[tuple[int, int, str | None]]:
    """Return start, end and reading of each row of Han characters; None if it is not known."""
    rows = [match.span() for match in _HANJA.finditer(text)]
    if not rows:
        return []
    known = _known(text)
    found: list[tuple[int, int, str | None]] = []
    for start, end in rows:
        said = [known.get(i) or single_readings().get(text[i], "") for i in range(start, end)]
        is_first = not (start and is_syllable(text[start - 1]))
        found.append((start, end, _join(said, is_first=is_first) if all(said) else None))
    return found


def _known(text: str) -> dict[int, str]:
    """Return the reading of each character that a word of the dictionary reads."""
    return {
        word.start + i: syllable
        for word in words(text)
        if len(word.reading) == len(word.text) and _HANJA.match(word.text)
        for i, syllable in enumerate(word.reading)
        if is_syllable(syllable)
    }


def _join(said: list[str], *, is_first: bool) -> str:
    return (_initial(said[0]) if is_first else said[0]) + "".join(said[1:])


def _initial(character: str) -> str:
    """Change a first ㄴ or ㄹ by the law of initials: 녀 is 여, 론 is 논."""
    syllable = parse(character)
    if syllable.onset in "ㄴㄹ" and syllable.vowel in _IOTATED:
        return str(Syllable("ㅇ", syllable.vowel, syllable.coda))
    if syllable.onset == "ㄹ":
        return str(Syllable("ㄴ", syllable.vowel, syllable.coda))
    return character
