"""The dictionary and what newer releases of it changed."""

import pytest

from sovits_serve.frontend.english.lexicon import Lexicon


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    """Return the dictionary."""
    return Lexicon.load()


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("hello", "HH AH0 L OW1"),
        ("a", "AH0"),
        ("zywicki", "Z IH0 W IH1 K IY0"),
        ("o'clock", "AH0 K L AA1 K"),
        ("well-known", "W EH1 L N OW1 N"),
    ],
)
def test_words_are_found_wherever_they_stand(lexicon: Lexicon, word: str, phonemes: str) -> None:
    """The first, the last and other words of the dictionary are found."""
    assert lexicon.find(word) == tuple(phonemes.split())


@pytest.mark.parametrize("word", ["", "qwkx", "zzzzzz", "hello(1)", "caf\u00e9", "ai", "os", "\n"])
def test_other_words_are_not_found(lexicon: Lexicon, word: str) -> None:
    """What is no entry, a second reading, or an initialism taken out, is not found."""
    assert lexicon.find(word) is None


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("started", "S T AA1 R T IH0 D"),
        ("ended", "EH1 N D AH0 D"),
        ("oranges", "AO1 R IH0 N JH IH0 Z"),
        ("smartphone", "S M AA1 R T F OW2 N"),
        ("html", "EY2 CH T IY2 EH2 M EH1 L"),
        ("st", "S T R IY1 T"),
    ],
)
def test_the_newer_release_is_followed(lexicon: Lexicon, word: str, phonemes: str) -> None:
    """Endings, compounds, initialisms and new words are those of the release upstream uses."""
    assert lexicon.find(word) == tuple(phonemes.split())


def test_lines_need_not_be_those_of_the_package() -> None:
    """Any sorted lines can be searched, one or none too."""
    assert Lexicon(b"ZYX  Z IH1 K S").find("zyx") == ("Z", "IH1", "K", "S")
    assert Lexicon(b"").find("zyx") is None
