"""The Korean frontend as a whole, against recorded phonemes and on its own."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading, Unit
from sovits_serve.frontend.korean.frontend import KoreanFrontend
from sovits_serve.frontend.symbols import phone_ids, symbol_ids
from tests.golden import DATA

FRONTEND = KoreanFrontend(is_strict=True)


def phonemes(text: str) -> str:
    """Return the phonemes of a text, joined."""
    return "".join(FRONTEND.phonemize(AlignedText.of(text)).phonemes)


def units(text: str, *readings: Reading) -> tuple[Unit, ...]:
    """Return the units of a text."""
    return FRONTEND.phonemize(AlignedText.of(text), readings).units


def _is_korean(item: dict[str, list[dict[str, str]]]) -> bool:
    return [segment["lang"] for segment in item.get("segs", [])] == ["ko"]


def test_recorded_sentences_give_the_recorded_phonemes() -> None:
    """Every recorded Korean sentence has upstream's phonemes and normalised text."""
    recorded = json.loads((DATA / "frontend_clean.json").read_text(encoding="utf-8"))
    items = [item for item in recorded if item["lang"] == "ko"]

    assert len(items) > 100
    for item in items:
        spoken = FRONTEND.phonemize(AlignedText.of(item["text"]))
        assert " ".join(spoken.phonemes) == item["phones"], item["text"]
        assert spoken.normalized == item["norm"]


def test_recorded_segments_give_the_recorded_ids() -> None:
    """Recorded texts of one Korean segment have upstream's phone ids."""
    recorded = json.loads((DATA / "frontend_modes.json").read_text(encoding="utf-8"))
    items = [item for item in recorded if item["version"] == "v2" and _is_korean(item)]

    assert len(items) > 50
    for item in items:
        spoken = FRONTEND.phonemize(AlignedText.of(item["segs"][0]["text"]))
        assert list(phone_ids(spoken.phonemes, "v2")) == item["ids"], item["text"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("신라면을 먹고", "ㅅㅣㄹㄹㅏㅁㅣㅓㄴㅡㄹ空ㅁㅓㄱㄲㅗ."),
        ("12시 30분", "ㅇㅣㅓㄹㄷㅜㅅㅣ空ㅅㅏㅁㅅㅣㅂㅃㅜㄴ."),
        ("K팝!", "ㅋㅔㅇㅣㅍㅏㅂ!"),
        ("ㅋㅋ ㅠㅠ", "ㅋㅋ空ㅣㅜㅣㅜ."),
        ("값을。", "ㄱㅏㅂㅆㅡㄹ."),
        ("물을 라면에", "ㅁㅜㄹㅡㄹ空ㄴㅏㅁㅣㅓㄴㅔ."),
        ("한국(韓國)", "ㅎㅏㄴㄱㅜㄱ停停停停"),
    ],
)
def test_sentences(text: str, said: str) -> None:
    """Letters, numbers, marks, and what has no symbol, as upstream says them."""
    assert phonemes(text) == said


def test_units_are_syllables_with_their_ranges() -> None:
    """Each syllable, blank and mark is a unit that knows where it came from."""
    found = units("5시 값이?")

    assert [(unit.text, unit.start, unit.end) for unit in found] == [
        ("다", 0, 1),
        ("섯", 0, 1),
        ("시", 1, 2),
        (" ", 2, 3),
        ("값", 3, 4),
        ("이", 4, 5),
        ("?", 5, 6),
    ]
    assert found[4].phonemes == ("ㄱ", "ㅏ", "ㅂ")
    assert found[5].phonemes == ("ㅆ", "ㅣ")


def test_ranges_are_of_the_original_text() -> None:
    """A piece from the middle of a text gives ranges of that text."""
    spoken = FRONTEND.phonemize(AlignedText.of("나 BTS", 100))

    assert [(unit.start, unit.end) for unit in spoken.units][-3:] == [(104, 105)] * 2 + [(105, 105)]


def test_a_reading_wins_and_is_left_alone() -> None:
    """A reading replaces its range; no rule works in it or across its borders."""
    found = units("옷 입다가", Reading(0, 4, "온닙따"))

    assert found[0] == Unit("온닙따", tuple("ㅇㅗㄴㄴㅣㅂㄸㅏ"), 0, 4)
    assert [unit.text for unit in found[1:]] == ["가", "."]


def test_a_reading_of_a_number_replaces_all_its_words() -> None:
    """What a number was spelled as goes with it."""
    assert [unit.text for unit in units("21개", Reading(0, 2, "이일"))] == ["이일", "개", "."]


def test_words_around_a_reading_end_there() -> None:
    """The coda before a reading is said as before a pause, not carried over."""
    assert units("옷은", Reading(1, 2, "은"))[0].phonemes == ("ㅇ", "ㅗ", "ㄷ")


@pytest.mark.parametrize("reading", ["익따", "가", "온 닙따"])
def test_hangul_as_it_sounds_is_a_reading(reading: str) -> None:
    """Any number of syllables with codas that can be heard, and blanks."""
    FRONTEND.check_reading("읽다", reading)


@pytest.mark.parametrize(
    ("reading", "wrong"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("ikda", "'i' is no hangul"),
        ("읽따", "ends in ㄺ"),
        ("ㅋ", "'ㅋ'"),
    ],
)
def test_other_readings_are_refused(reading: str, wrong: str) -> None:
    """The message names the reading and what is wrong with it."""
    with pytest.raises(InvalidRequest, match=wrong) as caught:
        FRONTEND.check_reading("읽다", reading)

    assert repr(reading) in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        "\ud800",
        "\x00",
        "가\x00나",
        "ᄀ",
        "😀",
        "싫 ",
        "싫",
        "\u0130",
        "9" * 500 + "개",
        "３개",
    ],
)
def test_any_text_gives_units_inside_it(text: str) -> None:
    """Nothing raises, and every unit has phonemes of the table and a range within the text."""
    found = units(text)

    assert all(unit.phonemes and 0 <= unit.start <= unit.end <= len(text) for unit in found)
    assert {phoneme for unit in found for phoneme in unit.phonemes} <= symbol_ids("v2").keys()


def test_threads_get_the_same() -> None:
    """Several threads may read at once."""
    texts = [f"사과 {i}개를 먹을 것이다, 안 읽고." for i in range(200)]
    alone = [phonemes(text) for text in texts]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(phonemes, texts))

    assert together == alone
