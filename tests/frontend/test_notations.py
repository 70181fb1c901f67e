"""Telling the notations of readings apart by their form."""

import pytest

from sovits_serve.frontend.notations import (
    EXAMPLES,
    canonical,
    is_plain_choice,
    is_well_formed,
    notation_of,
)


@pytest.mark.parametrize(
    ("reading", "notation"),
    [
        ("yin2 hang2", "tones"),
        ("nve4 lv3 lü3 lu:3 nüe4", "tones"),
        ("huar1 er2 m2 ng4 hng6", "tones"),
        ("ngan4 hong4 gwok3 jyun4 hm4 dyut6", "tones"),
        ("T AH0 M EY1 T OW0", "arpabet"),
        ("AY1", "arpabet"),
        ("トーキョー", "kana"),
        ("ト'ーキョー", "kana"),
        ("ときょう", "kana"),
        ("익따", "hangul"),
        ("가 나", "hangul"),
    ],
)
def test_notation_shows_in_the_form(reading: str, notation: str) -> None:
    """Each notation has a form of its own; pinyin and jyutping share theirs."""
    assert notation_of(reading) == notation


@pytest.mark.parametrize(
    "reading",
    "||b|b2|x1 y2|yin|yin7|yin0|Yin2|yin2hang|T M|AH|AH3|t ah0|XX1|ー|東京|ㄱ|yin2 トー|1|1 2|http|a1,b2|"
    "a/b|ksst1".split("|"),
)
def test_other_forms_are_no_notation(reading: str) -> None:
    """What people write between brackets for other reasons is no reading."""
    assert notation_of(reading) is None


def test_examples_have_the_form_they_show() -> None:
    """What messages show as examples is accepted."""
    for notation, example in EXAMPLES.items():
        assert is_well_formed(example, notation)


def test_tones_are_pinyin_and_jyutping_but_nothing_else() -> None:
    """A form that two notations share is good for both."""
    assert is_well_formed("hang2", "pinyin")
    assert is_well_formed("hang2", "jyutping")
    assert not is_well_formed("hang2", "kana")
    assert not is_well_formed("カナ", "pinyin")


@pytest.mark.parametrize(
    ("word", "reading", "expected"),
    [
        ("银行", "YIN2 HANG2", "yin2 hang2"),
        ("银行", "yin2hang2", "yin2 hang2"),
        ("银行", "yín háng", "yin2 hang2"),
        ("女子", "nǚ zi", "nü3 zi5"),
        ("tomato", "t ah0 m ey1 t ow0", "T AH0 M EY1 T OW0"),
        ("东京", " トーキョー ", "トーキョー"),
        ("yes", "no", "no"),
        ("a", "é", "é"),
    ],
)
def test_what_is_nearly_a_reading_is_one(word: str, reading: str, expected: str) -> None:
    """Capitals, missing blanks, tone marks and small ARPAbet are understood; other text is not."""
    assert canonical(word, reading) == expected


@pytest.mark.parametrize(
    ("word", "reading", "expected"),
    [
        ("はい", "いいえ", True),
        ("예", "아니오", True),
        ("남", "여", True),
        ("읽다", "익따", False),
        ("꽃잎", "꼰닙", False),
        ("東京", "トーキョー", False),
        ("tomato", "토마토", False),
    ],
)
def test_two_words_of_one_language_are_no_reading(word: str, reading: str, expected: bool) -> None:
    """A choice in brackets stays text: what is read in kana is not, and hangul sounds alike."""
    assert is_plain_choice(word, reading) is expected
