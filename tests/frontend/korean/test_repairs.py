"""Repairs of what upstream's Korean loses or misreads: what is read then, and what is left."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading
from sovits_serve.frontend.korean.frontend import KoreanFrontend
from sovits_serve.frontend.korean.repairs import can_read_hanja, repair, repair_mixed
from sovits_serve.frontend.korean.repairs_numbers import say_number
from sovits_serve.frontend.symbols import symbol_ids

FRONTEND = KoreanFrontend()


def repaired(text: str) -> str:
    """Return what upstream's rules are given."""
    return repair(AlignedText.of(text)).text


@pytest.mark.parametrize(
    "text",
    [
        "안녕하세요, 반갑습니다!",
        "12시 30분에 사과 3개를 샀어요.",
        "2024년 3월 5일 10월 3일",
        "1번째, 2번째",
        "6·25와 3·1절",
        "제3장 5층 501호",
        "100명, 3개월, 24개국",
        "K팝과 BTS, ㅋㅋ",
        "119에 신고, 코로나19",
        "늦어서 밟고",
    ],
)
def test_what_upstream_reads_well_passes_through(text: str) -> None:
    """A text without anything to repair comes back as the same object."""
    aligned = AlignedText.of(text)

    assert repair(aligned) is aligned


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("0", "영"),
        ("00", "영"),
        ("10", "십"),
        ("1111", "천백십일"),
        ("10000", "만"),
        ("110000", "십일만"),
        ("210000", "이십일만"),
        ("100010000", "일억일만"),
        ("1000000000", "십억"),
        ("1234567890123456", "천이백삼십사조오천육백칠십팔억구천십이만삼천사백오십육"),
    ],
)
def test_sino_korean_numbers(digits: str, words: str) -> None:
    """A leading one is silent before 십, 백, 천, and before 만 if it comes first."""
    assert say_number(digits) == words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("11만 명, 21만 원", "십일만 명, 이십일만 원"),
        ("110,000원과 1만원", "십일만원과 만원"),
        ("00시 30분", "영시 30분"),
        ("15시, 24시간", "십오시, 이십사시간"),
        ("400 킬로미터", "사백 킬로미터"),
        ("원주율은 3.14", "원주율은 삼 점 일사"),
        ("0.5, 1,234.56", "영 점 오, 천이백삼십사 점 오육"),
        ("버전 3.11.4", "버전 삼 점 십일 점 사"),
        ("6월 6일", "유월 6일"),
        ("007", "공공칠"),
        ("110-012-34", "일일공-공일이-34"),
    ],
)
def test_numbers(text: str, said: str) -> None:
    """Numbers are read as numbers, rows of digits digit by digit."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3 개와 20 살", "세 개와 스무 살"),
        ("커피 1잔, 맥주 2병", "커피 한잔, 맥주 두병"),
        ("5명이 3시간", "다섯명이 세시간"),
        ("11번째", "열한번째"),
        ("120개", "백이십개"),
        ("911걸음", "구백십일걸음"),
        ("20대 여성, 버스 20대", "이십대 여성, 버스 20대"),
        ("2번 출구, 1번, 2번 버스", "이번 출구, 일번, 이번 버스"),
        ("22대 왕", "이십이대 왕"),
    ],
)
def test_counters(text: str, said: str) -> None:
    """Native numbers up to 99 before their counters; labels and reigns are Sino-Korean."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-5도, -3.5℃", "영하 5도, 영하 삼 점 오도"),
        (".-7", ".마이너스 7"),
        ("3-5일", "3에서 5일"),
        ("2~3시간", "두시간에서 세시간"),
        ("20~30대, 20~40대", "이삼십대, 이십대에서 사십대"),
        ("1592-1598년", "천오백구십이에서 1598년"),
        ("월~금, 서울~부산", "월에서 금, 서울에서 부산"),
        ("2-3으로, 101-203호", "2-3으로, 일공일-203호"),
        ("1/2, 3/4분기", "이분의 일, 삼사분기"),
        ("3:1, 3대 2", "삼 대 일, 삼 대 이"),
    ],
)
def test_signs_between_and_before_numbers(text: str, said: str) -> None:
    """Ranges, scores, fractions and degrees below zero."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("높이 1,947m", "높이 천구백사십칠 미터"),
        ("10㎏ 33㎡ 16GB", "십 킬로그램 삼십삼 제곱미터 십육 기가바이트"),
        ("100km/h, 시속 50km/h", "시속 백 킬로미터, 시속 오십 킬로미터"),
        ("25℃, 77℉, 50％", "25도, 화씨 77도, 50퍼센트"),
        ("$5 ₩10,000 €3.50 100¥", "5달러 10,000원 3유로 50센트 100엔"),
        ("$3만", "3만달러"),
    ],
)
def test_units_and_money(text: str, said: str) -> None:
    """Units behind numbers and currencies before them are written out."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2024-03-05에", "2024년 3월 5일에"),
        ("2024. 10. 6.(화)", "2024년 10월 6일 화요일"),
        ("4·19와 6.25 전쟁", "사일구와 6·25 전쟁"),
        ("3:25, 00:05, PM 3:00", "3시 25분, 0시 5분, 오후 3시"),
        ("010-1234-5678", "공일공, 일이삼사, 오육칠팔"),
        ("+82-10-1234-5678", "팔이, 일공, 일이삼사, 오육칠팔"),
        ("2024-13-45", "이공이사-13-45"),
    ],
)
def test_dates_times_and_telephone_numbers(text: str, said: str) -> None:
    """What has the form of one is read as one."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"안녕"이라고 ‘말’했다', "안녕이라고 말했다"),
        ("기금(IMF)은 (끝)", "기금, IMF은, 끝"),
        ("메모: 오늘 — 내일", "메모, 오늘, 내일"),
        ("안녕~ 반가워~", "안녕, 반가워"),
        ("R&D, ID@naver.com", "R 앤 D, ID 골뱅이 naver 닷 com"),
        ("1+1=2", "1 플러스 1은 2"),
        ("#맛집 C++의 A+.", "해시태그 맛집 C 플러스플러스의 A 플러스."),
        ("ＡＢＣ　５", "ABC 5"),
        ("가\t나\n다", "가 나.다"),
        ("😀 웃음 😂", "웃음"),
        ("Ⅲ장", "세장"),
    ],
)
def test_signs(text: str, said: str) -> None:
    """Signs are read, or pause, or part words; none is a stop of its own."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("大韓民國은 民主共和國이다", "대한민국은 민주공화국이다"),
        ("女子와 論理", "여자와 논리"),
        ("한국(韓國)과 男子(남자)", "한국과 남자"),
        ("李舜臣 장군", "이순신 장군"),
        ("今日は", "今日は"),
        ("你好", "你好"),
    ],
)
def test_hanja(text: str, said: str) -> None:
    """Han characters are read in Korean, unless they look Japanese or Chinese."""
    assert repaired(text) == said
    assert can_read_hanja(text) == (said != text)


def test_texts_of_several_languages_keep_units_and_words_together() -> None:
    """Before a text is cut into languages, units become words; English stays as it is."""
    text = AlignedText.of("Hello! 부산까지 400km (3~5시간) $5, 學校")

    assert repair_mixed(text).text == "Hello! 부산까지 400 킬로미터 (3시간에서 5시간) 5달러, 학교"


@pytest.mark.parametrize("text", ["It is 5km & more.", "東京タワーは333mです", "今天30℃", "수 5"])
def test_texts_of_other_languages_are_left_alone(text: str) -> None:
    """Nothing is done before cutting to a text that is not Korean as a whole, or needs nothing."""
    aligned = AlignedText.of(text)

    assert repair_mixed(aligned) is aligned


def test_ranges_are_of_the_original_text() -> None:
    """Each unit knows the characters that its syllable comes from, also in a piece of a text."""
    units = FRONTEND.phonemize(AlignedText.of("약 $5는 學校", 10)).units

    assert [(unit.text, unit.start, unit.end) for unit in units] == [
        ("약", 10, 11),
        (" ", 11, 12),
        ("오", 12, 14),
        ("달", 12, 14),
        ("러", 12, 14),
        ("는", 14, 15),
        (" ", 15, 16),
        ("학", 16, 17),
        ("교", 17, 18),
        (".", 18, 18),
    ]


def test_a_reading_wins_over_repairs() -> None:
    """A reading replaces what a repair made of its range."""
    units = FRONTEND.phonemize(AlignedText.of("높이 5km다"), [Reading(3, 6, "오키로")]).units

    assert [unit.text for unit in units] == ["높", "이", " ", "오키로", "다", "."]


def test_a_strict_frontend_repairs_nothing() -> None:
    """For comparison, upstream's reading is kept."""
    text = AlignedText.of("11만")

    assert KoreanFrontend(is_strict=True).phonemize(text).normalized == "11만"
    assert FRONTEND.phonemize(text).normalized == "십일만"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789-~,.:/ $%+=#@&(韓李½Ⅲ가개번대시월km\n\"'😀९\ud800", max_size=12))
def test_any_text_gives_units_in_order_inside_it(text: str) -> None:
    """Nothing raises, and every unit has phonemes of the table and a range within the text."""
    units = FRONTEND.phonemize(AlignedText.of(text)).units

    assert {phoneme for unit in units for phoneme in unit.phonemes} <= symbol_ids("v2").keys()
    starts = [unit.start for unit in units]
    assert starts == sorted(starts)
    assert all(0 <= unit.start <= unit.end <= len(text) for unit in units)
