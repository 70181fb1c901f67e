import json

import pytest

from sovits_serve.frontend.chinese.syllables import (
    is_reading,
    phonemes_of,
    reading_of_marked,
    syllable_table,
)
from sovits_serve.frontend.symbols import symbol_ids
from tests.golden import DATA


def test_the_table_is_upstreams() -> None:
    """The rules make exactly the syllables and phonemes of the recorded table."""
    recorded = json.loads((DATA / "pinyin_to_symbol.json").read_text(encoding="utf-8"))["map"]

    assert {key: " ".join(phonemes) for key, phonemes in syllable_table().items()} == recorded


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_phoneme_has_a_symbol(version: str) -> None:
    """Every syllable in every tone is made of symbols of both tables."""
    symbols = symbol_ids(version)

    spoken = {p for key in syllable_table() for tone in "12345" for p in phonemes_of(key + tone)}

    assert spoken <= symbols.keys()


@pytest.mark.parametrize(
    ("reading", "phonemes"),
    [
        ("hao3", ("h", "ao3")),
        ("zhi1", ("zh", "ir1")),
        ("zi5", ("z", "i05")),
        ("yan2", ("y", "En2")),
        ("ju2", ("j", "v2")),
        ("er4", ("EE", "er4")),
        ("yo1", ("OO", "o1")),
        (",", (",",)),
    ],
)
def test_a_reading_is_said_with_two_phonemes(reading: str, phonemes: tuple[str, ...]) -> None:
    """Initial and final with tone; what is no reading is its own phoneme."""
    assert phonemes_of(reading) == phonemes


@pytest.mark.parametrize(
    ("marked", "reading"),
    [("háng", "hang2"), ("lǜ", "lv4"), ("de", "de5"), ("ń", "en2"), ("hm", "heng5"), ("ế", "ei2")],
)
def test_tone_marks_become_digits(marked: str, reading: str) -> None:
    """Pinyin as dictionaries write it becomes a reading that can be said."""
    assert reading_of_marked(marked) == reading
    assert is_reading(reading)


@pytest.mark.parametrize("text", ["", "a", "5", "hang", "hang0", "hang6", "xyz1", "Hao3", "hao3 "])
def test_what_is_no_reading_is_told(text: str) -> None:
    """Only a syllable of the table with a tone digit is a reading."""
    assert not is_reading(text)
