"""Words that the dictionary lacks."""

import pytest

from sovits_serve.frontend.english.words import WordReader


@pytest.fixture(scope="module")
def reader() -> WordReader:
    """Return a reader that does as upstream does."""
    return WordReader(is_strict=True)


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("zzz", "Z IY1 Z IY1 Z IY1"),
        ("a'b", "EY1 - B IY1"),
        ("zoopster's", "Z UW1 P S T EH1 R Z"),
        ("openai's", "OW1 P AH0 N EY1 AY1 Z"),
        ("boxjudge's", "B AA1 K S JH AH1 JH AH0 Z"),
        ("machinelearning", "M AH0 SH IY1 N L ER1 N IH0 NG"),
        ("few-shot", "F Y UW1 SH AA1 T"),
        ("forty-seven", "F AO1 R T IY0 S EH1 V AH0 N"),
        ("snarfled", "S N AA1 R F L EH1 D"),
    ],
)
def test_unknown_words_are_spelled_divided_or_guessed(
    reader: WordReader, word: str, phonemes: str
) -> None:
    """Short ones are spelled, possessives and compounds divided, the rest is guessed."""
    assert reader.read(word) == tuple(phonemes.split())


def test_a_number_is_read_rightly_unless_strict(reader: WordReader) -> None:
    """Upstream guesses "thirty-four"; the product reads its two words."""
    assert " ".join(reader.read("thirty-four")) == "TH ER1 T AY0 F R UH0 R"
    assert " ".join(WordReader().read("thirty-four")) == "TH ER1 D IY2 F AO1 R"


def test_what_is_longer_than_words_is_spelled(reader: WordReader) -> None:
    """A word of 20,000 letters is read letter by letter, at once."""
    assert len(reader.read("b" * 20_000)) == 40_000


def test_common_words_load_neither_network_nor_counts() -> None:
    """Text in known words leaves the heavy parts unloaded."""
    reader = WordReader()
    for word in ("hello", "world", "sixty-two", "xyz"):
        reader.read(word)

    assert not {"_network", "_splitter"} & reader.__dict__.keys()
