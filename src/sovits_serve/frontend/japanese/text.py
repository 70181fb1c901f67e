"""Japanese text before the analysis: which characters are read, and how marks are written.

Source: GPT-SoVITS 48b1a01, text/japanese.py, text_normalize, preprocess_jap, post_replace_ph.
"""

import re
from collections.abc import Iterator, Sequence

from sovits_serve.frontend.aligned_text import AlignedText

_REPEATED_MARKS = re.compile(r"([!?…,.\-])[!?…,.\-]+")
_PERCENT = re.compile("％")
# What goes to the analysis; every other character is a mark. Latin letters are read by name.
JAPANESE = re.compile("[A-Za-z\\d々\u3040-\u30ff\u4e00-\u9fff１-９Ａ-Ｚａ-ｚｦ-ﾝ]+")
_MARKS = {"：": ",", "；": ",", "，": ",", "、": ",", "·": ",", "。": ".", "\n": "."}
_MARKS |= {"！": "!", "？": "?"}


def normalized(text: AlignedText) -> AlignedText:
    """Return the text with the first of each run of ASCII marks: what is called normalised."""
    return text.sub(_REPEATED_MARKS, r"\1")


def spelled_out(text: AlignedText) -> AlignedText:
    """Return a normalised text as it goes to the analysis: lower case, percent in kana."""
    text = text.sub(_PERCENT, "パーセント")
    return text if text.text.lower() == text.text else text.map_characters(str.lower)


def mark_phonemes(mark: str) -> tuple[str, ...]:
    """Return the phoneme of a mark: itself or the ASCII mark in its place; a blank has none."""
    return () if mark == " " else (_MARKS.get(mark, mark),)


def chunks(
    text: str, limit: int, whole: Sequence[tuple[int, int]] = ()
) -> Iterator[tuple[int, int]]:
    """Yield the ranges of pieces of at most ``limit`` characters.

    A piece ends where hiragana ends, which is where words end, if that is in its second half.
    ``whole`` ranges, each of at most half the limit, are not cut.
    """
    start = 0
    while len(text) - start > limit:
        end = start + limit
        middle = start + limit // 2
        border = next((i for i in range(end, middle, -1) if _is_border(text, i)), end)
        border = next((first for first, last in whole if first < border < last), border)
        yield start, border
        start = border
    yield start, len(text)


def _is_border(text: str, position: int) -> bool:
    return _is_hiragana(text[position - 1]) and not _is_hiragana(text[position])


def _is_hiragana(character: str) -> bool:
    return "ぁ" <= character <= "ゖ"
