import pytest

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading
from sovits_serve.frontend.japanese import JapaneseFrontend

FRONTEND = JapaneseFrontend()


def read(text: str, **readings: str) -> list[tuple[str, str]]:
    """Read a text with readings for words of it; give each unit's original text and phonemes."""
    wanted = [
        Reading(text.index(word), text.index(word) + len(word), reading)
        for word, reading in readings.items()
    ]
    units = FRONTEND.phonemize(AlignedText.of(text), wanted).units
    return [(text[unit.start : unit.end], " ".join(unit.phonemes)) for unit in units]


@pytest.mark.parametrize(
    "reading", ["トーキョー", "とーきょー", "ト'ーキョー", "ッテ", "ヴァ", "ん"]
)
def test_kana_is_a_reading(reading: str) -> None:
    """Both kana, the long mark and one accent are allowed."""
    FRONTEND.check_reading("東京", reading)


@pytest.mark.parametrize(
    "reading",
    [
        "",
        "ー",
        "'ア",
        "tokyo",
        "東京",
        "ト キョ",
        "ア'イ'ウ",
        "キ'ャ",
        "ア" * 101,
        "ｱ",
        "ア\0",
        "・",
    ],
)
def test_anything_else_is_refused_by_name(reading: str) -> None:
    """A reading that cannot be read is named in the error."""
    with pytest.raises(InvalidRequest, match="reading"):
        FRONTEND.check_reading("東京", reading)


def test_a_reading_replaces_that_of_its_word_alone() -> None:
    """The neighbours keep their sounds: the particle stays "wa"."""
    assert read("私は学生です。", 私="あたし") == [
        ("私", "a [ t a sh i"),
        ("は", "w a #"),
        ("学生", "g a [ k u s e e"),
        ("です", "d e ] s u"),
        ("。", "."),
    ]


def test_an_accent_is_where_the_reading_says() -> None:
    """The pitch falls after the mora before the accent mark."""
    assert read("箸", 箸="ハ'シ") == [("箸", "h a ] sh i")]
    assert read("私は", 私="わた'し") == [("私", "w a [ t a ] sh i"), ("は", "w a")]


def test_the_accent_of_a_phrase_moves_with_a_longer_word() -> None:
    """A phrase accented after the word keeps its accent there."""
    assert read("学生です", 学生="ガッコーセー")[1] == ("です", "d e ] s u")


def test_a_part_of_a_word_can_have_a_reading() -> None:
    """A range that ends inside a word is read as said, the rest of the word by itself."""
    found = read("東京に行く。", 東="あずま")
    assert found[0][0] == "東"
    assert [p for p in found[0][1].split() if p not in "[]#"] == ["a", "z", "u", "m", "a"]
    assert [place for place, _ in found[1:3]] == ["京", "に"]


def test_marks_and_emoji_can_have_a_reading() -> None:
    """What is no Japanese text is read as said, and keeps its place."""
    found = dict(read("率は3.14と😀です", **{"3.14": "さんてんいちよん", "😀": "ニコ"}))
    assert "t e" in found["3.14"]
    assert found["😀"].startswith("n i")
    assert "です" in found


def test_marks_that_would_vanish_can_have_a_reading() -> None:
    """A mark within a run of marks, of which only the first stays, is read all the same."""
    text = "あ!?!い"
    units = FRONTEND.phonemize(AlignedText.of(text), [Reading(2, 3, "ハテナ")]).units
    assert [unit.phonemes[0] for unit in units if unit.start == 2] == ["h"]


def test_a_part_of_a_number_can_have_a_reading() -> None:
    """Digits are analysed as one word; a reading for some of them splits it."""
    found = read("2023年", **{"23": "ニーサン"})
    assert ("23", "n i [ i s a N") in [(at, said.removesuffix(" #")) for at, said in found]


def test_readings_in_a_long_run_are_not_cut() -> None:
    """A reading holds wherever a text without marks is cut."""
    text = "漢字" * 400
    readings = [Reading(i, i + 3, "ナノ") for i in range(0, 798, 3)]
    units = FRONTEND.phonemize(AlignedText.of(text), readings).units
    said = [[p for p in unit.phonemes if p not in "[]#"] for unit in units]
    assert said[:266] == [["n", "a", "n", "o"]] * 266


def test_long_readings_of_short_words_fit() -> None:
    """A text that grows beyond what the analysis takes at once is read in parts."""
    text = "東京" * 150
    readings = [Reading(i, i + 1, "ナ" * 90) for i in range(0, 300, 2)]
    units = FRONTEND.phonemize(AlignedText.of(text), readings).units
    assert sum(unit.phonemes.count("n") for unit in units) == 150 * 90


def test_a_reading_next_to_a_sign_that_is_read() -> None:
    """Reading signs moves words about; a reading stays where it was said."""
    frontend = JapaneseFrontend(reads_signs=True)
    units = frontend.phonemize(AlignedText.of("¥500です"), [Reading(1, 4, "ナナ")]).units
    assert [p for unit in units if unit.start == 1 for p in unit.phonemes if p == "n"] == ["n", "n"]
