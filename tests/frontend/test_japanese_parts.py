import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.japanese import JapaneseFrontend
from sovits_serve.frontend.japanese.alignment import word_ranges
from sovits_serve.frontend.japanese.kana import mora_phonemes, morae
from sovits_serve.frontend.japanese.legible import legible
from sovits_serve.frontend.japanese.prosody import Word, word_phonemes
from sovits_serve.frontend.japanese.text import chunks


def said(*words: tuple[str, int, bool]) -> list[str]:
    """Return the phonemes of words given as kana, accent and whether they are chained."""
    made = [Word(kana, accent, chained, 0, 1) for kana, accent, chained in words]
    return [" ".join(phonemes) for phonemes in word_phonemes(made)]


@pytest.mark.parametrize(
    ("mora", "phonemes"),
    [
        ("ア", "a"), ("シ", "sh i"), ("ヅ", "z u"), ("キャ", "ky a"), ("ジェ", "j e"), ("フィ", "f i"),
        ("ティ", "t i"), ("デュ", "dy u"), ("ヴョ", "by o"), ("ヴ", "v u"), ("ウォ", "w o"),
        ("イェ", "y e"), ("クヮ", "kw a"), ("ヂ", "j i"), ("ッ", "cl"), ("ン", "N"), ("ヲ", "o"),
    ],
)  # fmt: skip
def test_morae_have_their_phonemes(mora: str, phonemes: str) -> None:
    """One or two kana make a consonant and a vowel."""
    assert " ".join(mora_phonemes(mora)) == phonemes


def test_pronunciations_split_into_morae() -> None:
    """Pairs are one mora, marks of unvoiced vowels none, and what is no kana ends it."""
    assert morae("シャシ’ンー") == ("シャ", "シ", "ン", "ー")
    assert morae("ヂャァ、ア") == ("ヂ", "ャ", "ァ")


def test_pitch_rises_after_the_first_mora_and_falls_after_the_accent() -> None:
    """Accents 0, 1 and 3 of a word with a particle."""
    assert said(("サクラ", 0, False), ("ガ", 0, True)) == ["s a [ k u r a", "g a"]
    assert said(("ネコ", 1, False), ("ガ", 0, True)) == ["n e ] k o", "g a"]
    assert said(("オトコ", 3, False), ("ガ", 0, True)) == ["o [ t o k o ]", "g a"]


def test_phrases_end_with_a_mark_and_pauses_need_words_around_them() -> None:
    """A phrase mark joins phrases; pauses at the ends and repeated ones are dropped."""
    words = [
        ("、", 0, False),
        ("ア", 1, False),
        ("イ", 1, False),
        ("、", 0, False),
        ("？", 0, False),
    ]
    assert said(*words, ("ウ", 1, False), ("、", 0, False)) == ["", "a #", "i", "_", "", "u", ""]


def test_a_long_vowel_lengthens_what_came_before() -> None:
    """The long mark copies the last phoneme, across words too, but not across a pause."""
    assert said(("ー", 0, False), ("ア", 0, False), ("ー", 0, False)) == ["", "a [", "a"]
    assert said(("ア", 0, False), ("、", 0, False), ("ーイ", 0, False)) == ["a", "_", "i"]


def test_nothing_changes_beyond_the_longest_countable_phrase() -> None:
    """An accent on mora 49 and later cannot be seen in labels."""
    assert "]" in said(("ア" * 60, 48, False))[0]
    assert "]" not in said(("ア" * 60, 49, False))[0]


def test_inserted_words_share_the_range_between_their_neighbours() -> None:
    """Places of a number come from all of its digits."""
    assert word_ranges(["二", "十", "三", "年"], "２３年") == [(0, 2), (0, 2), (0, 2), (2, 3)]
    assert word_ranges(["第", "二", "十"], "第２０") == [(0, 1), (1, 3), (1, 3)]


def test_words_that_cannot_be_found_lean_on_a_neighbour() -> None:
    """Every word has some range, whatever its spelling."""
    assert word_ranges(["あ", "X", "い"], "あい") == [(0, 1), (0, 1), (1, 2)]
    assert word_ranges(["X"], "あい") == [(0, 2)]


def test_chunks_end_after_hiragana_and_spare_what_is_whole() -> None:
    """A chunk ends where a word does; a protected range is not cut."""
    text = "あ漢字を書く人"
    assert list(chunks(text, 5)) == [(0, 4), (4, 7)]
    assert list(chunks("字" * 7, 4)) == [(0, 4), (4, 7)]
    assert list(chunks("字" * 7, 4, [(3, 5)])) == [(0, 3), (3, 7)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("湿度50%", "湿度50パーセント"),
        ("-3.5℃", "マイナス3・5度"),
        ("¥1,500か$2.5億", "1500円か2・5億ドル"),
        ("二〇二三年〇月", "二０二三年〇月"),
        ("ﾃﾞｼﾞ", "デジ"),
        ("第Ⅲ章と③", "第3章と3"),
        ("3日〜5日", "3日から5日"),
        ("2024.5.1や1.2.3", "2024.5.1や1.2.3"),
        ("みすゞとこゝろ", "みすずとこころ"),
        ("㎡と㎞と\ufa19", "平方メートルとkmと神"),
    ],
)
def test_signs_become_words_if_asked(text: str, expected: str) -> None:
    """What upstream drops is written so that it can be read."""
    assert legible(AlignedText.of(text)).text == expected


@pytest.mark.parametrize("worst", ["1", "1.", "1,", "1,111", "¥1", "¥", "〇", "%", "ｶﾞ", "ゝ", "-1"])
def test_legible_is_linear(worst: str) -> None:
    """The worst text for a pattern takes no longer than another: quadratic would time out."""
    assert legible(AlignedText.of(worst * (100_000 // len(worst)))).text


def test_signs_are_read_and_keep_their_place() -> None:
    """The phonemes of a sign come from the sign."""
    units = JapaneseFrontend(reads_signs=True).phonemize(AlignedText.of("約5%です")).units
    assert [(unit.start, unit.end) for unit in units if "p" in unit.phonemes] == [(2, 3)]
