"""Codas and what comes after them."""

import pytest

from sovits_serve.frontend.korean.consonants import contact, final, liaison
from sovits_serve.frontend.korean.hangul import CODAS, ONSETS


def test_seven_codas_are_heard_at_the_end() -> None:
    """Before a pause every coda becomes one of seven (rules 8 to 11)."""
    assert {final(coda) for coda in CODAS} == {"", *"ㄱㄴㄷㄹㅁㅂㅇ"}


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("ㄱㅁ", "ㅇㅁ"),  # 국물
        ("ㅂㄴ", "ㅁㄴ"),  # 입는
        ("ㅆㄴ", "ㄴㄴ"),  # 있는
        ("ㅁㄹ", "ㅁㄴ"),  # 음료
        ("ㄱㄹ", "ㅇㄴ"),  # 독립
        ("ㄴㄹ", "ㄹㄹ"),  # 신라
        ("ㄹㄴ", "ㄹㄹ"),  # 칼날
        ("ㅀㄴ", "ㄹㄹ"),  # 뚫는
    ],
)
def test_neighbours_become_alike(pair: str, said: str) -> None:
    """Stops before nasals, ㄹ after other consonants, ㄴ beside ㄹ (rules 18 to 20)."""
    assert "".join(contact(pair[0], pair[1])) == said


@pytest.mark.parametrize(
    ("pair", "said"),
    [("ㄱㄷ", "ㄱㄸ"), ("ㅅㄱ", "ㄷㄲ"), ("ㅄㅈ", "ㅂㅉ"), ("ㄼㄱ", "ㄹㄲ"), ("ㄴㄱ", "ㄴㄱ")],
)
def test_stops_tense_what_follows(pair: str, said: str) -> None:
    """ㄱ ㄷ ㅂ ㅅ ㅈ are tensed after a stop and stay after a nasal (rule 23)."""
    assert "".join(contact(pair[0], pair[1])) == said


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("ㅎㄱ", "ㅋ"),
        ("ㄶㄷ", "ㄴㅌ"),
        ("ㅀㅅ", "ㄹㅆ"),
        ("ㄱㅎ", "ㅋ"),
        ("ㄵㅎ", "ㄴㅊ"),
        ("ㄺㅎ", "ㄹㅋ"),
    ],
)
def test_h_melts_into_its_neighbour(pair: str, said: str) -> None:
    """ㅎ before or after a stop makes it aspirated (rule 12)."""
    assert "".join(contact(pair[0], pair[1])) == said


@pytest.mark.parametrize(
    ("coda", "said"),
    [("ㄱ", ("", "ㄱ")), ("ㄺ", ("ㄹ", "ㄱ")), ("ㅄ", ("ㅂ", "ㅆ")), ("ㅎ", ("", "ㅇ"))],
)
def test_liaison_carries_a_consonant_over(coda: str, said: tuple[str, str]) -> None:
    """Before a vowel the last consonant moves; of two, only the second (rules 13, 14, 12.4)."""
    assert liaison(coda) == said


def test_every_pair_is_said_with_letters() -> None:
    """No combination of coda and onset fails, or loses both."""
    for coda in CODAS[1:]:
        for onset in ONSETS.replace("ㅇ", ""):
            assert contact(coda, onset)[1]
