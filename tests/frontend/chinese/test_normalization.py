"""Chinese normalisation: what is read, equality with upstream's recordings, origins, robustness."""

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization import normalize, normalize_sentences
from sovits_serve.frontend.chinese.normalization.simplification import simplified_characters
from tests.golden import DATA


def normalized(text: str) -> str:
    """Return the normalised text without its origins."""
    return normalize(AlignedText.of(text)).text


def origins(text: str) -> list[tuple[str, str]]:
    """Return each normalised character with the part of the original it came from."""
    result = normalize(AlignedText.of(text))
    spans = zip(result.text, result.starts, result.ends, strict=True)
    return [(character, text[start:end]) for character, start, end in spans]


def recorded() -> Iterator[tuple[str, str]]:
    """Yield the texts and normalised texts of all Chinese recordings."""
    for name in ("frontend_clean.json", "frontend_zh_g2pw_injected.json"):
        for case in json.loads((DATA / name).read_text()):
            if case.get("lang", "zh") == "zh" and "norm" in case:
                yield case["text"], case["norm"]
    for case in json.loads((DATA / "frontend_modes.json").read_text()):
        for segment in case.get("segs", ()):
            if segment["lang"] == "zh":
                yield segment["text"], segment["norm"]


def test_recorded_texts_are_normalized_as_upstream_does() -> None:
    """Every recorded text gives the recorded normalised text."""
    cases = set(recorded())
    # The pause marks become commas before normalisation.
    given_texts = {text: text.replace("￥", ",").replace("^", ",") for text, _ in cases}
    different = [text for text, norm in cases if normalized(given_texts[text]) != norm]

    assert len(cases) > 100
    assert not different


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("生于86年8月18日", "生于八六年八月十八日"),
        ("2024-02-29发布", "二零二四年二月二十九日发布"),
        ("2024年13月", "二零二四年十三月"),
        ("12:05到", "十二点零五分到"),
        ("8:30:09开门", "八点半零九秒开门"),
        ("9:00-17:45上班", "九点至十七点四十五分上班"),
        ("25:30", "二五点半"),
    ],
)
def test_dates_and_times(text: str, expected: str) -> None:
    """Dates are read with the year digit by digit, times with their words."""
    assert normalized(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-10°C", "零下十度"),
        ("5km~10km", "五千米至十千米"),
        ("3cm²和2.50kg", "三平方厘米和二点五零千克"),
        ("2个人2米2克", "两个人两米二克"),
        ("12个10+人3多岁", "十二个十多人三多岁"),
        ("300元500克", "三百元五零零克"),
    ],
)
def test_quantities(text: str, expected: str) -> None:
    """Units are named, and counts differ from codes by the measure word behind them."""
    assert normalized(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7/12和-1/2", "十二分之七和负二分之一"),
        ("62.5%", "百分之六十二点五"),
        ("1+2=3", "一加二等于三"),
        ("5-3-1", "五减三减一"),
        ("3²×4", "三的二次方乘四"),
        ("3~5天", "三到五天"),
        ("1~2.5+", "一到二零点五加"),
        ("版本1.2.3", "版本一点二点三"),
        ("3.1400和.5", "三点一四零和零点五"),
        ("负-3", "负负三"),
        ("χ²检验≠χ+2", "器的二次方检验器加二"),
    ],
)
def test_formulas(text: str, expected: str) -> None:
    """Operators, powers, ranges and points are read where they stand between operands."""
    assert normalized(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18544139121", "幺八五四四幺三九幺二幺"),
        ("+8618544139121", "八六幺八五四四幺三九幺二幺"),
        ("33441122", "三三四四幺幺二二"),
        ("编号27149", "编号二七幺四九"),
        ("00078", "零零零七八"),
    ],
)
def test_codes_are_read_digit_by_digit(text: str, expected: str) -> None:
    """Telephone numbers and long numbers are read one by one, with 幺 for 一."""
    assert normalized(text) == expected


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("10", "十"),
        ("110", "一百一十"),
        ("1001", "一千零一"),
        ("100100", "十万零一百"),
        ("120001000", "一亿二千万一千"),
        ("100008852", "一亿零八千八百五十二"),
        ("1" + "0" * 16, "一亿亿"),
        ("007", "七"),
        ("000", "零"),
    ],
)
def test_cardinals(digits: str, expected: str) -> None:
    """Zeros between digits are one 零 in a block, and every eight digits more are 亿."""
    assert normalized(f"{digits}吨") == f"{expected}吨"


@pytest.mark.parametrize("text", ["9" * 10_000, "1e999", "7" * 400 + "个", "1." + "3" * 10_000])
def test_every_digit_of_a_huge_number_is_read(text: str) -> None:
    """No length of number is refused or cut short."""
    assert len(normalized(text)) >= sum(character.isdigit() for character in text)


def test_characters_are_simplified_as_upstream_does() -> None:
    """The table made from OpenCC is upstream's, character for character."""
    table = "".join(sorted(old + new for old, new in simplified_characters().items()))

    assert len(table) == 2 * 2706
    assert (
        hashlib.sha256(table.encode()).hexdigest()
        == "33063f7dcb069e8e4301d0a49aa4afc1388ce02b476e03e9e6a03f34ef4f96df"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("《後來》：“這樣”……", "后来,这样…"),
        ("等...一下~~~好吗？！", "等…一下…好吗?"),
        ("嗯，呣。", "恩,母."),
        ("ＡＢ１２・３", "十二三"),
        ("一\n二", "一二"),
        ("٣个、३个", "三个,三个"),
    ],
)
def test_characters_and_marks(text: str, expected: str) -> None:
    """Ideographs, six marks and nothing else remain; of a run of marks the first one."""
    assert normalized(text) == expected


def test_both_symbol_versions_normalize_alike() -> None:
    """Upstream's two modules differ in pronunciation only."""
    text = AlignedText.of("第1次，嗯……2024年！")

    assert normalize(text, "v1") == normalize(text, "v2")


def test_sentences_keep_their_marks() -> None:
    """Before marks are mapped the text is verbalised, in sentences, as it was punctuated."""
    sentences = normalize_sentences(AlignedText.of("他說：‘2個’，\n（好）「對」！’ 完"))

    assert [sentence.text for sentence in sentences] == ["他说：", "‘两个’，", "好「对」！’", "完"]


def test_digits_read_one_by_one_keep_their_own_origins() -> None:
    """Years, codes and decimals map digit by digit, marks to themselves."""
    assert origins("202年，") == [("二", "2"), ("零", "0"), ("二", "2"), ("年", "年"), (",", "，")]
    assert origins("3.50") == [("三", "3"), ("点", "."), ("五", "5"), ("零", "0")]


def test_words_of_a_number_come_from_the_whole_number() -> None:
    """Each character of a cardinal maps to all of its digits, what surrounds it to itself."""
    assert origins("第12個。") == [
        ("第", "第"),
        ("十", "12"),
        ("二", "12"),
        ("个", "個"),
        (".", "。"),
    ]


def test_reordered_readings_come_from_the_whole_expression() -> None:
    """Where reading order is not writing order, every character maps to the expression."""
    assert set(origins("7/12")) == {(character, "7/12") for character in "十二分之七"}
    assert set(origins("5%")) == {(character, "5%") for character in "百分之五"}


def test_origins_survive_an_offset() -> None:
    """A segment's origins are positions of the whole text."""
    result = normalize(AlignedText.of("8:30见", offset=100))

    assert result.text == "八点半见"
    assert list(result.starts) == [100, 100, 102, 104]
    assert list(result.ends) == [101, 101, 104, 105]


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        st.one_of(
            st.characters(categories=None),  # lone surrogates too
            st.sampled_from("0123456789+-×÷=*/.:~%°℃年月日个多m²，。！’” \n兩後"),
        ),
        max_size=60,
    )
)
def test_any_text_is_normalized_with_origins_in_order(text: str) -> None:
    """No text raises; origins lie in the text and never go back."""
    result = normalize(AlignedText.of(text))

    assert all("一" <= it <= "龥" or it in "!?…,.-" for it in result.text)
    assert len(result.starts) == len(result.ends) == len(result.text)
    assert all(0 <= s <= e <= len(text) for s, e in zip(result.starts, result.ends, strict=True))
    assert all(first <= second for first, second in pairwise(result.starts))


@pytest.mark.parametrize("text", ["1", "-", "²", "1-", "1,", "1.1~", "1²+", "12:30-", "1%", "!,"])
def test_long_monotony_is_normalized(text: str) -> None:
    """A text of one thing over and over is normalised like any other."""
    assert normalized(text * 1000)


@pytest.mark.parametrize(
    ("before", "character", "after"),
    [("", "1", ""), ("1.", "1", "+"), ("1~", "1", "+"), ("a", "²", "")],
)
def test_runs_take_linear_time(before: str, character: str, after: str) -> None:
    """400 kB of a run end; a quadratic pattern takes minutes and the test's limit ends it."""
    assert normalized(before + character * 400_000 + after)
