"""Interjections and drawn-out words."""

import pytest

from sovits_serve.frontend.english.words import WordReader


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("shhhh", "SH AH1"),
        ("mmm", "AH1 M"),
        ("brrr", "B ER1"),
        ("soooo", "S OW1"),
        ("yesss", "Y EH1 S"),
        ("covid-nineteen", "K OW1 V IH0 D N AY1 N T IY1 N"),
        ("www", "D AH1 B AH0 L Y UW0 D AH1 B AH0 L Y UW0 D AH1 B AH0 L Y UW0"),
    ],
)
def test_what_people_cry_is_said(word: str, phonemes: str) -> None:
    """Neither spelled nor guessed; letters that draw out no word stay letters."""
    assert " ".join(WordReader().read(word)) == phonemes


def test_strict_reader_spells_as_upstream_does() -> None:
    """Comparison with upstream sees upstream's readings."""
    assert WordReader(is_strict=True).read("shh") == ("EH1", "S", "EY1", "CH", "EY1", "CH")
