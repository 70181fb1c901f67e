"""Segments that are fit to be read out, whatever the method."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.segmentation import METHODS, segment
from tests.frontend.nasty import WITH_WORDS, WITHOUT_WORDS


def cut_texts(
    text: str, method: str = "auto", language: str = "zh", **options: object
) -> list[str]:
    """Return the texts of the segments."""
    keep = options.get("keep", ())
    assert isinstance(keep, tuple)
    pieces = segment(AlignedText.of(text), method, language, keep_whole=keep)
    return [piece.text for piece in pieces]


def test_methods_are_our_own_and_upstreams() -> None:
    """The names are fixed: clients send them."""
    assert METHODS == ("auto", "cut0", "cut1", "cut2", "cut3", "cut4", "cut5")


def test_unknown_method_is_refused() -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(InvalidRequest, match=r"cut: 'cut6' is not one of auto, cut0"):
        cut_texts("你好", "cut6")


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("你好", "zh", "你好。"),
        ("hello", "en", "hello."),
        ("안녕", "ko", "안녕."),
        ("東京タワー", "ja", "東京タワー。"),
        ("我有3", "zh", "我有3。"),
        ("2024", "en", "2024."),
        ("2024", "auto", "2024。"),
        ("他说“好。”", "zh", "他说“好。”"),
        ("Well...", "en", "Well..."),
        ("（完）", "zh", "（完）。"),
    ],
)
def test_open_end_gets_a_mark(text: str, language: str, expected: str) -> None:
    """A sentence without a mark at its end gets that of its script: the voice falls there."""
    assert cut_texts(text, language=language) == [expected]


def test_cut_inside_a_sentence_gets_a_comma() -> None:
    """Where a sentence goes on in the next segment the voice must not fall."""
    segments = cut_texts("阿" * 150)

    assert len(segments) > 1
    assert all(text.endswith("，") for text in segments[:-1])
    assert segments[-1].endswith("。")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("第一章\n很久以前有一个人。", "第一章，很久以前有一个人。"),
        ("One\n\nTwo and three.", "One. Two and three."),
        ("好。\n走吧我们。", "好。 走吧我们。"),
        ("It was\nraining all day.", "It was raining all day."),
    ],
)
def test_newline_inside_a_segment_is_a_pause(text: str, expected: str) -> None:
    """A heading that is joined to its text is not read into it; a wrapped line is."""
    assert cut_texts(text) == [expected]


def test_inserted_marks_point_nowhere() -> None:
    """A mark that was not in the text has an empty origin, or that of the newline it stands for."""
    (piece,) = segment(AlignedText.of("一\n二"), "auto", "zh")

    assert piece.text == "一，二。"
    assert list(zip(piece.starts, piece.ends, strict=True)) == [(0, 1), (1, 2), (2, 3), (3, 3)]


@pytest.mark.parametrize("method", METHODS)
def test_endless_marks_are_shortened(method: str) -> None:
    """Marks make phonemes in some languages; a few are enough."""
    segments = cut_texts("你好" + "！？" * 5000 + "再见了朋友", method)

    assert sum(map(len, segments)) < 30


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WITHOUT_WORDS)
def test_text_without_words_gives_no_segments(method: str, name: str) -> None:
    """Marks, blanks and emoji alone are not spoken."""
    assert cut_texts(WITHOUT_WORDS[name], method) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WITH_WORDS)
def test_no_letter_is_lost(method: str, name: str) -> None:
    """Every letter and digit of a hostile text is in a segment, in order."""
    text = WITH_WORDS[name]
    letters = "".join(filter(str.isalnum, text))

    assert "".join(filter(str.isalnum, "".join(cut_texts(text, method)))) == letters


@pytest.mark.parametrize("method", METHODS)
def test_no_segment_is_too_long_for_bert(method: str) -> None:
    """Where upstream fails at 510 characters, the text is cut on."""
    assert max(map(len, cut_texts("阿" * 3000, method))) <= 510


@pytest.mark.parametrize("method", METHODS)
def test_ranges_to_keep_are_not_cut(method: str) -> None:
    """A word with a reading of its own stays in one segment, marks and all."""
    text = "我们今天一起来看这个，A.B，C。D！这个词语，大家觉得怎么样呢？"
    segments = cut_texts(text, method, keep=((11, 19),))

    assert sum("A.B，C。D！" in piece for piece in segments) == 1


@given(
    st.text(st.sampled_from("ab1.,。，！? \n“”(）漢かな가-…"), max_size=80),
    st.sampled_from(METHODS),
)
def test_origins_are_in_range_and_order(text: str, method: str) -> None:
    """Every character of every segment points into the text, and onward."""
    starts: list[int] = []
    for piece in segment(AlignedText.of(text), method, "zh"):
        assert all(0 <= a <= b <= len(text) for a, b in zip(piece.starts, piece.ends, strict=True))
        starts += piece.starts

    assert starts == sorted(starts)
