"""Cleaning takes out what is no text and composes what was typed in parts."""

import unicodedata

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.cleaning import clean, has_words


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("你好，world!", "你好，world!"),
        ("a\x00b\tc\x7fd", "a b c d"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("\ufeff你\u200b好\u202e", "你好"),
        ("\ud800a\udfff", "a"),
        ("👍\ufe0f", "👍"),
        (unicodedata.normalize("NFD", "각하 が é ṩ"), "각하 が é ṩ"),
        ("x" + "\u0301\u0332" * 500 + "y", "xy"),
        ("\u0301a", "a"),
        ("㍿3㎡①№𝐀ﬁ⑪30℃", "株式会社3m21NoAfi1130℃"),
    ],
)
def test_only_what_is_no_text_goes(text: str, cleaned: str) -> None:
    """Controls become blanks, invisible characters go, parts compose, words stay."""
    assert clean(AlignedText.of(text)).text == cleaned


def test_origins_survive() -> None:
    """A composed character comes from all of its parts; the rest from where it was."""
    cleaned = clean(AlignedText.of("\ufeffe\u0301t\x00"))

    assert cleaned.text == "ét "
    assert [cleaned.origin(i, i + 1) for i in range(3)] == [(1, 3), (3, 4), (4, 5)]


@pytest.mark.parametrize("text", ["", "。…", "😀", "\ue000", " \n", "\u0301", "﹏"])
def test_no_words(text: str) -> None:
    """Marks, blanks and pictures are no words."""
    assert not has_words(text)


@pytest.mark.parametrize("text", ["a", "7", "好", "っ", "ㅋ", "。я", "㍿", "٣"])
def test_words(text: str) -> None:
    """Letters, digits and ideographs of any script are words."""
    assert has_words(text)
