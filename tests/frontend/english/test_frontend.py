"""The English frontend as a whole."""

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading
from sovits_serve.frontend.english.frontend import EnglishFrontend
from sovits_serve.frontend.symbols import symbol_ids
from tests.golden import DATA


def _nouns(words: Sequence[str]) -> list[str]:
    return ["NN"] * len(words)


@pytest.fixture(scope="module")
def strict() -> EnglishFrontend:
    """Return a frontend that does as upstream did when the goldens were recorded."""
    return EnglishFrontend(_nouns, is_strict=True)


@pytest.fixture(scope="module")
def frontend() -> EnglishFrontend:
    """Return the frontend of the product."""
    return EnglishFrontend()


def _goldens() -> list[dict[str, str]]:
    items = json.loads((DATA / "frontend_clean.json").read_text())
    return [item for item in items if item["lang"] == "en"]


def test_every_golden_is_reproduced(strict: EnglishFrontend) -> None:
    """Normalised text and phonemes are upstream's, for every recorded text."""
    wrong = []
    for item in _goldens():
        ours = strict.phonemize(AlignedText.of(item["text"]))
        if ours.normalized != item["norm"] or " ".join(ours.phonemes) != item["phones"]:
            wrong.append(item["text"])

    assert wrong == []


def test_every_english_segment_of_the_modes_is_reproduced(strict: EnglishFrontend) -> None:
    """Segments found in mixed text are normalised as upstream does, with as many phonemes."""
    items = json.loads((DATA / "frontend_modes.json").read_text())
    segments = [seg for item in items for seg in item.get("segs", ()) if seg["lang"] == "en"]
    wrong = []
    for segment in segments:
        ours = strict.phonemize(AlignedText.of(segment["text"]))
        if (ours.normalized, len(ours.phonemes)) != (segment["norm"], segment["n_phones"]):
            wrong.append(segment["text"])

    assert len(segments) > 100
    assert wrong == []


def test_units_name_the_range_they_came_from(frontend: EnglishFrontend) -> None:
    """Each word and mark maps to the original, both words of "$5" to the whole of it."""
    units = frontend.phonemize(AlignedText.of("Only $5, AWS!")).units

    assert [(unit.text, unit.start, unit.end) for unit in units] == [
        ("Only", 0, 4),
        ("five", 5, 7),
        ("dollars", 5, 7),
        (",", 7, 8),
        ("A", 9, 10),
        ("W", 10, 11),
        ("S", 11, 12),
        ("!", 12, 13),
    ]


def test_ranges_count_from_the_start_of_the_original(frontend: EnglishFrontend) -> None:
    """A piece of a longer text gives ranges of that text."""
    unit = frontend.phonemize(AlignedText.of("wonderful", 30)).units[0]

    assert (unit.start, unit.end) == (30, 39)


@pytest.mark.parametrize("text", ["", " ", "a", "A!", "\u4f60\u597d"])
def test_very_short_texts_begin_with_a_comma(frontend: EnglishFrontend, text: str) -> None:
    """Fewer than four phonemes get a comma before them, as upstream gives them."""
    assert frontend.phonemize(AlignedText.of(text)).phonemes[0] == ","


def test_a_reading_replaces_the_words_of_its_range(frontend: EnglishFrontend) -> None:
    """The phonemes of a range are those asked for; the words around keep theirs."""
    reading = Reading(2, 8, "T AH0 M AA1 T OW0")
    units = frontend.phonemize(AlignedText.of("A tomato, please."), [reading]).units

    assert units[1].phonemes == ("T", "AH0", "M", "AA1", "T", "OW0")
    assert (units[1].text, units[1].start, units[1].end) == ("tomato", 2, 8)
    assert [unit.text for unit in units] == ["A", "tomato", ",", "please", "."]


def test_a_reading_may_cover_several_words_or_none(frontend: EnglishFrontend) -> None:
    """One unit stands for all words of the range, and speaks where nothing could be read."""
    text = AlignedText.of("It costs $20 \u4f60\u597d now")
    readings = [Reading(9, 12, "T W EH1 N"), Reading(13, 15, "n iy hh aw1")]
    said = [" ".join(unit.phonemes) for unit in frontend.phonemize(text, readings).units]

    assert said[2:] == ["T W EH1 N", "N IY0 HH AW1", "N AW1"]


@pytest.mark.parametrize("reading", ["T AH0 M EY1 T OW0", "t ow2", "AA", "ZH"])
def test_arpabet_is_a_possible_reading(frontend: EnglishFrontend, reading: str) -> None:
    """Stress may be left out and case does not matter."""
    frontend.check_reading("tomato", reading)


@pytest.mark.parametrize(
    ("reading", "named"),
    [("T XX1", "'XX1'"), ("T1", "'T1'"), ("AA3", "'AA3'"), ("", "empty"), ("T " * 101, "101")],
)
def test_other_readings_are_refused_by_name(
    frontend: EnglishFrontend, reading: str, named: str
) -> None:
    """The message names the symbol that is wrong and the word."""
    with pytest.raises(InvalidRequest, match=named) as caught:
        frontend.check_reading("tomato", reading)

    assert "'tomato'" in caught.value.message


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(), max_size=60)
    | st.text("aZ '1$.,-/@:%(\u00e9\u2019\ud800\x00", max_size=40)
)
def test_any_text_is_taken(text: str) -> None:
    """No text raises; phonemes are in the table and ranges within the text, in order."""
    for frontend in (_PRODUCT, _STRICT):
        units = frontend.phonemize(AlignedText.of(text)).units
        starts = [unit.start for unit in units]

        assert starts == sorted(starts)
        assert all(0 <= unit.start <= unit.end <= len(text) for unit in units)
        assert {p for unit in units for p in unit.phonemes} <= symbol_ids("v1").keys()


_PRODUCT, _STRICT = EnglishFrontend(), EnglishFrontend(is_strict=True)


def test_nothing_heavy_is_imported() -> None:
    """Known and unknown words are read without the packages whose data is used."""
    script = (
        "import sys\n"
        "from sovits_serve.frontend.aligned_text import AlignedText\n"
        "from sovits_serve.frontend.english.frontend import EnglishFrontend\n"
        "EnglishFrontend().phonemize(AlignedText.of('Hello blorptastic world.'))\n"
        "heavy = {'torch', 'transformers', 'nltk', 'g2p_en', 'pronouncing', 'wordsegment', 'inflect'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
