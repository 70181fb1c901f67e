import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Phonemization
from sovits_serve.frontend.japanese import JapaneseFrontend
from sovits_serve.frontend.symbols import symbol_ids
from tests.golden import DATA

FRONTEND = JapaneseFrontend()


def read(text: str, offset: int = 0) -> Phonemization:
    """Read a text that begins at an offset of the original."""
    return FRONTEND.phonemize(AlignedText.of(text, offset))


def phonemes(text: str) -> str:
    """Return the phonemes of a text, joined."""
    return " ".join(read(text).phonemes)


def spans(text: str) -> list[tuple[str, str]]:
    """Return each unit's original text and phonemes."""
    return [(text[unit.start : unit.end], " ".join(unit.phonemes)) for unit in read(text).units]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_recorded_sentences_are_read_as_upstream_does(version: str) -> None:
    """Every recorded Japanese text gives upstream's normalised text and phonemes."""
    known = symbol_ids(version)
    cases = json.loads((DATA / "frontend_clean.json").read_text(encoding="utf-8"))
    wrong = []
    for case in cases:
        if case["lang"] == "ja" and case["version"] == version:
            found = read(case["text"])
            said = " ".join(p if p in known else "UNK" for p in found.phonemes)
            if (found.normalized, said) != (case["norm"], case["phones"]):
                wrong.append((case["text"], case["phones"], said))
    assert wrong == []


def test_recorded_segments_have_as_many_phonemes_as_upstream_gave() -> None:
    """Every recorded Japanese segment gives upstream's text and number of phonemes."""
    cases = json.loads((DATA / "frontend_modes.json").read_text(encoding="utf-8"))
    segments = {
        (segment["text"], segment["norm"], segment["n_phones"])
        for case in cases
        for segment in case.get("segs", ())
        if segment["lang"] == "ja"
    }
    assert len(segments) > 100
    for text, normalized, num_phones in segments:
        found = read(text)
        assert (found.normalized, len(found.phonemes)) == (normalized, num_phones)


def test_prosody_marks_stand_after_the_vowel_they_follow() -> None:
    """Rise, fall and phrase end belong to the word whose vowel comes before them."""
    assert spans("橋を渡る。") == [
        ("橋", "h a [ sh i ]"),
        ("を", "o #"),
        ("渡る", "w a [ t a r u"),
        ("。", "."),
    ]


def test_what_cannot_be_read_pauses_between_words() -> None:
    """A Han character without a reading is a pause, with its own place in the text."""
    assert ("习了", "_") in spans("我今天学习了Python")


def test_a_number_is_one_unit() -> None:
    """All phonemes of a number come from its digits, though the analysis inserts words."""
    units = [unit for unit in read("人口は2500人です").units if unit.text == "2500"]
    assert [(unit.start, unit.end) for unit in units] == [(3, 7)]
    assert units[0].phonemes[:4] == ("n", "i", "[", "s")


def test_latin_letters_are_read_by_name_and_keep_their_range() -> None:
    """Letters are read in any case, and their range is that of the original."""
    assert spans("ＡＩとUSB")[0] == ("ＡＩ", "e [ e a i")
    assert phonemes("usb") == phonemes("USB")


def test_the_full_width_percent_sign_is_read() -> None:
    """The sign that upstream spells out keeps its place."""
    assert ("％", "p a [ a s e ] N t o") in spans("五、％")


def test_marks_are_replaced_and_unknown_ones_kept() -> None:
    """Full width marks become ASCII; others stay, for the pipeline to judge; blanks vanish."""
    assert phonemes("あ、い。う！ え？♪") == "a , i . u ! e ? ♪"


def test_repeated_ascii_marks_become_the_first() -> None:
    """A run of ASCII marks keeps the first; full width runs stay."""
    found = read("あ!?!。。")
    assert found.normalized == "あ!。。"
    assert found.phonemes == ("a", "!", ".", ".")


def test_offsets_of_the_original_are_kept() -> None:
    """Ranges count from the offset of the aligned text."""
    assert [(unit.start, unit.end) for unit in read("猫、犬", 10).units] == [
        (10, 11),
        (11, 12),
        (12, 13),
    ]


@pytest.mark.parametrize("text", ["", " ", "ー", "习", "\n\t", "々"])
def test_text_without_a_word_gives_no_vowel(text: str) -> None:
    """Nothing is said for what holds nothing to say."""
    assert not set("aiueo") & set(read(text).phonemes)


@pytest.mark.parametrize(
    "nasty",
    [*"ぁアｱ漢1aw々・ッー%％İ", "\0", "\ud800", "😀", "가", "٣", "𝟙", "ヴァ", "\u3099", "十百"],
)
def test_long_runs_do_not_overrun_the_library(nasty: str) -> None:
    """A text without a mark is cut before the analysis: its buffers end the process if overrun."""
    text = nasty * 4000
    units = read(text).units
    assert all(0 <= unit.start < unit.end <= len(text) for unit in units)


def test_a_long_run_is_cut_where_a_word_ends() -> None:
    """Cutting a long sentence without marks changes no word of it."""
    sentence = "私は学校に行きました"
    words = [said.replace(" #", "") for _, said in spans(sentence)]
    found = [said.replace(" #", "") for _, said in spans(sentence * 50)]
    assert found == words * 50


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_gives_units_in_order_within_it(text: str) -> None:
    """Whatever the text, units have phonemes, and ranges that do not run backwards."""
    units = read(text).units
    assert all(unit.phonemes and 0 <= unit.start < unit.end <= len(text) for unit in units)
    assert [unit.start for unit in units] == sorted(unit.start for unit in units)


@settings(max_examples=300, deadline=None)
@given(st.text("あいキョーッン漢字時二0１2三十千万・年a々ゞ、", max_size=60))
def test_japanese_mixtures_give_units_in_order(text: str) -> None:
    """Numbers and kana in any order keep their places."""
    units = read(text).units
    assert all(unit.phonemes and 0 <= unit.start < unit.end <= len(text) for unit in units)
    assert [unit.start for unit in units] == sorted(unit.start for unit in units)


def test_threads_do_not_disturb_each_other() -> None:
    """Many threads get what one gets."""
    texts = [f"これは{i}番目の文章です。" for i in range(40)] * 3
    alone = [read(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, texts)) == alone


def test_warm_up_loads_what_reading_needs() -> None:
    """A warmed frontend reads as one that was not."""
    frontend = JapaneseFrontend()
    frontend.warm_up()
    assert frontend.phonemize(AlignedText.of("猫")) == read("猫")
