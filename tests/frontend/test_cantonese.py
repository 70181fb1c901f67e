"""Tests of the Cantonese frontend against recorded upstream data, and of what it does better."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Phonemization, Reading
from sovits_serve.frontend.cantonese import CantoneseFrontend, spell
from sovits_serve.frontend.chinese.normalization.repairs import repair
from sovits_serve.frontend.symbols import symbol_ids
from tests.golden import DATA

IDS = symbol_ids("v2")


def phonemize(text: str, *readings: Reading, is_strict: bool = False) -> Phonemization:
    """Read a text with a new frontend."""
    return CantoneseFrontend(is_strict=is_strict).phonemize(AlignedText.of(text), readings)


def recorded() -> Iterator[dict[str, object]]:
    """Yield what upstream made of Cantonese sentences."""
    for case in json.loads((DATA / "frontend_clean.json").read_text(encoding="utf-8")):
        if case["lang"] == "yue" and "error" not in case:
            yield case


def recorded_segments() -> Iterator[dict[str, object]]:
    """Yield what upstream made of the Cantonese parts of mixed texts."""
    for case in json.loads((DATA / "frontend_modes.json").read_text(encoding="utf-8")):
        for segment in case.get("segs") or ():
            if segment["lang"] == "yue":
                yield segment


@pytest.mark.parametrize("case", list(recorded()), ids=lambda case: case["text"][:12])
def test_strict_reading_equals_upstream(case: dict[str, object]) -> None:
    """Normalised text, ids and phonemes per character are those that upstream made."""
    made = phonemize(str(case["text"]), is_strict=True)

    assert made.normalized == case["norm"]
    assert [IDS.get(phoneme, IDS["UNK"]) for phoneme in made.phonemes] == case["ids"]
    assert [len(unit.phonemes) for unit in made.units] == case["word2ph"]


def test_default_reading_differs_only_where_upstream_is_wrong() -> None:
    """Only sentences with "UNK", or with numbers that are repaired, are read otherwise."""
    different = [
        case
        for case in recorded()
        if " ".join(phonemize(str(case["text"])).phonemes) != case["phones"]
    ]

    texts = [AlignedText.of(str(case["text"])) for case in different]
    assert different
    assert all(
        "UNK" in str(case["phones"]) or repair(text) is not text
        for case, text in zip(different, texts, strict=True)
    )


def test_segments_of_mixed_texts_equal_upstream() -> None:
    """Cantonese segments of recorded texts in all modes have upstream's normalised text."""
    for segment in recorded_segments():
        made = phonemize(str(segment["text"]), is_strict=True)

        assert made.normalized == segment["norm"]
        assert [len(unit.phonemes) for unit in made.units] == segment["word2ph"]


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("係㗎", "Yh Yai6 Yg Yaa3"),
        ("搭𨋢", "Yd Yaap3 Yl Yip1"),
        ("二〇二三", "Yj Yi6 Yl Ying4 Yj Yi6 Ys Yaam1"),
        ("卅年", "Ys Yaa1 Yaa Ya6 Yn Yin4"),
        ("錢罌", "Yc Yin4 Yng Yaang1"),
        ("打噎", "Yd Yaa2 Yj Yik1"),
    ],
)
def test_what_upstream_drops_or_cannot_spell_is_read(text: str, phonemes: str) -> None:
    """Characters beyond U+9FA5, of two syllables, or of rare syllables are spoken."""
    assert " ".join(phonemize(text).phonemes) == phonemes


def test_every_ideograph_with_a_reading_is_spelt_in_the_table() -> None:
    """No ideograph that upstream keeps has a phoneme the table lacks."""
    text = "".join(map(chr, range(0x4E00, 0x9FA6)))

    made = phonemize(text)

    assert {phoneme for phoneme in made.phonemes if phoneme not in IDS} == set()
    assert sum(not unit.phonemes for unit in made.units) == 0


@pytest.mark.parametrize(
    ("syllable", "phonemes"),
    [
        ("ngo5", ("Yng", "Yo5")),
        ("ng5", ("Yng", "Yg5")),
        ("m4", ("Ym", "Ym4")),
        ("aa3", ("Yaa", "Ya3")),
        ("oi3", ("Yoi", "Yi3")),
        ("gwok3", ("Ygw", "Yok3")),
        ("deu6", ("Yd", "Yiu6")),
        ("coet1", ("Yc", "Yeot1")),
        ("ong1", ("Yng", "Yong1")),
    ],
)
def test_a_syllable_becomes_two_phonemes(syllable: str, phonemes: tuple[str, str]) -> None:
    """A syllable is split as upstream does, or as its nearest neighbour in the table."""
    assert spell(syllable) == phonemes


def test_each_unit_knows_where_it_comes_from() -> None:
    """The range of a unit is that of the characters it was normalised from."""
    text = "我「買」咗150蚊。"

    made = phonemize(text)

    assert [(unit.text, text[unit.start : unit.end]) for unit in made.units] == [
        ("我", "我"),
        ("买", "買"),
        ("咗", "咗"),
        ("幺", "1"),
        ("五", "5"),
        ("零", "0"),
        ("蚊", "蚊"),
        (".", "。"),
    ]


def test_normalized_text_is_that_of_the_units() -> None:
    """The units put together are the normalised text."""
    made = phonemize("佢話：「我有50%，OK？」")

    assert made.normalized == "".join(unit.text for unit in made.units) == "佢话,我有百分之五十,?"


def test_a_reading_replaces_the_phonemes_of_its_range_only() -> None:
    """The characters of the range are read as wished, all others as before."""
    made = phonemize("長大，長城。", Reading(3, 5, "zoeng2 sing4"))

    assert " ".join(made.phonemes) == "Yz Yoeng2 Yd Yaai6 , Yz Yoeng2 Ys Ying4 ."


def test_a_reading_leaves_marks_in_its_range() -> None:
    """A mark inside the range stays a mark, and takes no syllable."""
    made = phonemize("行，行", Reading(0, 3, "hong4 hang4"))

    assert " ".join(made.phonemes) == "Yh Yong4 , Yh Yang4"


def test_the_last_character_takes_the_syllables_that_are_left() -> None:
    """A range that normalises to fewer characters than syllables loses none."""
    made = phonemize("有9個", Reading(1, 2, "gau2 gau2"))

    assert " ".join(made.phonemes) == "Yj Yau5 Yg Yau2 Yg Yau2 Yg Yo3"


def test_a_reading_of_a_word_that_normalising_drops_is_spoken() -> None:
    """A Latin word with a reading has a unit of its own, in its place."""
    made = phonemize("用WiFi上網", Reading(1, 5, "waai1 faai1"))

    assert made.normalized == "用WiFi上网"
    assert made.units[1].phonemes == ("Yw", "Yaai1", "Yf", "Yaai1")
    assert (made.units[1].start, made.units[1].end) == (1, 5)


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("銀行", "ngan4 hong4"),
        ("行，行", "hong4 hang4"),
        ("卅", "saa1 aa6"),
        ("掉", "deu6"),
        ("WiFi", "waai1 faai1"),
        ("3個", "saam1 go3"),
    ],
)
def test_jyutping_for_each_character_is_accepted(text: str, reading: str) -> None:
    """One syllable for each character is right; for other text any number is."""
    CantoneseFrontend().check_reading(text, reading)


@pytest.mark.parametrize(
    ("text", "reading", "problem"),
    [
        ("行", "hang", "'hang'"),
        ("行", "hang7", "'hang7'"),
        ("行", "xing2", "'xing2'"),
        ("行", "ik", "'ik'"),
        ("行", "Y6", "'Y6'"),
        ("行", "a" * 99 + "1", "not a syllable"),
        ("銀行", "ngan4", "1 syllables"),
        ("行", "ngan4 hong4", "2 syllables"),
        ("行", "", "0 syllables"),
    ],
)
def test_what_is_no_reading_is_refused(text: str, reading: str, problem: str) -> None:
    """The message names the syllable, or how many there are."""
    with pytest.raises(InvalidRequest, match=problem):
        CantoneseFrontend().check_reading(text, reading)


@pytest.mark.parametrize("text", ["", " ", "\ud800", "\0", "😀", "hello", "\u0301" * 9, "讠", "艹"])
def test_text_without_words_gives_nothing(text: str) -> None:
    """What cannot be spoken is left out, without an error."""
    assert phonemize(text) == Phonemization("", ())


@pytest.mark.parametrize("text", [".", "㗎", "中國人民"])
def test_long_text_is_read_to_its_end(text: str) -> None:
    """A hundred thousand characters are read; the last unit is from the end of the text."""
    made = phonemize(text * (100_000 // len(text)))

    assert not made.units or made.units[-1].end == 100_000


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.one_of(st.characters(), st.sampled_from("係㗎𨋢卅10.,。「」-~年月%$")), max_size=40)
)
def test_any_text_can_be_read(text: str) -> None:
    """Any text gives phonemes of the table, one unit for each character, or nothing."""
    made = phonemize(text)

    assert set(made.phonemes) <= IDS.keys()
    assert len(made.units) == len(made.normalized)
