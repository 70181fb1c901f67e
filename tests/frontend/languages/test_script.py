"""A text is cut where the kind of script changes."""

import pytest

from sovits_serve.frontend.languages.script import Kind, split_scripts

HAN, HANGUL, DIGIT = Kind.HAN_OR_KANA, Kind.HANGUL, Kind.DIGIT
MARK, NEWLINE, OTHER = Kind.MARK, Kind.NEWLINE, Kind.OTHER


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("我あア々한a１²", [("我あア々", HAN), ("한", HANGUL), ("a", OTHER), ("１²", DIGIT)]),
        ("a b\tc", [("a b\tc", OTHER)]),
        ("a\r\n b", [("a", OTHER), ("\r", NEWLINE), ("\n ", NEWLINE), ("b", OTHER)]),
        ("...", [(".", MARK)] * 3),
        ("don't", [("don't", OTHER)]),
        ("'a' 'b", [("'", MARK), ("a' ", OTHER), ("'", MARK), ("b", OTHER)]),
        ("1/2", [("1", DIGIT), ("/", OTHER), ("2", DIGIT)]),
        ("㐀𠮷ｱ", [("㐀𠮷ｱ", OTHER)]),
    ],
)
def test_sections(text: str, sections: list[tuple[str, Kind]]) -> None:
    """Kinds, and what blanks and apostrophes belong to."""
    assert [(text[start:end], kind) for kind, start, end in split_scripts(text)] == sections
