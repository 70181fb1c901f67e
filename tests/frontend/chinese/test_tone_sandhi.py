import pytest

from sovits_serve.frontend.chinese.dictionary import load_readings
from sovits_serve.frontend.chinese.erhua import apply_erhua
from sovits_serve.frontend.chinese.merging import merge_for_sandhi
from sovits_serve.frontend.chinese.tone_sandhi import apply_sandhi
from sovits_serve.frontend.chinese.words import Token


def tones(word: str, tag: str = "n") -> str:
    """Return the tones that the dictionary's readings of a word change to."""
    changed = apply_sandhi(word, tag, load_readings().read(word))
    return "".join(reading[-1] for reading in changed)


def merged(text: str) -> str:
    """Merge tokens written as "word/tag word/tag" and write them so again."""
    tokens = [Token(*pair.split("/")) for pair in text.split()]
    return " ".join(f"{word}/{tag}" for word, tag in merge_for_sandhi(tokens))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("不怕", "24"),
        ("不好", "43"),
        ("看不懂", "453"),
        ("一段", "24"),
        ("一天", "41"),
        ("看一看", "454"),
        ("第一名", "412"),
        ("一二一", "141"),
        ("一,", "1,"),
        ("一…", "4…"),
    ],
)
def test_bu_and_yi_change_by_what_follows(word: str, expected: str) -> None:
    """Both rise before a fourth tone; 一 keeps its tone in numbers and before a pause."""
    assert tones(word) == expected


@pytest.mark.parametrize(
    ("word", "tag", "expected"),
    [
        ("奶奶", "n", "35"),
        ("人人", "n", "22"),
        ("哈", "e", "5"),
        ("我们", "r", "35"),
        ("女子", "n", "23"),
        ("桌上", "s", "15"),
        ("出去", "v", "15"),
        ("了", "ul", "5"),
        ("三个", "m", "15"),
        ("朋友", "n", "25"),
        ("老朋友", "n", "325"),
    ],
)
def test_some_syllables_lose_their_tone(word: str, tag: str, expected: str) -> None:
    """Repetitions, particles, suffixes, counted 个 and known words end without a tone."""
    assert tones(word, tag) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("你好", "23"), ("蒙古包", "231"), ("纸老虎", "323"), ("所有人", "232"), ("展览馆", "223")],
)
def test_the_first_of_two_third_tones_rises(word: str, expected: str) -> None:
    """Third tones change by the parts of the word."""
    assert tones(word) == expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("我/r 不/d 怕/v", "我/r 不怕/v"),
        ("不/d", "不/d"),
        ("听/v 一/m 听/v", "听一听/v"),
        ("一/m 天/q", "一天/m"),
        ("试/v 试/v", "试试/v"),
        ("我/r 走/v", "我走/r"),
        ("小孩/n 儿/n", "小孩儿/n"),
        ("好/a ,/x", "好/a ,/x"),
    ],
)
def test_words_that_belong_together_are_joined(tokens: str, expected: str) -> None:
    """不, 一, repetitions, meeting third tones and 儿 join their neighbours."""
    assert merged(tokens) == expected


@pytest.mark.parametrize(
    ("word", "tag", "last"),
    [("花边儿", "n", "er1"), ("女儿", "n", "er2"), ("胡同儿", "n", "er4"), ("小儿", "nr", "er2")],
)
def test_er_joins_the_syllable_before_it(word: str, tag: str, last: str) -> None:
    """儿 takes the tone before it unless it is a child or part of a name."""
    readings = [*load_readings().read(word[:-1]), "er2"]

    assert apply_erhua(word, tag, readings)[-1] == last
