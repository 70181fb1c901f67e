"""The division of compounds."""

import pytest

from sovits_serve.frontend.english.compounds import CompoundSplitter


@pytest.fixture(scope="module")
def splitter() -> CompoundSplitter:
    """Return the splitter with the counts of the package."""
    return CompoundSplitter.load()


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        ("thisisatest", "this is a test"),
        ("machinelearning", "machine learning"),
        ("cana", "can a"),
        ("x", "x"),
        ("twentynine", "twentynine"),
        ("itwasthebestoftimesitwastheworst", "it was the best of times it was the worst"),
    ],
)
def test_letters_become_the_likeliest_words(
    splitter: CompoundSplitter, letters: str, words: str
) -> None:
    """Counts of words and of pairs decide."""
    assert splitter.split(letters) == words.split()


def test_nothing_is_lost(splitter: CompoundSplitter) -> None:
    """The words of a division are its letters, whatever they are."""
    letters = "qzxj" * 25

    assert "".join(splitter.split(letters)) == letters
