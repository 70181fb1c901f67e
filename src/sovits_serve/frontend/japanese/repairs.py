"""What must stay together in Japanese before a text is cut into languages.

The cut would tear 5kg apart, and signs between digits (2024/1/1, 3:30, 1/2) would be lost. Each
repair needs a clear pattern; text without any passes through as the same object.
"""

import re
import unicodedata
from collections.abc import Iterator
from math import gcd

from sovits_serve.frontend.aligned_text import AlignedText

__all__ = ["repair_mixed"]

_JAPANESE = re.compile("[ぁ-ゖァ-ヺｦ-ﾝ々一-鿿]")
_HANGUL = re.compile("[\u1100-\u11ff가-힣]")
_SUSPECT = re.compile("[0-9０-９]|[WＷ]杯")
_WORD = re.compile(r"[^\W\d_]++(?:[/／][^\W\d_]++)?")

_D = "[0-9０-９]"
_LATIN = "A-Za-zＡ-Ｚａ-ｚ"
_DASH = "\\-‐‑–−－"
_WAVE = "~～〜"
_NUMBER = rf"{_D}++(?:[,，]{_D}{{3}})*+(?:[.．]{_D}++)?"
# Not within a number or a name, nor behind an English word.
_START = rf"(?<![0-9０-９{_LATIN}_])(?<!{_D}[.,．，])(?<![{_LATIN}][{_DASH}_ ])"
_ALONE = rf"{_START}(?<![/／:：.．\\{_DASH}])"

_PREFIXES = {
    "k": "キロ", "K": "キロ", "M": "メガ", "G": "ギガ", "T": "テラ", "h": "ヘクト", "d": "デシ",
    "c": "センチ", "m": "ミリ", "μ": "マイクロ", "n": "ナノ",
}  # fmt: skip
# A unit, its name, and the prefixes it is read with; "." is none.
_SCALED = (
    "m:メートル:.kcmμn g:グラム:.kmμ l:リットル:.dmk L:リットル:.dmk B:バイト:kKMGT "
    "Hz:ヘルツ:.kKMGT W:ワット:.kKMm V:ボルト:.km Wh:ワット時:kM cal:カロリー:.k Pa:パスカル:.hkM "
    "bps:ビーピーエス:kKMG"
)
_OTHERS = (
    "KM:キロメートル Km:キロメートル CM:センチメートル MM:ミリメートル KG:キログラム Kg:キログラム "
    "ML:ミリリットル t:トン ha:ヘクタール dB:デシベル m2:平方メートル m3:立方メートル "
    "cm2:平方センチメートル cm3:立方センチメートル km2:平方キロメートル °C:度 °:度"
)
# Speeds: the name, and what follows it where nothing before it says that it is a speed.
_SPEEDS = {
    "km/h": ("キロメートル", "毎時"),
    "m/s": ("メートル", "毎秒"),
    "km/s": ("キロメートル", "毎秒"),
    "m/min": ("メートル", "毎分"),
}


def _units() -> Iterator[tuple[str, str]]:
    """Yield units in Latin letters with their names."""
    for unit, name, prefixes in (entry.split(":") for entry in _SCALED.split()):
        for prefix in prefixes:
            yield (unit, name) if prefix == "." else (prefix + unit, _PREFIXES[prefix] + name)
    for entry in _OTHERS.split():
        unit, _, name = entry.partition(":")
        yield unit, name


_UNITS = dict(_units())
_MEASURE = re.compile(
    rf"{_START}(?P<number>{_NUMBER})(?P<blank> ?)"
    rf"(?P<unit>(?:[{_LATIN}μµ\u3371-\u33df]{{1,4}}(?:[/／][{_LATIN}]{{1,3}})?[23²³]?|°[CＣ]?))"
    rf"(?! ?[0-9０-９{_LATIN}])"
)
# Sizes of clothes and paper, and of screens.
_SIZE = re.compile("[LＬ](?:サイズ|判|版|玉|寸)|[VＶ](?:型|字)")
_NAMES = "|".join(sorted(set(_UNITS.values()), key=len, reverse=True))
_COUNTER = (
    f"(?:{_NAMES}|[かヶケカ箇]月|年|月|日|時|分(?!の)|秒|週|泊|人|名|個|本|枚|回(?!戦)|歳|才|円|ドル"
    "|ユーロ|倍|割|階|冊|匹|頭|台|杯|件|代|位|キロ|センチ|ミリ|パーセント|[%％℃])"
)
_RANGE = re.compile(
    rf"{_ALONE}(?P<low>{_NUMBER})(?P<unit>{_COUNTER})?"
    rf"(?P<sign>[{_DASH}{_WAVE}])(?P<high>{_NUMBER})(?P<counter>{_COUNTER})"
)
_DATE = re.compile(
    rf"{_ALONE}(?<!バージョン)(?<!版)(?P<year>[12１２]{_D}{{3}})(?P<sign>[/／.．{_DASH}])"
    rf"(?P<month>{_D}{{1,2}})(?P=sign)(?P<day>{_D}{{1,2}})"
    rf"(?![0-9０-９{_LATIN}/／{_DASH}日]|[.．]{_D})"
)
_DAY_OF_WEEK = re.compile(
    rf"{_ALONE}(?P<month>{_D}{{1,2}})[/／](?P<day>{_D}{{1,2}})(?=[(（][月火水木金土日][)）・])"
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TIME = re.compile(
    rf"{_START}(?<![/／:：.．\\])(?<!{_D}[{_DASH}])(?<![書伝記篇比])(?<!比[はが率])(?<!ヨハネ)(?<!マタイ)(?<!マルコ)(?<!ルカ)(?<!縮尺)"
    rf"(?<!スコア)(?<!スコア[はで])(?P<hour>{_D}{{1,2}})[:：](?P<minute>[0-5０-５]{_D})"
    rf"(?:[:：](?P<second>[0-5０-５]{_D}))?"
    rf"(?![0-9０-９:：/／分]|[.．]{_D}| ?[{_LATIN}]|の?比|の割合|の縮尺|で[勝敗負引])"
)
# What follows a day of a month, or the number of a page.
_NOT_A_FRACTION = (
    rf"[0-9０-９{_LATIN}/／(（{_DASH}{_WAVE}月日]|[.．:：]{_D}| ?{_D}|から|まで|より|は|発|公|付|号|頃|ごろ"
    "|ページ|話|枚|夜|朝|に(?![減縮な分切割薄落圧削し満下抑])"
    "|の(?:予定|会議|イベント|ライブ|朝|昼|夜|夕|午|日|天気|試合|放送|配信|回)"
)
_FRACTION = re.compile(
    rf"{_ALONE}(?<![月日年])(?P<top>{_D}{{1,2}})[/／](?P<bottom>{_D}{{1,2}})(?!{_NOT_A_FRACTION})"
)
_WORLD_CUP = re.compile(f"(?<![{_LATIN}])[WＷ]杯")


def repair_mixed(text: AlignedText) -> AlignedText:
    """Write out dates, times, fractions, units and ranges; return the same object if none is found.

    For texts that are Japanese as a whole, before they are cut into languages. Texts of other
    scripts pass through, unless they hold nothing but numbers, units and marks.
    """
    if not _SUSPECT.search(text.text) or not _is_japanese(text.text):
        return text
    text = text.sub(_WORLD_CUP, "ワールドカップ").sub(_DATE, _date).sub(_DAY_OF_WEEK, _date)
    # Twice: the end of a range (10:00-18:00, 5m-10m) can be told once its beginning is written out.
    text = text.sub(_TIME, _time).sub(_TIME, _time).sub(_FRACTION, _fraction)
    return text.sub(_MEASURE, _measure).sub(_MEASURE, _measure).sub(_RANGE, _range)


def _is_japanese(text: str) -> bool:
    if _HANGUL.search(text):
        return False
    if _JAPANESE.search(text):
        return True
    words = (unicodedata.normalize("NFKC", match[0]) for match in _WORD.finditer(text))
    return all(word in _UNITS or word in _SPEEDS or word == "C" for word in words)


def _date(match: re.Match[str]) -> str:
    month, day = int(match["month"]), int(match["day"])
    if not (1 <= month <= len(_DAYS) and 1 <= day <= _DAYS[month - 1]):
        return match[0]
    year = match.groupdict().get("year")
    return f"{year}年{month}月{day}日" if year else f"{month}月{day}日"


def _time(match: re.Match[str]) -> str:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if hour > 23:
        return match[0]
    said = f"{hour or '零'}時"  # 0時 would be read ゼロジ
    if minute or second:
        said += f"{minute}分"
    return f"{said}{second}秒" if second else said


def _fraction(match: re.Match[str]) -> str:
    top, bottom = int(match["top"]), int(match["bottom"])
    # Beyond tenths it is more likely a day: 3/14, 12/25.
    is_usual = bottom <= 10 or (top == 1 and bottom > 31)
    if not (0 < top < bottom and is_usual and gcd(top, bottom) == 1):
        return match[0]
    return f"{bottom}分の{top}"


def _measure(match: re.Match[str]) -> str:
    unit = unicodedata.normalize("NFKC", match["unit"]).replace("/H", "/h")
    if match["blank"] and len(unit) == 1:
        return match[0]
    if _SIZE.match(match.string, match.start("unit")):
        return match[0]
    if unit in _SPEEDS:
        name, per = _SPEEDS[unit]
        before = match.string[max(0, match.start() - 8) : match.start()]
        return match["number"] + (name if "速" in before else name + per)
    return match["number"] + _UNITS[unit] if unit in _UNITS else match[0]


def _range(match: re.Match[str]) -> str:
    low, high = (float(re.sub("[,，]", "", match[group])) for group in ("low", "high"))
    if match["sign"] not in _WAVE and not match["unit"] and low >= high:
        return match[0]
    head = match["low"] + (match["unit"] or "")
    return f"{head}から{match['high']}{match['counter']}"
