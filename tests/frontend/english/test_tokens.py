"""The division of normalised text into words and marks."""

import pytest

from sovits_serve.frontend.english.tokens import token_spans


def _tokens(text: str) -> list[str]:
    return [text[start:end] for start, end in token_spans(text)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("I can't, rock'n'roll", ["I", "can't", ",", "rock'n'roll"]),
        ("the dogs' 'tis", ["the", "dogs", "'", "'", "tis"]),
        ("well-known T- So", ["well-known", "T", "-", "So"]),
        ("a.m. p.m.", ["a", ".", "m", ".", "p", ".", "m", "."]),
        ("see example.com.", ["see", "example.com", "."]),
        ("john.doe-x.org now", ["john.doe-x.org", "now"]),
        ("the end.then", ["the", "end.then"]),
        ("don't.stop at a.bc-d", ["don't", ".", "stop", "at", "a.bc", "-", "d"]),
        ("  ", []),
    ],
)
def test_words_marks_and_domains(text: str, tokens: list[str]) -> None:
    """Apostrophes and hyphens stay inside words; names joined by dots are one token."""
    assert _tokens(text) == tokens


def test_many_dots_take_no_time() -> None:
    """Dots between single letters are not searched again from every letter."""
    assert len(token_spans("a." * 50_000 + ".ab")) == 100_002
