"""Every word goes to a language that can say it, and only if its own cannot."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.languages import spoken_by

LANGUAGES = ["zh", "yue", "ja", "ko", "en"]


def split(text: str, language: str, home: str = "zh") -> list[tuple[str, str]]:
    """Return language and text of the runs of a text."""
    return [
        (run.language, run.text.text) for run in spoken_by(AlignedText.of(text), language, home)
    ]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "今天25°C，α波和π，１２３，5²没有"),
        ("yue", "佢話1,000蚊！"),
        ("ja", "ABCとａｂｃ、α波、ｶﾀｶﾅ、１２"),
        ("ko", "한국어 ABC 123"),
        ("en", "It's “fine” — 5€ 😀 x² ½"),
    ],
)
def test_what_a_language_can_say_stays(language: str, text: str) -> None:
    """A text that needs no split comes back as it is."""
    original = AlignedText.of(text)

    (run,) = spoken_by(original, language)

    assert run.language == language
    assert run.text is original


@pytest.mark.parametrize(
    ("language", "text", "runs"),
    [
        ("zh", "我喜欢まいご吗？", [("zh", "我喜欢"), ("ja", "まいご"), ("zh", "吗？")]),
        ("zh", "我說한국어，很好", [("zh", "我說"), ("ko", "한국어，"), ("zh", "很好")]),
        ("yue", "食café先", [("yue", "食"), ("en", "cafe"), ("yue", "先")]),
        ("zh", "ＡＢＣ公司", [("en", "ABC"), ("zh", "公司")]),
        ("en", "I 食べる sushi", [("en", "I "), ("ja", "食べる "), ("en", "sushi")]),
        ("en", "你好 means hello", [("zh", "你好 "), ("en", "means hello")]),
        ("en", "東京、大阪です", [("ja", "東京、大阪です")]),
        ("ko", "大韓民國은", [("zh", "大韓民國"), ("ko", "은")]),
        ("ja", "日本語と한국어", [("ja", "日本語と"), ("ko", "한국어")]),
    ],
)
def test_foreign_scripts_go_to_their_language(
    language: str, text: str, runs: list[tuple[str, str]]
) -> None:
    """Kana, hangul, Han characters and Latin letters find a reader; the rest stays."""
    assert split(text, language) == runs


@pytest.mark.parametrize(
    ("language", "text", "runs"),
    [
        ("zh", "Москва很大", [("en", "Moskva"), ("zh", "很大")]),
        ("ja", "Müller Hansさん", [("en", "Muller Hans"), ("ja", "さん")]),
        ("ko", "Париж에", [("en", "Parizh"), ("ko", "에")]),
        ("en", "नमस्ते, Straße", [("en", "nmste, Strasse")]),
        ("zh", "Ελλάδα是希腊，αβγ射线", [("en", "Ellada"), ("zh", "是希腊，αβγ射线")]),
        ("en", "α-wave, 3π", [("en", "alpha-wave, 3 pi")]),
        ("ko", "α선", [("en", "alpha"), ("ko", "선")]),
        ("zh", "ا", [("en", "alef")]),
    ],
)
def test_other_scripts_are_written_in_latin(
    language: str, text: str, runs: list[tuple[str, str]]
) -> None:
    """Words in other scripts become English words; single Greek letters have names."""
    assert split(text, language) == runs


def test_digits_stay_with_the_run() -> None:
    """Digits between foreign words are the run's own, whatever script they are written in."""
    assert split("Цена ٥ рублей", "zh") == [("en", "Tsena "), ("zh", "5 "), ("en", "rubley")]


def test_marks_stay_with_what_precedes_them() -> None:
    """Marks go with the word before them, at the beginning with the first word."""
    assert split("（Да），是", "zh") == [("en", "（Da），"), ("zh", "是")]


def test_repeated_characters_are_written_out_in_chinese() -> None:
    """The Japanese mark of repetition is read in Chinese as the character before it."""
    assert split("佐々木", "zh") == [("zh", "佐佐木")]
    assert split("佐々木", "ja") == [("ja", "佐々木")]


def test_home_reads_han_and_marks_alone() -> None:
    """The home language reads Han characters of English text, and text that is of none."""
    assert split("東京 ok", "en", "ja") == [("ja", "東京 "), ("en", "ok")]
    assert split("!!!", "punctuation", "yue") == [("yue", "!!!")]


def test_latin_letters_come_from_what_they_stand_for() -> None:
    """A transliterated letter keeps the place of the original one."""
    _, run = spoken_by(AlignedText.of("去Ща", offset=5), "zh")

    assert run.text.text == "Shcha"
    assert run.text.origin(0, 4) == (6, 7)
    assert run.text.origin(4, 5) == (7, 8)


SCRIPTS = st.sampled_from("aé我の한яαΑ1٣,。'\n °Cー々ｱＡ²ไทยक्")


@given(
    st.text(st.one_of(SCRIPTS, st.characters()), max_size=30),
    st.sampled_from(LANGUAGES),
    st.sampled_from(["zh", "yue", "ja"]),
)
def test_runs_cover_the_text_in_order(text: str, language: str, home: str) -> None:
    """Runs follow one another without gaps; neighbours differ; none is empty unless the text is."""
    runs = spoken_by(AlignedText.of(text), language, home)

    starts = [start for run in runs for start in run.text.starts]
    assert starts == sorted(starts)
    assert all(one.language != other.language for one, other in pairwise(runs))
    letters = {i for i, one in enumerate(text) if re.match("[a-zA-Z가-힣一-鿿ぁ-ゖ0-9а-ы]", one)}
    assert letters <= {i for run in runs for i in run.text.starts}
