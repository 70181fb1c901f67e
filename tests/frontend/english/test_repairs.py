"""What the product says where upstream drops, glues or misreads."""

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.english.normalization import normalize
from sovits_serve.frontend.english.repairs import repair


def _words(text: str) -> str:
    return " ".join(normalize(repair(AlignedText.of(text)), is_strict=False).text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don\u2019t go\u2014it\u2019s late; wait\u2026", "Don't go, it's late, wait."),
        ("Good - bad -- ugly", "Good, bad, ugly"),
        ("5 - 3 and x - y", "five minus three and x minus y"),
        ("AT&T", "A T and T"),
        ("C++, C# and F#", "C plus plus, C sharp and F sharp"),
        ("and/or [this](that)", "and or this that"),
        ("one\ntwo\tthree", "one two three"),
        ("Stra\u00dfe, \u00c6r\u00f8, \u0141\u00f3d\u017a", "Strasse, Aero, Lodz"),
        ("\u03b1 and \u03a9", "alpha and omega"),
        ("\uff21\uff22\uff11\uff12", "A B twelve"),
        ("2\u00bd cups", "two and one half cups"),
        ("at 30\u2103", "at thirty degrees celsius"),
        ("say\u4f60\u597dhello", "say hello"),
    ],
)
def test_signs_are_read_or_part_words(text: str, words: str) -> None:
    """No sign glues two words, and signs that people read are read."""
    assert _words(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3:30 PM", "three thirty P M"),
        ("at 9:05 a.m.", "at nine oh five A M."),
        ("7am, 3 p.m. sharp", "seven A M, three P M sharp"),
        ("12/25/2023", "December twenty-fifth, twenty twenty-three"),
        ("2023-02-01", "February first, twenty twenty-three"),
        ("99/99/2023", "ninety-nine ninety-nine twenty twenty-three"),
        ("the 1990s and '80s", "the nineteen nineties and eighties"),
        (
            "$5 million, \u20ac20, 300\u00a5",
            "five million dollars, twenty euros, three hundred yen",
        ),
        ("13.3km/h and 1 kg", "thirteen point three kilometers per hour and one kilogram"),
        ("v1.2.3", "v one point two point three"),
        (
            "1,2,3 or 1,234.5",
            "one, two, three or one thousand, two hundred thirty-four point five",
        ),
        ("3:2", "three to two"),
        ("It's -5", "It's negative five"),
        ("It was 1969. 5 left", "It was nineteen sixty-nine. five left"),
    ],
)
def test_amounts_are_read_as_people_do(text: str, words: str) -> None:
    """Times, dates, money, measures and lists of numbers."""
    assert _words(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dr. Lee vs. Mr. Fox, etc.", "Doctor Lee versus Mister Fox, et cetera."),
        ("St. John, Main St.", "Saint John, Main street."),
        ("No. 5", "number five"),
        ("He said no. Then", "He said no. Then"),
        ("World War II, Chapter IV", "World War two, Chapter four"),
        ("me@x.co.uk!", "me at x dot co dot uk!"),
        ("See https://www.example.com/a-b.", "See W W W dot example dot com slash a dash b."),
        ("example.com", "example dot com"),
    ],
)
def test_abbreviations_and_addresses_are_written_out(text: str, words: str) -> None:
    """Titles, Roman numerals, mail and web addresses."""
    assert _words(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "It was a bright cold day in April, and the clocks were striking thirteen.",
        "\"Why did you go?\" she asked. 'I had to,' he said; that's all.",
        "Well-known authors' books aren't cheap, are they?",
        "I paid $20 on May 3rd, 45% of it in cash.",
    ],
)
def test_plain_text_is_left_alone(text: str) -> None:
    """Repairs touch nothing of plain text but the marks that upstream drops."""
    strict = normalize(AlignedText.of(text)).text

    assert _words(text).replace(",", "") == " ".join(strict.split()).replace(",", "")


def test_repaired_words_keep_their_ranges() -> None:
    """A word that a repair wrote comes from the sign it stands for."""
    fixed = repair(AlignedText.of("salt&pepper"))
    start = fixed.text.index("and")

    assert fixed.origin(start, start + 3) == (4, 5)


@pytest.mark.parametrize(
    "piece", ["/", "; ", "-", " - ", "a.", "a@", "1:1:", "_", "Mr. ", "St ", "1.1."]
)
def test_long_runs_of_one_piece_are_taken(piece: str) -> None:
    """What would make a backtracking pattern run for hours is done at once."""
    text = repair(AlignedText.of(piece * 15_000))

    assert len(text.text) == len(text.starts) == len(text.ends)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("See you at 8:30 tonight", "See you at eight thirty tonight"),
        ("15:30 or 0:15", "three thirty P M or twelve fifteen A M"),
        ("1:23:45", "one twenty-three forty-five"),
        (
            "for $1,199.99",
            "for one thousand, one hundred ninety-nine dollars and ninety-nine cents",
        ),
        ("(555) 123-4567", "five five five, one two three, four five six seven"),
        ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
        (
            "agent 007, 0800 123 456",
            "agent zero zero seven, zero eight zero zero, one two three, four five six",
        ),
        ("open 24/7, split 50/50, 3/4", "open twenty-four seven, split fifty fifty, three fourths"),
        ("10-15 minutes, won 3-1", "ten to fifteen minutes, won three to one"),
        ("$5-10 or 20%-30%", "five to ten dollars or twenty percent to thirty percent"),
        ("100% -3%", "one hundred percent negative three percent"),
        (
            "555-1234, 1-2-3, 10-5=5",
            "five hundred fifty-five-twelve thirty-four, one-two-three, ten-five equals five",
        ),
        ("99\u00a2 and .5", "ninety-nine cents and zero point five"),
        ("an iPhone 5s and an A6L", "an i Phone five s and an A six L"),
        ("Henry VIII, Malcolm X", "Henry the eighth, Malcolm X"),
        ("a >= 3, x < 5 and I <3 you", "a is at least three, x is less than five and I you"),
        ("PPT\u30015G, QQ\uff1a123", "P P T, five G, Q Q, one hundred twenty-three"),
    ],
)
def test_what_people_write_every_day_is_said_as_they_say_it(text: str, words: str) -> None:
    """Times without a.m., prices, telephone numbers, pairs and ranges; no mark glues words."""
    assert _words(text).replace(",", ", ").replace(",  ", ", ") == words
