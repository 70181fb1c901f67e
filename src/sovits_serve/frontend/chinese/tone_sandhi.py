"""How tones change inside a word: 不, 一, neutral tones, third tones.

Works on the readings of a word (``syllables.py``); a mark is a reading without a tone digit.
The changes come in this order, each on what the last one left.

Source: GPT-SoVITS 48b1a01, text/tone_sandhi.py, ToneSandhi.modified_tone.
"""

from collections.abc import Sequence

from sovits_serve.frontend.chinese.word_facts import NEUTRAL_AT_END, NEVER_NEUTRAL
from sovits_serve.frontend.chinese.words import halves

_PARTICLES = "吧呢哈啊呐噻嘛吖嗨呐哦哒额滴哩哟喽啰耶喔诶"
_STRUCTURAL = "的地得"
_ASPECT = "了着过"
_ASPECT_TAGS = {"ul", "uz", "ug"}
_COUNTED_BEFORE_GE = "几有两半多各整每做是"
_GOING = "来去"
_GOING_BEFORE = "上下进出回过起开"
_PAUSES = ",.?!"  # 一 before another mark changes as before a syllable


def apply_sandhi(word: str, tag: str, readings: Sequence[str]) -> list[str]:
    """Return the readings of a word as they are said."""
    said = list(readings)
    _change_bu(word, said)
    _change_yi(word, said)
    _make_neutral(word, tag, said)
    _change_third_tones(word, said)
    return said


def _set_tone(readings: list[str], i: int, tone: str) -> None:
    if readings[i][-1].isdigit():  # a character that cannot be read has no tone
        readings[i] = readings[i][:-1] + tone


def _change_bu(word: str, readings: list[str]) -> None:
    """Say 不 neutral between two characters (看不懂), rising before a fourth tone (不怕)."""
    if len(word) == 3 and word[1] == "不":
        _set_tone(readings, 1, "5")
        return
    for i, character in enumerate(word[:-1]):
        if character == "不" and readings[i + 1].endswith("4"):
            _set_tone(readings, i, "2")


def _change_yi(word: str, readings: list[str]) -> None:
    """Say 一 as in 一零一, 看一看, 第一, 一段 (before a fourth tone) or 一天 (before others)."""
    if all(character.isnumeric() for character in word):
        return
    if len(word) == 3 and word[1] == "一" and word[0] == word[2]:
        _set_tone(readings, 1, "5")
    elif word.startswith("第一"):
        _set_tone(readings, 1, "1")
    else:
        for i, character in enumerate(word[:-1]):
            if character == "一" and readings[i + 1].endswith("4"):
                _set_tone(readings, i, "2")
            elif character == "一" and word[i + 1] not in _PAUSES:
                _set_tone(readings, i, "4")


def _make_neutral(word: str, tag: str, readings: list[str]) -> None:
    """Take away the tone of repetitions, particles, suffixes and the words known for it."""
    if tag[0] in "nva" and word not in NEVER_NEUTRAL:
        for i in range(1, len(word)):
            if word[i] == word[i - 1]:
                _set_tone(readings, i, "5")
    counted = _counting_ge(word)
    if _has_neutral_suffix(word, tag):
        _set_tone(readings, -1, "5")
    elif counted is not None:
        _set_tone(readings, counted, "5")
    elif word[-2:] in NEUTRAL_AT_END:
        _set_tone(readings, -1, "5")
    first, second = halves(word)
    if first[-2:] in NEUTRAL_AT_END:
        _set_tone(readings, len(first) - 1, "5")
    if second[-2:] in NEUTRAL_AT_END:
        _set_tone(readings, -1, "5")


def _has_neutral_suffix(word: str, tag: str) -> bool:
    """Tell whether the last character is a particle, a suffix or a direction."""
    last = word[-1]
    if last in _PARTICLES or last in _STRUCTURAL:
        return True
    if len(word) == 1:
        return last in _ASPECT and tag in _ASPECT_TAGS
    if last in "们子" and tag in {"r", "n"} and word not in NEVER_NEUTRAL:
        return True
    if last in "上下里" and tag in {"s", "l", "f"}:
        return True
    return last in _GOING and word[-2] in _GOING_BEFORE


def _counting_ge(word: str) -> int | None:
    """Return where 个 counts something: after a number, or as a word."""
    i = word.find("个")
    if word == "个" or (i > 0 and (word[i - 1].isnumeric() or word[i - 1] in _COUNTED_BEFORE_GE)):
        return i
    return None


def _change_third_tones(word: str, readings: list[str]) -> None:
    """Raise the first of two third tones, by the parts the word is made of."""
    if len(word) == 2:
        _raise_pair(readings, 0)
    elif len(word) == 3:
        _change_third_tones_of_three(len(halves(word)[0]), readings)
    elif len(word) == 4:
        _raise_pair(readings, 0)
        _raise_pair(readings, 2)


def _change_third_tones_of_three(split: int, readings: list[str]) -> None:
    third = [reading.endswith("3") for reading in readings]
    if all(third):
        for i in {2: (0, 1), 1: (1,)}.get(split, ()):  # 蒙古/包, 纸/老虎
            _set_tone(readings, i, "2")
    elif split == 1:
        if third[1] and third[2]:
            _set_tone(readings, 1, "2")
        elif third[0] and third[1]:  # 好/喜欢
            _set_tone(readings, 0, "2")
    elif split == 2 and third[0] and third[1]:  # 所有/人
        _set_tone(readings, 0, "2")


def _raise_pair(readings: list[str], i: int) -> None:
    if readings[i].endswith("3") and readings[i + 1].endswith("3"):
        _set_tone(readings, i, "2")
