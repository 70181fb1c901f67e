"""Aligned text: what its operations make of the text, and of where each character came from."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sovits_serve.frontend.aligned_text import AlignedText

TEXTS = st.text(st.sampled_from("abc12 .，你好か가\n😀\u0301\ud800"), max_size=30)
PATTERNS = st.sampled_from(["a", "[ab]+", "b*", r"\d", r"(\d)(\d)?", "", "$", "^a?", "(?=b)", "."])


def spans(text: AlignedText) -> list[tuple[int, int]]:
    """Return the range each character came from."""
    return list(zip(text.starts, text.ends, strict=True))


def check(text: AlignedText, original: str) -> None:
    """Check that every character has a range of the original."""
    assert len(text.text) == len(text.starts) == len(text.ends) == len(text)
    assert all(0 <= start <= end <= len(original) for start, end in spans(text))


def test_plain_text_is_its_own_original() -> None:
    """Each character of a new text came from its own place, counted from the offset."""
    text = AlignedText.of("abc", offset=5)

    assert text.text == "abc"
    assert spans(text) == [(5, 6), (6, 7), (7, 8)]


def test_text_of_a_range_comes_from_all_of_it() -> None:
    """A text that stands for a range has that range at every character."""
    assert spans(AlignedText.from_range("five", 2, 4)) == [(2, 4)] * 4


def test_joining_nothing_is_empty() -> None:
    """No parts, or empty ones, make an empty text."""
    assert AlignedText.concat([]).text == ""
    assert len(AlignedText.concat([AlignedText.of(""), AlignedText.of("")])) == 0


@given(st.lists(TEXTS, max_size=5))
def test_joined_parts_keep_their_origins(texts: list[str]) -> None:
    """Text and origins of a joined text are those of its parts, one after the other."""
    parts = [AlignedText.of(text, offset=100 * i) for i, text in enumerate(texts)]
    joined = AlignedText.concat(parts)

    assert joined.text == "".join(texts)
    assert spans(joined) == [span for part in parts for span in spans(part)]


def test_sum_is_the_joined_text() -> None:
    """``+`` joins two texts."""
    both = AlignedText.of("ab") + AlignedText.of("c", offset=7)

    assert both.text == "abc"
    assert spans(both) == [(0, 1), (1, 2), (7, 8)]


@given(TEXTS, st.slices(30))
def test_slices_are_those_of_a_string(text: str, part: slice) -> None:
    """A slice takes characters and origins alike, whatever its bounds and step."""
    aligned = AlignedText.of(text)

    assert aligned[part].text == text[part]
    assert spans(aligned[part]) == spans(aligned)[part]


def test_origin_of_a_part_spans_what_it_came_from() -> None:
    """The origin of a part goes from its first place to its last, also if they are out of order."""
    text = AlignedText("abc", (4, 0, 2), (6, 1, 3))

    assert text.origin(0, 3) == (0, 6)
    assert text.origin(1, 3) == (0, 3)


@pytest.mark.parametrize(("place", "expected"), [(0, 10), (1, 11), (2, 12)])
def test_origin_of_nothing_is_a_place(place: int, expected: int) -> None:
    """An empty part has an empty range where it stands, at the end too."""
    assert AlignedText.of("ab", offset=10).origin(place, place) == (expected, expected)


def test_origin_in_an_empty_text_is_its_start() -> None:
    """An empty text has no other place than zero."""
    assert AlignedText.of("").origin(0, 0) == (0, 0)


@given(TEXTS, st.sampled_from([None, "\n", "ab", "。"]))
def test_strip_is_that_of_a_string(text: str, characters: str | None) -> None:
    """Blanks, or given characters, are taken off both ends."""
    stripped = AlignedText.of(text).strip(characters)

    assert stripped.text == text.strip(characters)
    assert "".join(text[start:end] for start, end in spans(stripped)) == stripped.text


@given(
    TEXTS, PATTERNS, st.sampled_from(["", "x", "xyz", "a", r"\g<0>", r"<\g<0>", r"\g<0>>", r"\\"])
)
def test_sub_gives_the_text_of_re_sub(text: str, pattern: str, replacement: str) -> None:
    """Replacing gives what ``re.sub`` gives, empty matches and templates included."""
    replaced = AlignedText.of(text).sub(re.compile(pattern), replacement)

    assert replaced.text == re.sub(pattern, replacement, text)
    check(replaced, text)


@given(TEXTS, PATTERNS, st.text("ab1x", max_size=4))
def test_sub_keeps_the_origin_of_what_it_leaves(text: str, pattern: str, new: str) -> None:
    """Characters outside matches keep their place; those of a match stay within the match."""
    replaced = AlignedText.of(text).sub(re.compile(pattern), lambda _: new)
    matched = [match.span() for match in re.finditer(pattern, text)]
    inside = {i for start, end in matched for i in range(start, end)}
    kept = [(i, i + 1) for i in range(len(text)) if i not in inside]
    ranges = {(start, end) for start, end in spans(replaced)}

    assert ranges >= set(kept)
    for start, end in ranges - set(kept):
        assert any(first <= start and end <= last for first, last in matched)


@given(TEXTS, st.lists(st.tuples(PATTERNS, st.text("ab1x", max_size=3)), max_size=4))
def test_steps_in_a_row_keep_origins_in_range_and_order(
    text: str, steps: list[tuple[str, str]]
) -> None:
    """However often a text is rewritten, origins stay inside the original and in order."""
    aligned = AlignedText.of(text)
    for pattern, new in steps:
        aligned = aligned.sub(re.compile(pattern), new)

    check(aligned, text)
    assert list(aligned.starts) == sorted(aligned.starts)


def test_template_names_groups() -> None:
    """A replacement string may use groups by number and name; one that did not match is empty."""
    text = AlignedText.of("a1 b")
    replaced = text.sub(re.compile(r"(?P<letter>[ab])(\d)?"), r"\2\g<letter>")

    assert replaced.text == "1a b"


def test_shared_ends_keep_their_own_place() -> None:
    """What a replacement has in common with the match at both ends is not moved."""
    text = AlignedText.of("a(12)b").sub(re.compile(r"\(.*\)"), "(twelve)")

    assert text.text == "a(twelve)b"
    assert spans(text)[1] == (1, 2)
    assert spans(text)[2:8] == [(2, 4)] * 6
    assert spans(text)[8] == (4, 5)


def test_shared_ends_do_not_overlap() -> None:
    """A character that both ends could claim is claimed once."""
    assert AlignedText.of("aa").sub(re.compile("aa"), "aaa").text == "aaa"
    assert AlignedText.of("aaa").sub(re.compile("aaa"), "aa").text == "aa"


def test_inserted_text_has_an_empty_range() -> None:
    """Text put in where nothing was comes from an empty range at that place."""
    text = AlignedText.of("ab").sub(re.compile("(?<=a)(?=b)|$"), "-")

    assert text.text == "a-b-"
    assert spans(text) == [(0, 1), (1, 1), (1, 2), (2, 2)]


def test_function_may_say_origins_finely() -> None:
    """A replacement that is aligned itself is taken as it is."""
    source = AlignedText.of("1/2")
    turned = source.sub(re.compile("(.)/(.)"), lambda _: source[2:3] + source[1:2] + source[0:1])

    assert turned.text == "2/1"
    assert spans(turned) == [(2, 3), (1, 2), (0, 1)]


def test_text_without_a_match_is_the_same_object() -> None:
    """Where nothing changes nothing is copied: most rules do not match most sentences."""
    text = AlignedText.of("nothing here")

    assert text.sub(re.compile(r"\d+"), "x") is text
    assert text.sub(re.compile("n"), "n") is text
    assert text.replace("q", "x") is text
    assert text.map_characters(str) is text


@given(TEXTS, st.sampled_from(["a", "ab", "", ".", "\\"]), st.sampled_from(["", "x", r"\1", "aa"]))
def test_replace_is_that_of_a_string(text: str, old: str, new: str) -> None:
    """Plain replacing knows no patterns and no templates."""
    replaced = AlignedText.of(text).replace(old, new)

    assert replaced.text == text.replace(old, new)
    check(replaced, text)


@given(TEXTS, st.dictionaries(st.sampled_from("abc12 你"), st.text("abx", max_size=3)))
def test_mapped_characters_come_from_their_own(text: str, table: dict[str, str]) -> None:
    """Each character's replacement comes from that character's place."""
    mapped = AlignedText.of(text).map_characters(lambda character: table.get(character, character))
    expected = [
        (new, (i, i + 1))
        for i, character in enumerate(text)
        for new in table.get(character, character)
    ]

    assert list(zip(mapped.text, spans(mapped), strict=True)) == expected


def test_mapping_that_moves_characters_moves_their_origins() -> None:
    """The same text may come out although characters changed places: origins must tell."""
    mapped = AlignedText.of("ab").map_characters({"a": "", "b": "ab"}.__getitem__)

    assert mapped.text == "ab"
    assert spans(mapped) == [(1, 2), (1, 2)]


@given(TEXTS, st.sampled_from([" ", r"\d+", "b*", "[。，\n]"]))
def test_pieces_are_those_of_re_split(text: str, pattern: str) -> None:
    """Pieces between matches are those of ``re.split``, each with its place."""
    assume("*" not in pattern or text)
    pieces = list(AlignedText.of(text).pieces(re.compile(pattern)))

    assert [piece.text for piece in pieces] == re.split(pattern, text)
    for piece in pieces:
        assert "".join(text[start:end] for start, end in spans(piece)) == piece.text
