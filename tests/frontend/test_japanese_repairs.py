import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.japanese.repairs import repair_mixed
from sovits_serve.frontend.languages import split_by_mode


def repaired(text: str) -> str:
    """Return a text as it is repaired."""
    return repair_mixed(AlignedText.of(text)).text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("高さは333mです", "高さは333メートルです"),
        ("5kg、10cm", "5キログラム、10センチメートル"),
        ("重さは５ｋｇと1．5㎏", "重さは５キログラムと1．5キログラム"),
        ("RAMは16 GBで2.5GHz", "RAMは16ギガバイトで2.5ギガヘルツ"),
        ("気温は25°Cです", "気温は25度です"),
        ("広さは100m²です", "広さは100平方メートルです"),
        ("60km/hで走る", "60キロメートル毎時で走る"),
        ("時速60km/hで走る", "時速60キロメートルで走る"),
    ],
)
def test_units_behind_numbers_are_named(text: str, said: str) -> None:
    """Units of any width get their names in kana."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2024/1/1に行く", "2024年1月1日に行く"),
        ("2024-01-01", "2024年1月1日"),
        ("２０２４／０１／０１（月）", "２０２４年1月1日（月）"),
        ("12/25(水)は休み", "12月25日(水)は休み"),
        ("3:30に会う", "3時30分に会う"),
        ("0:05発", "零時5分発"),
        ("10:00-18:00営業", "10時から18時営業"),
        ("1:02:03に着く", "1時2分3秒に着く"),
    ],
)
def test_dates_and_times_are_written_out(text: str, said: str) -> None:
    """Signs between digits become 年, 月, 日, 時 and 分; zeros in front go."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("小さじ1/2と1/3カップ", "小さじ2分の1と3分の1カップ"),
        ("10〜20人、3-5日", "10から20人、3から5日"),
        ("5m-10mと10-20kg", "5メートルから10メートルと10から20キログラム"),
        ("W杯とTシャツ", "ワールドカップとTシャツ"),
    ],
)
def test_fractions_and_ranges_are_written_out(text: str, said: str) -> None:
    """So is the World Cup; other letters keep their names."""
    assert repaired(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "", "東京タワー", "5Gと４Ｋ", "I ran 5km today と言った", "He ran 10km.", "키는 5kg 漢字",
        "GPT-4Vは5W1H", "3Lサイズ、42V型", "2024/2/30の", "12/25に届く", "9/10に発売", "4/4拍子",
        "スコアは3:10", "25:70の", "1丁目3-5番", "電話は03-1234-5678", "5-3人", "バージョン2024.1.1",
        "http://a.jp/1/2です",
    ],
)  # fmt: skip
def test_what_is_not_clear_passes_through(text: str) -> None:
    """Names, scores, versions, English and impossible dates give the same object."""
    aligned = AlignedText.of(text)

    assert repair_mixed(aligned) is aligned


def test_names_come_from_what_they_replace() -> None:
    """A unit's name comes from the unit, and numbers keep their places."""
    text = repair_mixed(AlignedText.of("高さは333mです", 10))

    assert text.origin(3, 6) == (13, 16)
    assert text.origin(6, 10) == (16, 17)
    assert text.origin(10, 12) == (17, 19)


@pytest.mark.parametrize("mode", ["ja", "all_ja"])
def test_repaired_text_stays_together(mode: str) -> None:
    """Nothing of a repaired text is taken for English."""
    text = repair_mixed(AlignedText.of("333mと5kg、60km/hで2024/1/1の3:30に"))

    assert [run.language for run in split_by_mode(text, mode, keep_all=True)] == ["ja"]
