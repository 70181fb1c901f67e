"""Normalisation as upstream does it."""

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.english.normalization import normalize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$5", "five dollars"),
        ("$1.01", "one dollar and one cent"),
        ("£7.5", "seven pounds and fifty pence"),
        ("20$ or 3£", "twenty dollars or three pounds"),
        ("$0", "zero dollars"),
        ("$1,234", "twelve thirty-four dollars"),
        ("(5$)", "five dollars"),
        ("1.2.3$", "one point two.three dollars"),
        ("0.5%", "zero point five percent"),
        ("13.204", "thirteen point two zero four"),
        ("3/4 and 1/2 and 3/2", "three fourths and one half and three halves"),
        ("the 101st", "the one hundred and first"),
        ("at 4:00 or 13:05", "at four o'clock a.m. or one five p.m."),
        ("5km, 1L, 1.0s", "five kilometers, one liter, one point zero seconds"),
        ("23°C", "twenty-three degrees celsius"),
        ("7 + 8 = 15", "seven plus eight Equals fifteen"),
        ("a - b - c", "a minus b minus c"),
        ("at -3", "atnegative three"),
        ("1. Wash", "first, Wash"),
    ],
)
def test_quantities_become_words(text: str, words: str) -> None:
    """Money, decimals, fractions, ordinals, times, measures and sums are spelled out."""
    assert normalize(AlignedText.of(text)).text == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Café, naïve", "Cafe, naive"),
        ("NASA and iPhone", "N A S A and i Phone"),
        ("e.g. this, i.e. that", "for example this, that is that"),
        ("Wait... what?! No!!", "Wait. what? No!"),
        ("so , what", "so  what"),
        ("(a) [b] \u4f60\u597d", "a b "),
        ("\uff01\u3002\uff1f", "!"),
    ],
)
def test_other_signs_are_removed(text: str, words: str) -> None:
    """Accents and unknown signs go, initialisms are parted, marks are squeezed."""
    assert normalize(AlignedText.of(text)).text == words


def test_words_keep_the_range_they_came_from() -> None:
    """Both words of "$5" came from both its characters, the others from their own."""
    normal = normalize(AlignedText.of("At $5 each, NASA!"))
    ranges = {
        word: normal.origin(normal.text.index(word), normal.text.index(word) + len(word))
        for word in ("At", "five", "dollars", "each", "N", "S", "!")
    }

    assert ranges == {
        "At": (0, 2),
        "five": (3, 5),
        "dollars": (3, 5),
        "each": (6, 10),
        "N": (12, 13),
        "S": (14, 15),
        "!": (16, 17),
    }


def test_a_full_stop_behind_a_number_ends_a_sentence_unless_strict() -> None:
    """Upstream makes ordinals of years at the end of a sentence; the product does not."""
    text = AlignedText.of("It was 1969. He left.")

    assert normalize(text).text == ("It was one thousand, nine hundred and sixty-ninth, He left.")
    assert normalize(text, is_strict=False).text == "It was nineteen sixty-nine. He left."


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1,",
        "1.",
        "1:",
        "1/",
        "1$",
        "\u00a3.",
        "(",
        "- ",
        " ",
        "1 + ",
        "\u00b2",
        ".5",
        "A",
        "e\u0301",
        "1m",
    ],
)
def test_long_runs_of_one_piece_are_taken(piece: str) -> None:
    """What would make a backtracking pattern run for hours is done at once."""
    text = normalize(AlignedText.of(piece * 20_000))

    assert len(text.text) == len(text.starts) == len(text.ends)
