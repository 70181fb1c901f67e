"""Arabic numbers in words.

A number before a counter is a number, native (세 시) or Sino-Korean (삼 분) by the counter; every
other number is said digit by digit. Knows counters only by their mark (``annotation.py``).
"""

import re
from collections.abc import Sequence

from sovits_serve.frontend.aligned_text import AlignedText

_NUMBER = re.compile("[0-9][0-9,]*")
_DIGITS = dict(zip("0123456789", "영일이삼사오육칠팔구", strict=True))
_NATIVE_ONES = ("", *"한 두 세 네 다섯 여섯 일곱 여덟 아홉".split())
_NATIVE_TENS = ("", *"열 스물 서른 마흔 쉰 예순 일흔 여든 아흔".split())
_POWERS = ("", "십", "백", "천")
_GROUPS = ("", "만", "억", "조", "경", "해")
# Below the hundred millions a leading one is not said: 백만, not 일백만.
_SILENT_ONE_GROUPS = 2
# Counters of native numbers. What is a part of one of them counts as well, as upstream has it.
_NATIVE_COUNTERS = (
    "군데 권 개 그루 닢 대 두 마리 모 모금 뭇 발 발짝 방 번 벌 보루 살 수 술 시 쌈 움큼 정 짝 채 "
    "척 첩 축 켤레 톨 통"
)


def spell_numbers(text: AlignedText, marks: Sequence[str]) -> tuple[AlignedText, list[str]]:
    """Replace all ASCII digits by words.

    Args:
        text: the text.
        marks: for each of its characters "B" at the end of a counter, other letters at the end of
            other words, or "".

    Returns:
        The new text, and the marks of its characters.
    """
    parts: list[AlignedText] = []
    new_marks: list[str] = []
    done = 0
    for match in _NUMBER.finditer(text.text):
        start, end = match.span()
        words = _spell(match.group(), _counter(text.text, marks, end))
        parts += (text[done:start], AlignedText.from_range(words, *text.origin(start, end)))
        new_marks += (*marks[done:start], *[""] * len(words))
        done = end
    if not parts:
        return text, list(marks)
    return AlignedText.concat((*parts, text[done:])), [*new_marks, *marks[done:]]


def spell_native(digits: str) -> str:
    """Say a number as it stands before a counter of native numbers; from 100 on it is mixed.

    Source: g2pk2 0.0.3, numerals.py, process_num.
    """
    if digits in ("0", "20"):
        return "영" if digits == "0" else "스무"
    tens = _NATIVE_TENS[_value(digits[-2:-1])]
    ones = _NATIVE_ONES[_value(digits[-1:])]
    hundreds = digits[:-2]
    return (spell_sino(hundreds + "00") if hundreds.strip("0") else "") + tens + ones


def spell_sino(digits: str) -> str:
    """Say a number in Sino-Korean words.

    Source: g2pk2 0.0.3, numerals.py, process_num. Differs: numbers of 17 digits and more are said,
    too. Like it, this leaves out the one of 일만 wherever it stands (11만 is 십만).
    """
    if digits == "0":
        return "영"
    if len(digits) > len(_GROUPS) * len(_POWERS):
        return "".join(_DIGITS[digit] for digit in digits)
    first = len(digits) % 4 or 4
    groups = [digits[:first], *(digits[i : i + 4] for i in range(first, len(digits), 4))]
    return "".join(_group(group, len(groups) - 1 - i) for i, group in enumerate(groups))


def _group(digits: str, group: int) -> str:
    """Say up to four digits and the name of their power of 10,000."""
    if not digits.strip("0"):
        return ""
    words = []
    for power, digit in zip(reversed(range(len(digits))), digits, strict=True):
        place = _POWERS[power] or ("만" if group == 1 else "")
        if digit == "0":
            words.append(_GROUPS[group] if power == 0 else "")
            continue
        is_silent = digit == "1" and place and group < _SILENT_ONE_GROUPS
        name = "" if is_silent else _DIGITS[digit]
        words.append(name + (_POWERS[power] if power else _GROUPS[group]))
    return "".join(words)


def _value(digit: str) -> int:
    return int(digit or "0")


def _spell(number: str, counter: str) -> str:
    digits = number.replace(",", "")
    if not counter:
        return "".join(_DIGITS.get(digit, digit) for digit in number)
    return spell_native(digits) if counter in _NATIVE_COUNTERS else spell_sino(digits)


def _counter(text: str, marks: Sequence[str], start: int) -> str:
    """Return the letters from ``start`` on up to a counter's end, or "" if none comes first."""
    for i in range(start, len(text)):
        if not "ㄱ" <= text[i] <= "힣":
            return ""
        if marks[i]:
            return text[start : i + 1] if marks[i] == "B" else ""
    return ""
