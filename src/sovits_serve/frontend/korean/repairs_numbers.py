"""Numbers that upstream misreads, in words. Steps of ``repairs.py``; the last ones for numbers.

Upstream says a number digit by digit unless a counter follows at once, leaves out the one of 11만
and knows few of the counters of native numbers. The analysis tells what follows a number. What
upstream says right is left in digits.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.annotation import Word, marks, words
from sovits_serve.frontend.korean.hangul import is_syllable
from sovits_serve.frontend.korean.numerals import spell_native, spell_numbers

_DIGITS = dict(zip("0123456789", "영일이삼사오육칠팔구", strict=True))
_POWERS = ("", "십", "백", "천")
_GROUPS = ("", "만", "억", "조")
MAX_DIGITS = len(_POWERS) * len(_GROUPS)
NATIVE_COUNTERS = frozenset(
    "개 명 잔 병 시간 송이 번 번째 살 마리 권 장 대 벌 켤레 그루 사람 달 곳 군데 가지 쌍 줄 채 척 "
    "포기 알 통 톨 모 짝 자루 봉지 상자 박스 그릇 접시 컵 캔 조각 방울 모금 걸음 발짝 발자국 판 끼 "
    "차례 바퀴 뼘 다발 움큼 닢 보루 스푼 숟가락 마디 골 곡 배 시 팀".split()
)
# Beyond these the Sino-Korean numbers are usual: 열세 시 is 십삼 시, 서른 배 is 삼십 배.
_LAST_NATIVE = {"시": 12, "시간": 23, "배": 10, "팀": 9, "골": 19, "곡": 19}
_MAX_NATIVE = 99
_NO_COUNTER = re.compile(
    "개(?:월|국|년|소|사|교|점|주|항)|장 ?[0-9]+절"
    "|대 ?(?:왕|임금|황제|교황|대통령|총리|국회|의회|회장|총장|사장|손)"
)
_MACHINES = re.compile(
    r"(?:차|버스|트럭|택시|컴퓨터|노트북|비행기|오토바이|카메라|헬기|탱크)[를을가이]? ?$"
)
_NUMBER = re.compile(r"(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)*+")
# What decides how upstream reads a number.
_FOLLOWING = re.compile("[가-힣]{1,12}")
_EMERGENCIES = frozenset({"112", "113", "114", "117", "119", "911"})
_LABEL = re.compile(r"(?:번호|코드|암호|계좌|아이디|코로나)(?:[는은가이를을]|[는은]요)?[ :]{0,2}$")
_PREFIX = re.compile(r"제 ?$|기호 $|정답[은이]? $")
_NUMBERED = "출구|버스|게이트|승강장|홈|문제|타자|국도|창구|교향곡|좌석|선수|채널|트랙|척추|염색체|보기|문항"
_LABELS = re.compile(
    rf"(?<![0-9])(?<![0-9][,.])[0-9]{{1,2}}번(?:(?:,|와|과|이나|또는|및)? ?[0-9]{{1,2}}번){{0,9}}(?= ?(?:{_NUMBERED}))"
)
_LABEL_NUMBER = re.compile("[0-9]++")
_ORDINAL_ONE = re.compile("(?<![0-9])(?<![0-9][,.])1 ?번 ?째")
# Short forms that upstream says as words, also where they are the end of a longer number.
_IDIOMS = re.compile("10월|1번째|[13]연대|6·25|3·1절")
_SPLIT_BY_IDIOM = re.compile("번째|연대|0월")
_BEFORE_25 = "6·"
_MONTHS = {"6": "유", "10": "시"}


def say_digits(digits: str, zero: str = "영") -> str:
    """Say digits one by one."""
    return "".join(zero if digit == "0" else _DIGITS[digit] for digit in digits)


def say_number(digits: str) -> str:
    """Say a number of up to 16 digits in Sino-Korean words: 110000 is 십일만, 10000 만."""
    digits = digits.lstrip("0")
    if not digits:
        return "영"
    first = len(digits) % 4 or 4
    groups = [digits[:first], *(digits[i : i + 4] for i in range(first, len(digits), 4))]
    said = ""
    for place, group in zip(reversed(range(len(groups))), groups, strict=True):
        if not group.strip("0"):
            continue
        is_bare = group == "1" and place == 1 and not said
        said += ("" if is_bare else _say_group(group)) + _GROUPS[place]
    return said


def say_decimal(number: str) -> str:
    """Say a number with points, and commas between thousands: 3.14 is 삼 점 일사."""
    first, *rest = number.replace(",", "").split(".")
    if len(rest) == 1:
        return f"{say_number(first)} 점 {say_digits(rest[0])}"
    return " 점 ".join(map(say_number, (first, *rest)))


def read_labels(text: AlignedText) -> AlignedText:
    """Read 2번 출구 and 1번, 2번 버스 as labels, and 1번째 as the first."""
    text = text.sub(_LABELS, _label)
    return text.sub(_ORDINAL_ONE, lambda match: match[0] if match[0] == "1번째" else "첫 번째")


def read_numbers(text: AlignedText) -> AlignedText:
    """Write numbers out that upstream would not read as they are meant."""
    if not _NUMBER.search(text.text):
        return text
    found = {word.start: word for word in words(text.text)}
    return text.sub(_NUMBER, _reader(text.text, found))


def _say_group(digits: str) -> str:
    said = ""
    for power, digit in zip(reversed(range(len(digits))), digits, strict=True):
        if digit != "0":
            said += ("" if digit == "1" and power else _DIGITS[digit]) + _POWERS[power]
    return said


def _label(match: re.Match[str]) -> str:
    return _LABEL_NUMBER.sub(lambda number: say_number(number[0]), match[0])


def _reader(text: str, found: Mapping[int, Word]) -> Callable[[re.Match[str]], str]:
    annotated = marks(text)

    def read(match: re.Match[str]) -> str:
        said = _read(match, _word_after(text, match.end(), found))
        is_right = said is None or said == _upstream(match, annotated)
        return match[0] if said is None or is_right else said

    return read


def _upstream(match: re.Match[str], annotated: Sequence[str]) -> str:
    """Return how upstream reads a number; "" if the end of it is part of a short form."""
    number, text, start, end = match[0], match.string, match.start(), match.end()
    if len(number) > 1 and _SPLIT_BY_IDIOM.match(text, end):
        return ""
    if not is_syllable(text[end : end + 1]) and number.isdigit():
        return say_digits(number)
    counter = _FOLLOWING.match(text, end)
    following = counter.end() if counter else end
    said, _ = spell_numbers(AlignedText.of(text[start:following]), annotated[start:following])
    return said.text[: len(said) - (following - end)]


def _word_after(text: str, end: int, found: Mapping[int, Word]) -> Word | None:
    return found.get(end) or (found.get(end + 1) if text[end : end + 1] == " " else None)


def _read(match: re.Match[str], after: Word | None) -> str | None:
    """Return how a number is said; None: as upstream has it."""
    number = match[0]
    text, start, end = match.string, match.start(), match.end()
    before = text[max(0, start - 10) : start]
    digits = number.replace(",", "")
    is_counted = after is not None and (
        after.text in NATIVE_COUNTERS or (after.tag == "NNBC" and after.start == end)
    )
    if _IDIOMS.match(text, start) or (before.endswith(_BEFORE_25) and digits == "25"):
        return None
    if len(digits) > MAX_DIGITS:
        return None
    if not is_counted and _is_serial(match, before):
        return say_digits(digits, "공") if digits.isdigit() and "0" in digits else None
    if "." in digits:
        return say_decimal(number)
    if text[end : end + 1] == "월" and digits in _MONTHS:
        return _MONTHS[digits]
    if digits == "1" and text[end : end + 1] in {"만", "천", "백"} and after and after.tag == "NR":
        return ""
    if after is not None and _is_native(digits, after, before, text):
        return spell_native(digits.lstrip("0"))
    return say_number(digits)


def _is_serial(match: re.Match[str], before: str) -> bool:
    """Return whether a number is a row of digits: 007, 110-123, A380, 119."""
    text, start, end, number = match.string, match.start(), match.end(), match[0]
    if number[0] == "0" and len(number) > 1 and number[1] != ".":
        return True
    if before[-1:] == "-" and text[start - 2 : start - 1].isdigit():
        return True
    if text[end : end + 1] == "-" and text[end + 1 : end + 2].isdigit():
        return True
    if before[-1:].isascii() and before[-1:].isalpha() and len(number) > 2 and number.isdigit():
        return True
    return number in _EMERGENCIES or bool(number.isdigit() and _LABEL.search(before))


def _is_native(digits: str, after: Word, before: str, text: str) -> bool:
    counter = after.text
    if counter not in NATIVE_COUNTERS or _PREFIX.search(before):
        return False
    if _NO_COUNTER.match(text, after.start):
        return False
    value = int(digits)
    if counter == "대" and value % 10 == 0 and value >= 10 and not _MACHINES.search(before):
        return False
    return 0 < value <= _LAST_NATIVE.get(counter, _MAX_NATIVE)
