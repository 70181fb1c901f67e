import pytest

from sovits_serve.frontend.chinese.corrections import correct_readings
from sovits_serve.frontend.chinese.dictionary import load_readings
from sovits_serve.frontend.chinese.syllables import is_reading


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("银行", "yin2 hang2"),
        ("标识", "biao1 zhi4"),
        ("唉", "ai4"),
        ("转动", "a1 b2"),
        ("花儿", "a1 b2"),
        ("女儿", "nv3 er2"),
    ],
)
def test_phrases_overrule_a_model_unless_they_are_ambiguous(word: str, expected: str) -> None:
    """The dictionary wins where a word has one reading, the model where the sentence decides."""
    predicted = ["a1", "b2"][: len(word)]

    assert " ".join(correct_readings(word, predicted)) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("银行行长", "yin2 hang2 hang2 zhang3"),
        ("重庆", "chong2 qing4"),
        ("一不小", "yi1 bu4 xiao3"),
        ("好,", "hao3 ,"),
        ("嗯", "en2"),
        ("兙", "ke4"),
    ],
)
def test_words_are_read_by_their_longest_phrases(word: str, expected: str) -> None:
    """Phrases are found from the left, the longest first; the rest is read by the character."""
    assert " ".join(load_readings().read(word)) == expected


def test_every_ideograph_can_be_read() -> None:
    """No ideograph that normalisation leaves is without a reading of the table."""
    characters = map(chr, range(0x4E00, 0x9FA6))
    read = load_readings().read_character

    assert not [character for character in characters if not is_reading(read(character))]
