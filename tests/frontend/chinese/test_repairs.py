"""Repairs of what upstream's Chinese normaliser misreads: what is read then, and what is left."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.cantonese import CantoneseFrontend
from sovits_serve.frontend.chinese.normalization import normalize
from sovits_serve.frontend.chinese.normalization.repairs import (
    name_rare_ideographs,
    repair,
    repair_mixed,
)


def read(text: str) -> str:
    """Return what is read aloud after repairs."""
    return normalize(repair(AlignedText.of(text))).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("二〇二四年", "二零二四年"),
        ("人々和佐々木", "人人和佐佐木"),
        ("½杯和1½小时", "二分之一杯和一又二分之一小时"),
        ("第Ⅲ章", "第三章"),
        ("⑫号和❷", "十二号和二"),
        ("第一行\n第二行\n\n第三行。\n完", "第一行,第二行.第三行.完"),
    ],
)
def test_characters_that_upstream_drops_are_read(text: str, expected: str) -> None:
    """A single character that stands for a word, and a line break, are not lost."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("增长６％", "增长百分之六"),
        ("5－3＝2", "五减三等于二"),
        ("3±0.5≈3", "三正负零点五约等于三"),
        ("温度>30℃", "温度大于三十度"),
        ("3<5", "三小于五"),
        ("3*5=15", "三乘五等于十五"),
        ("速度=路程/时间", "速度等于路程除以时间"),
        ("男/女，北京-上海", "男,女,北京上海"),
        ("周一-周五", "周一至周五"),
        ("$和$x", "和"),
        ("1 2 3", "一,二,三"),
    ],
)
def test_signs(text: str, expected: str) -> None:
    """Signs are named, in any form; what means nothing is not named."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8:30-12:45", "八点半至十二点四十五分"),
        ("于12：05出发", "于十二点零五分出发"),
        ("方案1：30天", "方案一,三十天"),
        ("2024-5-1和2022/3/4", "二零二四年五月一日和二零二二年三月四日"),
        ("2月14日", "二月十四日"),
        ("等了10年，90年代", "等了十年,九十年代"),
        ("生于95年", "生于九五年"),
    ],
)
def test_dates_and_times(text: str, expected: str) -> None:
    """Dates, times and durations are told apart and read as such."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-2021年", "二零二零至二零二一年"),
        ("2010到2012年", "二零一零至二零一二年"),
        ("3～5天", "三到五天"),
        ("10–20个", "十到二十个"),
        ("100到200米", "一百到二百米"),
        ("20-25℃", "二十到二十五度"),
        ("-5~3℃", "零下五到三度"),
        ("5-10%", "百分之五到百分之十"),
        ("5%-10%", "百分之五至百分之十"),
        ("-20℃-17摄氏度", "零下二十度至十七摄氏度"),
        ("5月1日-7日", "五月一日至七日"),
        ("1881—1936", "一八八一至一九三六"),
        ("3-2", "三减二"),
        ("100% -3%", "百分之一百负百分之三"),
    ],
)
def test_ranges(text: str, expected: str) -> None:
    """A mark between numbers with a unit is 到 or 至; without one it stays what it was."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("￥199.99元，现价￥99。", "一百九十九点九九元,现价九十九元."),
        (
            "¥85,698，$12,681，€11,500",
            "八万五千六百九十八元,一万二千六百八十一美元,一万一千五百欧元",
        ),
        ("US$5、HK$100、₩5000", "五美元,一百港币,五千韩元"),
        ("RMB 100和100 USD", "一百元和一百美元"),
        ("$3.5亿", "三点五亿美元"),
        ("¥1000日元", "一千日元"),
        ("$20元", "二十美元"),
        ("￥100-200", "一百到二百元"),
        ("-$2.50", "负二点五美元"),
    ],
)
def test_money(text: str, expected: str) -> None:
    """The currency is said behind the amount, once."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("长5mm，重10kg", "长五毫米,重十千克"),
        ("3cm²", "三平方厘米"),
        ("60km/h和16.7m/s", "六十千米每小时和十六点七米每秒"),
        ("5~10kg", "五到十千克"),
        ("25摄氏度，98.6℉", "二十五摄氏度,九十八点六华氏度"),
        ("39°54′20″", "三十九度五十四分二十秒"),
        ("5‰", "千分之五"),
        ("500克，200公里", "五百克,二百公里"),
        ("12345678元", "一千二百三十四万五千六百七十八元"),
        ("12345678", "幺二三四五六七八"),
    ],
)
def test_quantities(text: str, expected: str) -> None:
    """Units are named whole, and numbers before a unit are amounts."""
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234,567.89", "一百二十三万四千五百六十七点八九"),
        ("1,1,1", "一,一,一"),
        ("010-12345678", "零幺零,幺二三四五六七八"),
        ("+86 138-0013-8000", "八六,幺三八,零零幺三,八零零零"),
        ("400-800-1234", "四零零,八零零,幺二三四"),
        ("评分6.3/10", "评分十分之六点三"),
        ("3:2和1:2:3", "三比二和一比二比三"),
        ("比分是122：55", "比分是一百二十二比五十五"),
        ("x=-3.5", "等于负三点五"),
        ("第2季度有2个", "第二季度有两个"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    """Amounts, telephone numbers, ratios and orders are told apart."""
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "你好，世界！",
        "今天是2024年5月1日，气温25℃。",
        "他今年18岁，身高1.75米，花了300元。",
        "版本1.2.3更新于2024年",
        "你^好，停顿￥测试。",
        "13800138000和7/12",
        "5×3，比例尺",
    ],
)
def test_what_is_read_well_stays_the_same_object(text: str) -> None:
    """No repair fires without its pattern."""
    aligned = AlignedText.of(text)

    assert repair(aligned) is aligned


def test_repaired_characters_keep_their_origins() -> None:
    """A word that was written out comes from what it stands for."""
    text = "价$12,681和5mm。"
    repaired = repair(AlignedText.of(text))
    spans = zip(repaired.text, repaired.starts, repaired.ends, strict=True)
    origins = {character: text[start:end] for character, start, end in spans}

    assert repaired.text == "价一万二千六百八十一美元和五毫米。"
    assert origins["万"] == "12,681"
    assert origins["美"] == "$"
    assert origins["毫"] == "mm"
    assert origins["。"] == "。"


def test_rare_ideographs_get_homophones() -> None:
    """An ideograph that the normaliser drops is read as one of the same sound."""
    text = name_rare_ideographs(AlignedText.of("剪綵，䶮㐀"))
    normalized = normalize(text).text

    assert normalized.startswith("剪彩,")
    assert len(normalized) == 5


def test_mixed_text_is_repaired_where_it_is_chinese() -> None:
    """Quantities next to Chinese are written out; those in English, and all Japanese, are not."""
    english = AlignedText.of("It costs $5 or 10kg.")
    japanese = AlignedText.of("これは5kgです。重量")

    assert repair_mixed(AlignedText.of("他用GPT-4花了$12，重10kg。")).text == (
        "他用GPT-4花了十二美元，重十千克。"
    )
    assert repair_mixed(AlignedText.of("气温-5℃")).text == "气温-5度"
    assert repair_mixed(english) is english
    assert repair_mixed(japanese) is japanese


def test_cantonese_reads_repaired_text() -> None:
    """Repairs serve Cantonese too."""
    units = CantoneseFrontend().phonemize(repair(AlignedText.of("佢畀咗$5。"))).units

    assert "".join(unit.text for unit in units) == "佢畀咗五美元."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我——我不知道——真的", "我,我不知道,真的"),
        ("《三体》——刘慈欣", "三体,刘慈欣"),
        ("你——！", "你!"),
        ("身高1米78，1米80", "身高一米七八,一米八"),
        ("1米78厘米", "一米七十八厘米"),
        ("约3.1415926和116.3974589度", "约三点一四一五九二六和一百一十六点三九七四五八九度"),
        ("打了101次，250字，第105集", "打了一百零一次,二百五十字,第一百零五集"),
        ("101次列车", "幺零幺次列车"),
        ("5w块，月薪5k-8k", "五万块,月薪五千至八千"),
        ("以3-1获胜，比分102-98，2-0领先", "以三比一获胜,比分一百零二比九十八,二比零领先"),
        ("算式3-1=2", "算式三减一等于二"),
        ("一共10÷2=5", "一共十除以二等于五"),
        ("歼-20和长征-5", "歼二十和长征五"),
        ("气温-5℃", "气温零下五度"),
    ],
)
def test_what_people_write_every_day(text: str, expected: str) -> None:
    """Dashes pause; heights, scores, models, colloquial amounts and long decimals are read."""
    assert read(text) == expected


def test_number_behind_a_label_is_a_code() -> None:
    """Not one of hundreds of millions, in English."""
    repaired = repair_mixed(AlignedText.of("QQ：123456789，加我"))

    assert normalize(repaired).text.startswith(",幺二三四五六七八九")


@pytest.mark.parametrize("function", [repair, repair_mixed, name_rare_ideographs])
@given(
    text=st.text() | st.text("0123456789.,-~:/%$￥° mkgh年月日元第从到=<>½々〇\n一", max_size=60)
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_taken(function: Callable[[AlignedText], AlignedText], text: str) -> None:
    """No text fails, and origins stay within the text."""
    repaired = function(AlignedText.of(text))

    assert len(repaired.text) == len(repaired.starts) == len(repaired.ends)
    assert all(0 <= start <= len(text) for start in repaired.starts)
    assert all(0 <= end <= len(text) for end in repaired.ends)
    normalize(repaired)


def test_huge_numbers_are_taken() -> None:
    """Amounts of any length are read."""
    digits = "7" * 400

    assert len(read(f"￥{digits}")) > 400
    assert read("1,111" * 1000)
