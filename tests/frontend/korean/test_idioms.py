"""Words with a pronunciation of their own."""

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.idioms import say_idioms


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("꽃잎", "꼰닙"),
        ("서울역", "서울력"),
        ("국민윤리", "궁민뉼리"),
        ("공권력", "공꿘녁"),
        ("입원료", "이붠뇨"),
        ("햇살", "해쌀"),
        ("고갯짓", "고개찓"),
        ("할밖에", "할빠께"),
        ("3·1절", "사밀쩔"),
        ("50%", "50퍼센트"),
        ("10월", "시월"),
    ],
)
def test_words_are_said_their_own_way(written: str, said: str) -> None:
    """The signs in the list and the general rules give what the standard says."""
    assert say_idioms(AlignedText.of(written)).text == said


def test_syllables_keep_their_ranges() -> None:
    """A word of as many syllables as before keeps the range of each; others that of the word."""
    text = say_idioms(AlignedText.of("그 꽃잎 5%"))

    assert text.text == "그 꼰닙 5퍼센트"
    assert [text.origin(i, i + 1) for i in (2, 3)] == [(2, 3), (3, 4)]
    assert text.origin(6, 9) == (6, 7)
