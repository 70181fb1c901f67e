"""Decide the languages of the pieces of one section from their neighbours.

A model asked about three characters errs often; a short piece between others of one language is
likely of that language too. Every pass looks at each piece once.

Source: split-lang 2.1.1, split/splitter.py, LangSplitter._smart_merge and
_special_merge_for_zh_ja. Differs: the model is asked only where its answer matters.
"""

from collections import Counter

from sovits_serve.frontend.languages.detection import possible_languages
from sovits_serve.frontend.languages.piece import UNKNOWN, Piece, join_pieces
from sovits_serve.frontend.languages.script import has_kana

_SHORT = 4  # a piece so short gives way to neighbours that together have
_LONG = 6
_SHORT_NEIGHBOUR = 5
_OUTWEIGHS = 10  # times as long: so much text outweighs the rest
_HAN_LANGUAGES = ("zh", "ja")


def settle(text: str, pieces: list[Piece]) -> list[Piece]:
    """Give the pieces of a section the languages that their neighbours suggest, and join them."""
    if len(pieces) == 1:
        return pieces
    pieces = join_pieces(pieces)
    for _ in range(2):
        pieces = _settle_middles(text, pieces)
    _fill_unknown(pieces)
    _settle_ends(text, pieces)
    return _settle_middles(text, join_pieces(pieces))


def settle_han(pieces: list[Piece]) -> list[Piece]:
    """Let long Chinese or Japanese pieces take over the short ones beside them."""
    if len(pieces) == 1:
        return pieces
    kept, seen = _absorb_short(pieces)
    if seen[UNKNOWN]:
        _rename(kept, UNKNOWN, seen.most_common(1)[0][0])
    if seen["ja"] >= _OUTWEIGHS * seen["zh"]:
        _rename(kept, "zh", "ja")
    return join_pieces(kept)


def _settle_middles(text: str, pieces: list[Piece]) -> list[Piece]:
    for left, middle, right in zip(pieces, pieces[1:], pieces[2:], strict=False):
        is_between = left.language == right.language != UNKNOWN
        if is_between and _gives_way(text, left, middle, right):
            middle.language = left.language
    return join_pieces(pieces)


def _gives_way(text: str, left: Piece, middle: Piece, right: Piece) -> bool:
    if middle.language == UNKNOWN:
        return True
    if has_kana(text, middle.start, middle.end):
        return False
    if middle.size <= _SHORT and left.size + right.size >= _LONG:
        return True
    return left.language in possible_languages(text[middle.start : middle.end])


def _fill_unknown(pieces: list[Piece]) -> None:
    """Give unknown pieces the language of the longer neighbour; no two unknown are neighbours."""
    last = len(pieces) - 1
    for index, piece in enumerate(pieces):
        if piece.language != UNKNOWN or not last:
            continue
        is_left_longer = 0 < index < last and pieces[index - 1].size >= pieces[index + 1].size
        is_left = index == last or is_left_longer
        piece.language = pieces[index - 1 if is_left else index + 1].language


def _settle_ends(text: str, pieces: list[Piece]) -> None:
    if len(pieces) < 2:
        return
    for end, neighbour in ((pieces[0], pieces[1]), (pieces[-1], pieces[-2])):
        if _follows(text, end, neighbour):
            end.language = neighbour.language


def _follows(text: str, end: Piece, neighbour: Piece) -> bool:
    """Return whether the first or last piece takes the language of its neighbour."""
    is_without_kana = not any(has_kana(text, piece.start, piece.end) for piece in (end, neighbour))
    is_long_chinese = neighbour.language == "zh" and neighbour.size >= _LONG
    if is_without_kana and is_long_chinese and neighbour.size > end.size:
        return True
    if not is_without_kana and neighbour.size > _SHORT_NEIGHBOUR:
        return False
    return neighbour.language in possible_languages(text[end.start : end.end])


def _absorb_short(pieces: list[Piece]) -> tuple[list[Piece], Counter[str]]:
    """Return what is left, and how many characters of each language were looked at.

    A piece that goes into the one before it together with its short neighbour is not looked at.
    """
    seen = Counter({"zh": 0, "ja": 0, UNKNOWN: 0})  # in the order that wins between equals
    kept: list[Piece] = []
    last = len(pieces) - 1
    index = 0
    while index <= last:
        piece = pieces[index]
        seen[piece.language] += piece.size
        before = kept[-1] if kept else None
        after = pieces[index + 1] if index < last else None
        if before is None and after is not None and _takes_over(after, piece):
            kept.append(Piece(after.language, piece.start, after.end))
            index += 1
        elif after is None and before is not None and _takes_over(before, piece):
            before.end = piece.end
        elif before is not None and after is not None and _enclose(before, piece, after):
            before.end = after.end
            index += 1
        else:
            kept.append(piece)
        index += 1
    return kept, seen


def _takes_over(long: Piece, short: Piece) -> bool:
    return (
        long.language in _HAN_LANGUAGES
        and short.language in (*_HAN_LANGUAGES, UNKNOWN)
        and short.size * _OUTWEIGHS < long.size
    )


def _enclose(before: Piece, middle: Piece, after: Piece) -> bool:
    return (
        before.language == after.language
        and before.language in _HAN_LANGUAGES
        and middle.size * _OUTWEIGHS < before.size + after.size
    )


def _rename(pieces: list[Piece], old: str, new: str) -> None:
    for piece in pieces:
        if piece.language == old:
            piece.language = new
