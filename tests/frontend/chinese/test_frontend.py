import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading, Unit
from sovits_serve.frontend.chinese.frontend import ChineseFrontend, split_sentences
from tests.golden import DATA

FRONTEND = ChineseFrontend("v2")
MARKS = "!?…,.-"


class RecordedModel:
    """Gives the readings that a recording has for its sentences, or the dictionary's."""

    def __init__(self, calls: Sequence[dict[str, Any]]) -> None:
        self._pinyin = {call["sentence"]: call["pinyin"] for call in calls}

    def pinyin(self, sentences: Sequence[str]) -> list[list[str]]:
        """Return what was recorded."""
        return [self._pinyin[sentence] for sentence in sentences]


class FixedModel:
    """Reads every character in the same way."""

    def __init__(self, reading: str) -> None:
        self._reading = reading

    def pinyin(self, sentences: Sequence[str]) -> list[list[str]]:
        """Return the reading for everything but marks."""
        return [[c if c in MARKS else self._reading for c in sentence] for sentence in sentences]


def recorded(name: str) -> list[dict[str, Any]]:
    """Return the recorded Chinese cases of a golden file."""
    cases: list[dict[str, Any]] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return [case for case in cases if case.get("lang", "zh") == "zh"]


def said(text: str, *readings: Reading, frontend: ChineseFrontend = FRONTEND) -> str:
    """Return the phonemes of a text."""
    return " ".join(frontend.phonemize(AlignedText.of(text), readings).phonemes)


def with_pauses(units: Sequence[Unit], text: str) -> str:
    """Return phonemes as recorded for a text: a special character makes commas long."""
    comma = "SP2" if "￥" in text else "SP3" if "^" in text else ","
    return " ".join(comma if p == "," else p for unit in units for p in unit.phonemes)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_recorded_sentences_have_upstreams_phonemes(version: str) -> None:
    """Normalised sentences give upstream's phonemes, and as many per character."""
    frontend = ChineseFrontend(version)
    cases = [case for case in recorded("frontend_clean.json") if case["version"] == version]

    different = [
        case["norm"]
        for case in cases
        if (units := frontend.phonemize_normalized(AlignedText.of(case["norm"])))
        and (
            with_pauses(units, case["text"]) != case["phones"]
            or [len(unit.phonemes) for unit in units] != case["word2ph"]
        )
    ]

    assert len(cases) > 100
    assert not different


def test_recorded_readings_of_a_model_give_upstreams_phonemes() -> None:
    """What a polyphone model says passes through the same corrections and sandhi as upstream."""
    cases = recorded("frontend_zh_g2pw_injected.json")

    different = [
        case["norm"]
        for case in cases
        if with_pauses(
            ChineseFrontend(polyphones=RecordedModel(case["g2pw_calls"])).phonemize_normalized(
                AlignedText.of(case["norm"])
            ),
            case["text"],
        )
        != case["phones"]
    ]

    assert len(cases) > 100
    assert not different


def test_whole_sentences_are_read_from_the_written_text() -> None:
    """Normalisation and pronunciation work together."""
    assert said("3个苹果。") == "s an1 g e5 p ing2 g uo3 ."


def test_v1_has_no_erhua() -> None:
    """A joined 儿 takes the tone before it in v2 only."""
    assert said("一点儿", frontend=ChineseFrontend("v1")) == "y i4 d ian3 EE er2"
    assert said("一点儿") == "y i4 d ian3 EE er3"


def test_special_characters_make_commas_pauses() -> None:
    """A yen sign turns all commas into SP2, a caret into SP3, the yen sign first."""
    assert said("你好,￥好") == "n i2 h ao3 SP2 h ao3"
    assert said("好^好,好") == "h ao3 SP3 h ao3 SP3 h ao3"
    assert "SP3" not in said("好^￥好,好")


def test_every_character_has_two_phonemes_and_its_own_origin() -> None:
    """There is one unit per character, from where it was written."""
    result = FRONTEND.phonemize(AlignedText.of("啊，12。", offset=5))

    assert result.normalized == "啊,十二."
    assert [len(unit.phonemes) for unit in result.units] == [2, 1, 2, 2, 1]
    assert [(unit.start, unit.end) for unit in result.units] == [
        (5, 6),
        (6, 7),
        (7, 9),
        (7, 9),
        (9, 10),
    ]


def test_a_model_is_asked_for_all_sentences_but_not_for_v1() -> None:
    """The model reads what the dictionary does not settle; v1 never asks it."""
    model = FixedModel("lv4")

    assert said("行，行", frontend=ChineseFrontend(polyphones=model)) == "l v4 , l v4"
    assert said("行", frontend=ChineseFrontend("v1", polyphones=model)) == said("行")


@pytest.mark.parametrize("reading", ["", "着", "xyz4", "lü9", "！"])
def test_a_reading_that_is_none_falls_back_to_the_dictionary(reading: str) -> None:
    """A model's nonsense never becomes a phoneme."""
    frontend = ChineseFrontend(polyphones=FixedModel(reading))

    assert said("猫", frontend=frontend) == "m ao1"


def test_a_reading_replaces_that_of_its_characters() -> None:
    """The given syllables are said as given, and their neighbours as computed."""
    assert said("在银行", Reading(1, 3, "yin1 xing2")) == "z ai4 y in1 x ing2"
    assert said("女", Reading(0, 1, "nǚ3".replace("ǚ", "ü"))) == "n v3"


def test_a_reading_holds_where_the_normalizer_rewrites() -> None:
    """A character inside a time is found again by what it is."""
    assert said("3点20分", Reading(1, 2, "dian1")) == "s an1 d ian1 EE er4 sh ir2 f en1"


def test_a_reading_of_what_the_normalizer_drops_is_said() -> None:
    """Letters and rare characters have no unit of their own, and get one."""
    text = "买A股和㐂了"

    result = FRONTEND.phonemize(
        AlignedText.of(text), [Reading(1, 3, "ei1 gu3"), Reading(4, 5, "xi3")]
    )

    assert result.normalized == text
    assert " ".join(result.phonemes) == "m ai2 EE ei1 g u3 h e2 x i3 l e5"


def test_letters_may_have_any_number_of_syllables() -> None:
    """The last character takes the syllables that are left."""
    FRONTEND.check_reading("OK", "ou1 kei4 le5")
    result = FRONTEND.phonemize(AlignedText.of("好OK"), [Reading(1, 3, "ou1 kei4 le5")])

    assert [len(unit.phonemes) for unit in result.units] == [2, 2, 4]


@pytest.mark.parametrize("reading", ["yin2 hang2", "YIN2  hang2", "lü4 lu:4", "lv4 jv2"])
def test_possible_readings_are_accepted(reading: str) -> None:
    """One syllable with a tone digit for each character is a reading."""
    FRONTEND.check_reading("银行", reading)


@pytest.mark.parametrize(
    ("reading", "complaint"),
    [
        ("", "empty"),
        ("yin2", "1 syllables for 2 characters"),
        ("yin2 hang", "'hang' is no Mandarin syllable"),
        ("yin2 hang6", "'hang6' is no Mandarin syllable"),
        ("yin2 xyz1", "'xyz1' is no Mandarin syllable"),
        ("ngan4 hong4", "'ngan4' is no Mandarin syllable"),
    ],
)
def test_impossible_readings_are_refused_by_name(reading: str, complaint: str) -> None:
    """The error names what is wrong and shows what a reading looks like."""
    with pytest.raises(InvalidRequest, match=complaint) as caught:
        FRONTEND.check_reading("银行", reading)

    assert "pinyin" in caught.value.message


def test_there_must_be_something_to_read() -> None:
    """A reading of marks alone is refused."""
    with pytest.raises(InvalidRequest, match="nothing to read"):
        FRONTEND.check_reading("，。", "dou4")


def test_threads_share_what_is_loaded() -> None:
    """Many threads at once get what one gets."""
    texts = [f"第{i}个人不会说一句话。" for i in range(40)]
    alone = [said(text) for text in texts]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(said, texts))

    assert together == alone


def test_sentences_end_behind_their_mark() -> None:
    """A polyphone model gets one sentence per mark, the mark included."""
    assert split_sentences("你好,世界.啊") == ["你好,", "世界.", "啊"]
    assert split_sentences("") == []


@given(
    st.text(
        alphabet=st.one_of(st.characters(), st.sampled_from("一不儿个了好的3￥^，龘")), max_size=30
    )
)
@settings(max_examples=300, deadline=None)
def test_any_text_has_phonemes_or_none(text: str) -> None:
    """Nothing raises, and every range lies inside the text."""
    result = FRONTEND.phonemize(AlignedText.of(text))

    assert all(0 <= unit.start <= unit.end <= len(text) for unit in result.units)
    assert result.normalized == "".join(unit.text for unit in result.units)


@given(
    st.lists(
        st.one_of(st.sampled_from("一不儿个了好的了是我去你马嗯龘"), st.sampled_from(MARKS)),
        max_size=40,
    ),
    st.sampled_from(["v1", "v2"]),
)
@settings(max_examples=200, deadline=None)
def test_any_characters_have_one_unit_each(characters: list[str], version: str) -> None:
    """Whatever is merged and changed, each character keeps its two phonemes, each mark its one."""
    units = ChineseFrontend(version).phonemize_normalized(AlignedText.of("".join(characters)))

    assert [unit.text for unit in units] == characters
    assert all(len(unit.phonemes) == (1 if unit.text in MARKS else 2) for unit in units)
