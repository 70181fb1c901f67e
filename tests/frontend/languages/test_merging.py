"""Pieces take the languages that their neighbours suggest."""

from itertools import accumulate, pairwise

import pytest

from sovits_serve.frontend.languages.merging import settle, settle_han
from sovits_serve.frontend.languages.piece import Piece


def pieces(*texts: tuple[str, str]) -> tuple[str, list[Piece]]:
    """Return a text made of texts with languages, and its pieces."""
    ends = accumulate((len(text) for text, _ in texts), initial=0)
    made = [
        Piece(language, *place) for (_, language), place in zip(texts, pairwise(ends), strict=True)
    ]
    return "".join(text for text, _ in texts), made


def languages(found: list[Piece]) -> list[tuple[str, int]]:
    """Return language and size of pieces."""
    return [(piece.language, piece.size) for piece in found]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([("我们去", "zh"), ("公园", "ja"), ("散步吧", "zh")], [("zh", 8)]),
        ([("我们去", "zh"), ("パーク", "ja"), ("散步吧", "zh")], [("zh", 3), ("ja", 3), ("zh", 3)]),
        ([("我们去", "zh"), ("パーク", "x"), ("散步吧", "zh")], [("zh", 9)]),
        ([("どこへ", "ja"), ("散步", "x"), ("我们去散步", "zh")], [("ja", 3), ("zh", 7)]),
        ([("衬衫", "x")], [("x", 2)]),
    ],
)
def test_short_pieces_give_way(before: list[tuple[str, str]], after: list[tuple[str, int]]) -> None:
    """Short or unknown pieces between others of one language become theirs; kana resists."""
    assert languages(settle(*pieces(*before))) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([("长" * 21, "zh"), ("短", "ja")], [("zh", 22)]),
        ([("长" * 9, "zh"), ("あ" * 9, "ja")], [("zh", 9), ("ja", 9)]),
        ([("长" * 9, "zh"), ("短", "ja"), ("长" * 9, "zh")], [("zh", 19)]),
        ([("あ" * 4, "ja"), ("字", "x"), ("字字", "zh")], [("ja", 5), ("zh", 2)]),
        ([("あ" * 20, "ja"), ("字字", "zh")], [("ja", 22)]),
    ],
)
def test_long_pieces_take_over(before: list[tuple[str, str]], after: list[tuple[str, int]]) -> None:
    """A piece ten times as long takes over; unknown text goes to the most frequent language."""
    _, given = pieces(*before)

    assert languages(settle_han(given)) == after


def test_what_goes_with_a_short_neighbour_is_not_counted() -> None:
    """A first piece that joins a long one hides it from the count of languages, as upstream."""
    _, given = pieces(("短", "x"), ("长" * 11, "zh"))

    assert languages(settle_han(given)) == [("ja", 12)]
