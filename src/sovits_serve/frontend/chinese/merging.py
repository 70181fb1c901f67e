"""Joining the words that tone sandhi must see as one.

Source: GPT-SoVITS 48b1a01, text/tone_sandhi.py, ToneSandhi.pre_merge_for_modify. Differs: a
character without a vowel in its reading does not switch off the joining of third tones.
"""

from collections.abc import Callable

from sovits_serve.frontend.chinese.dictionary import load_readings
from sovits_serve.frontend.chinese.words import Token

_MAX_JOINED_LENGTH = 3

Reading = tuple[str, ...]


def merge_for_sandhi(tokens: list[Token]) -> list[Token]:
    """Join 不 and 一 with what follows, repetitions, third tones, and 儿 with what precedes."""
    tokens = _merge_bu(tokens)
    tokens = _merge_yi(_merge_yi_between(tokens))
    tokens = _merge_repeated(tokens)
    tokens = _merge_third_tones(tokens, _are_all_third)
    tokens = _merge_third_tones(tokens, _meet_in_third)
    return _merge_er(tokens)


def _merge_bu(tokens: list[Token]) -> list[Token]:
    """Join 不 with the next word: 不, 怕 is 不怕."""
    merged: list[Token] = []
    held = ""
    for word, tag in tokens:
        joined = held + word
        held = "不" if joined == "不" else ""
        if not held:
            merged.append(Token(joined, tag))
    return [*merged, Token("不", "d")] if held else merged


def _merge_yi_between(tokens: list[Token]) -> list[Token]:
    """Join a verb, 一 and the same verb: 听, 一, 听 is 听一听."""
    merged: list[Token] = []
    i = 0
    while i < len(tokens):
        is_between = tokens[i].word == "一" and merged and i + 1 < len(tokens)
        if is_between and merged[-1] == tokens[i + 1] and merged[-1].tag == "v":
            merged[-1] = Token(f"{merged[-1].word}一{merged[-1].word}", "v")
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_yi(tokens: list[Token]) -> list[Token]:
    """Join 一 with the next word: 一, 天 is 一天."""
    merged: list[Token] = []
    for token in tokens:
        if merged and merged[-1].word == "一":
            merged[-1] = Token("一" + token.word, merged[-1].tag)
        else:
            merged.append(token)
    return merged


def _merge_repeated(tokens: list[Token]) -> list[Token]:
    """Join a word with its repetition: 试, 试 is 试试."""
    merged: list[Token] = []
    for token in tokens:
        if merged and merged[-1].word == token.word:
            merged[-1] = Token(token.word * 2, merged[-1].tag)
        else:
            merged.append(token)
    return merged


def _merge_third_tones(
    tokens: list[Token], meets: Callable[[Reading, Reading], bool]
) -> list[Token]:
    """Join two words of up to three characters together whose third tones meet."""
    readings = [load_readings().read(token.word) for token in tokens]
    merged: list[Token] = []
    is_joined = False
    for i, token in enumerate(tokens):
        is_joined = (
            i > 0
            and not is_joined
            and not _is_repetition(tokens[i - 1].word)  # those become neutral instead
            and len(tokens[i - 1].word) + len(token.word) <= _MAX_JOINED_LENGTH
            and meets(readings[i - 1], readings[i])
        )
        if is_joined:
            merged[-1] = Token(merged[-1].word + token.word, merged[-1].tag)
        else:
            merged.append(token)
    return merged


def _merge_er(tokens: list[Token]) -> list[Token]:
    """Join 儿 with the word before it."""
    merged: list[Token] = []
    for token in tokens:
        if merged and token.word == "儿":
            merged[-1] = Token(merged[-1].word + "儿", merged[-1].tag)
        else:
            merged.append(token)
    return merged


def _are_all_third(first: Reading, second: Reading) -> bool:
    return all(reading.endswith("3") for reading in (*first, *second))


def _meet_in_third(first: Reading, second: Reading) -> bool:
    return first[-1].endswith("3") and second[0].endswith("3")


def _is_repetition(word: str) -> bool:
    return len(word) == 2 and word[0] == word[1]
