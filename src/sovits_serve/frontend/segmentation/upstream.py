"""Cut text into segments as upstream does: its methods cut0 to cut5 and the rules around them.

Pieces are equal to upstream's, its oddities included (a piece of more than 510 characters without
a mark comes after an empty one). Marks that are put in have an empty origin.

Source: GPT-SoVITS 48b1a01, TTS_infer_pack/text_segmentation_method.py and TextPreprocessor.py.
Differs: works on positions; a text that upstream refuses as blank gives no pieces.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from sovits_serve.frontend.aligned_text import AlignedText

# BERT reads 512 tokens, two of them its own.
MAX_CHARACTERS = 510
_MIN_CHARACTERS = 5  # shorter pieces are joined to others
_MIN_FIRST_CHARACTERS = 4  # a text that begins with fewer, up to a mark, gets a mark in front
_SENTENCES_PER_PIECE = 4  # cut1
_PIECE_CHARACTERS = 50  # cut2

_SPLITTERS = frozenset("，。？！,.?!~:：—…")
_SPLITTER = re.compile(f"[{''.join(sorted(_SPLITTERS))}]")
# A piece of nothing but these is dropped by cut0 to cut4.
_MARKS = frozenset("!?…,.- ")
_CUT5_MARKS = frozenset(",.;?!、，。？！：…")
_CONSECUTIVE = re.compile(r"([!?…,.\-])[!?…,.\-]+")
_PERIOD_OUTSIDE_NUMBER = re.compile(r"(?<!\d)\.(?!\d)")
_NEWLINE = re.compile("\n")
_WORD = re.compile(r"\w")


def replace_consecutive_punctuation(text: AlignedText) -> AlignedText:
    """Keep the first of each run of the marks ``! ? … , . -``."""
    return text.sub(_CONSECUTIVE, lambda match: match[1])


def cut(text: AlignedText, method: str) -> list[AlignedText]:
    r"""Cut a text by one method, cut0 to cut5; upstream joins the pieces by "\n"."""
    return _CUTS[method](text)


def merge_short(texts: Sequence[AlignedText], threshold: int) -> list[AlignedText]:
    """Join texts until they have ``threshold`` characters; the last joins the one before it."""
    if len(texts) < 2:
        return list(texts)
    groups: list[list[AlignedText]] = []
    group: list[AlignedText] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= threshold:
            groups.append(group)
            group, size = [], 0
    if size:
        if groups:
            groups[-1] += group
        else:
            groups.append(group)
    return [AlignedText.concat(group) for group in groups]


def split_long(text: AlignedText, max_characters: int = MAX_CHARACTERS) -> list[AlignedText]:
    """Split after or before marks so that pieces have at most ``max_characters``, if they can."""
    pieces = []
    start = end = 0
    for border in _part_ends(text.text):
        if border - start > max_characters:
            pieces.append(text[start:end])
            start = end
        end = border
    if start < end:
        pieces.append(text[start:end])
    return pieces


def segment_upstream(text: AlignedText, method: str, language: str) -> list[AlignedText]:
    """Cut a text as upstream's ``pre_seg_text`` does; a blank text gives no pieces."""
    text = text.strip("\n")
    if not text.text:
        return []
    mark = "." if language == "en" else "。"
    if _starts_short(text.text):
        start = text.starts[0]
        text = AlignedText.from_range(mark, start, start) + text
    lines = [line for piece in cut(text, method) for line in piece.pieces(_NEWLINE)]
    merged = merge_short([line for line in lines if line.text not in {"", " "}], _MIN_CHARACTERS)
    result: list[AlignedText] = []
    for piece in merged:
        if _WORD.search(piece.text):
            ended = _ended(piece, mark)
            result += split_long(ended) if len(ended) > MAX_CHARACTERS else [ended]
    return result


def _starts_short(text: str) -> bool:
    found = _SPLITTER.search(text)
    first = text[: found.start()] if found else text
    return text[0] not in _SPLITTERS and len(first.strip()) < _MIN_FIRST_CHARACTERS


def _ended(text: AlignedText, mark: str) -> AlignedText:
    """Put a mark at the end of a text that has none."""
    if text.text[-1:] in _SPLITTERS:
        return text
    end = text.origin(len(text), len(text))[1]
    return text + AlignedText.from_range(mark, end, end)


def _part_ends(text: str) -> Iterator[int]:
    """Yield where each part ends when marks are parts of their own."""
    for match in _SPLITTER.finditer(text):
        yield match.start()
        yield match.end()
    yield len(text)


def _has_words(text: AlignedText) -> bool:
    return not _MARKS.issuperset(text.text)


def _sentences(text: AlignedText) -> tuple[AlignedText, list[int]]:
    """Return the text with simpler marks and a final one, and where its parts end."""
    text = _ended(text.replace("……", "。").replace("——", "，"), "。")
    return text, [match.end() for match in _SPLITTER.finditer(text.text)]


def _cut0(text: AlignedText) -> list[AlignedText]:
    # Upstream gives one newline where there are no words.
    return [text] if _has_words(text) else [text[:0], text[:0]]


def _cut1(text: AlignedText) -> list[AlignedText]:
    text = text.strip("\n")
    if not text.text:
        return []
    simpler, ends = _sentences(text)
    if len(ends) <= _SENTENCES_PER_PIECE:
        return list(filter(_has_words, [text]))
    starts = [0, *ends][: len(ends) : _SENTENCES_PER_PIECE]
    # The last piece takes what would start another: upstream replaces its start by "the end".
    starts[-1] = len(simpler)
    pieces = (simpler[start:end] for start, end in pairwise(starts))
    return list(filter(_has_words, pieces))


def _cut2(text: AlignedText) -> list[AlignedText]:
    text = text.strip("\n")
    if not text.text:
        return []
    simpler, ends = _sentences(text)
    if len(ends) < 2:
        return [text]
    borders = [0]
    for end in ends:
        if end - borders[-1] > _PIECE_CHARACTERS:
            borders.append(end)
    if borders[-1] < len(simpler):
        borders.append(len(simpler))
    if len(borders) > 2 and borders[-1] - borders[-2] < _PIECE_CHARACTERS:
        del borders[-2]
    pieces = (simpler[start:end] for start, end in pairwise(borders))
    return list(filter(_has_words, pieces))


def _cut3(text: AlignedText) -> list[AlignedText]:
    pieces = text.strip("\n").strip("。").pieces(re.compile("。"))
    return list(filter(_has_words, pieces))


def _cut4(text: AlignedText) -> list[AlignedText]:
    pieces = text.strip("\n").strip(".").pieces(_PERIOD_OUTSIDE_NUMBER)
    return list(filter(_has_words, pieces))


def _cut5(text: AlignedText) -> list[AlignedText]:
    text = text.strip("\n")
    pieces = []
    start = 0
    for i, character in enumerate(text.text):
        if character in _CUT5_MARKS and not _is_decimal_point(text.text, i):
            pieces.append(text[start : i + 1])
            start = i + 1
    pieces.append(text[start:])
    return [piece for piece in pieces if not _CUT5_MARKS.issuperset(piece.text)]


def _is_decimal_point(text: str, i: int) -> bool:
    if text[i] != "." or not 0 < i < len(text) - 1:
        return False
    return text[i - 1].isdigit() and text[i + 1].isdigit()


_CUTS: Mapping[str, Callable[[AlignedText], list[AlignedText]]] = {
    "cut0": _cut0,
    "cut1": _cut1,
    "cut2": _cut2,
    "cut3": _cut3,
    "cut4": _cut4,
    "cut5": _cut5,
}
UPSTREAM_METHODS = tuple(_CUTS)
