"""Upstream's ways to cut text, against the recorded ones."""

import json
from collections.abc import Iterator

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.segmentation import (
    cut,
    merge_short,
    replace_consecutive_punctuation,
    segment_upstream,
    split_long,
)
from tests.golden import DATA

CASES = json.loads((DATA / "text_split.json").read_text(encoding="utf-8"))
MERGES = json.loads((DATA / "merge_short_text.json").read_text(encoding="utf-8"))


def recorded(field: str) -> Iterator[tuple[str, str, str, object]]:
    """Yield language, text, method and result; an error of upstream becomes None."""
    for case in CASES:
        for method, result in case.get(field, {}).items():
            refused = isinstance(result, dict)
            yield case["lang"], case["text"], method, None if refused else result


def texts(pieces: list[AlignedText]) -> list[str]:
    """Return the plain texts of pieces."""
    return [piece.text for piece in pieces]


def test_consecutive_marks_are_replaced_as_recorded() -> None:
    """Of a run of half-width marks the first stays."""
    for case in CASES:
        ours = replace_consecutive_punctuation(AlignedText.of(case["text"]))
        assert ours.text == case["replace_consecutive"]


def test_cuts_are_as_recorded() -> None:
    """All six methods give the recorded pieces, joined by newlines as upstream does."""
    for _, text, method, expected in recorded("cuts"):
        ours = cut(AlignedText.of(text.strip("\n")), method)
        assert "\n".join(texts(ours)) == (expected or ""), (method, text)


def test_segments_are_as_recorded() -> None:
    """Text as streaming requests cut it; where upstream raises there are no segments."""
    for language, text, method, expected in recorded("pre_seg"):
        ours = segment_upstream(AlignedText.of(text), method, language)
        assert texts(ours) == (expected or []), (method, text)


def test_segments_after_replacing_are_as_recorded() -> None:
    """Text as other requests cut it."""
    for language, text, method, expected in recorded("pre_seg_after_replace"):
        source = replace_consecutive_punctuation(AlignedText.of(text))
        assert texts(segment_upstream(source, method, language)) == (expected or []), (method, text)


def test_long_texts_are_split_as_recorded() -> None:
    """Pieces hold up to 510 characters, a piece without marks as many as it has."""
    for case in CASES:
        if "split_big_text" in case:
            assert texts(split_long(AlignedText.of(case["text"]))) == case["split_big_text"]


def test_short_pieces_are_merged_as_recorded() -> None:
    """Pieces are joined until they have enough characters."""
    for case in MERGES:
        pieces = [AlignedText.of(text) for text in case["texts"]]
        assert texts(merge_short(pieces, case["threshold"])) == case["out"]


@pytest.mark.parametrize(("language", "mark"), [("zh", "。"), ("ja", "。"), ("en", ".")])
def test_inserted_marks_have_an_empty_origin(language: str, mark: str) -> None:
    """The marks put before a short beginning and after an open end come from nowhere."""
    (piece,) = segment_upstream(AlignedText.of("hi", offset=3), "cut0", language)

    assert piece.text == f"{mark}hi{mark}"
    assert list(zip(piece.starts, piece.ends, strict=True)) == [(3, 3), (3, 4), (4, 5), (5, 5)]


def test_pieces_know_where_they_came_from() -> None:
    """Every character that was in the text keeps its place."""
    text = "你好，世界——我来了……真的。今天\n\n天气3.14很好！"
    for method in ("cut0", "cut1", "cut2", "cut3", "cut4", "cut5"):
        for piece in segment_upstream(AlignedText.of(text), method, "zh"):
            for character, start, end in zip(piece.text, piece.starts, piece.ends, strict=True):
                assert text[start:end] in {character, "", "……", "——"}


@pytest.mark.parametrize("text", ["", "\n\n", "   ", "。！？", "\n。\n", "……", "-"])
def test_texts_without_words_give_no_segments(text: str) -> None:
    """What upstream refuses or drops gives nothing."""
    for method in ("cut0", "cut1", "cut2", "cut3", "cut4", "cut5"):
        assert segment_upstream(AlignedText.of(text), method, "zh") == []
