"""Units behind numbers, written out. A step of ``repairs.py``.

Numbers stay in digits; ``repairs_numbers.py`` reads them.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText

AMOUNT = r"\d{1,3}(?:,\d{3})++(?:\.\d++)?|\d++(?:\.\d++)?"

_PREFIXES = dict(
    zip(
        "kKMGTcmdnμµ",
        "킬로 킬로 메가 기가 테라 센티 밀리 데시 나노 마이크로 마이크로".split(),
        strict=True,
    )
)
# A unit, its name, and the prefixes that are read with it; "." is none.
_SCALED = (
    "m:미터:.kcmnμµ g:그램:.kmμµ l:리터:.kmd L:리터:.kmd B:바이트:kKMGT Hz:헤르츠:.kMGT W:와트:.kMG "
    "Wh:와트시:kMG bps:비피에스:kKMGT V:볼트:.kmM cal:칼로리:.k"
)
_OTHERS = (
    "KM:킬로미터 Km:킬로미터 CM:센티미터 MM:밀리미터 KG:킬로그램 Kg:킬로그램 ML:밀리리터 t:톤 "
    "ha:헥타르 dB:데시벨 ms:밀리초 hPa:헥토파스칼 mAh:밀리암페어시 ft:피트 lb:파운드 oz:온스 "
    "°C:도 %:퍼센트 %p:퍼센트포인트"
)
_POWERS = {"2": "제곱", "²": "제곱", "3": "세제곱", "³": "세제곱"}
_JOINED = frozenset({"°C", "%", "%p"})


def _units() -> dict[str, str]:
    found = dict(entry.split(":") for entry in _OTHERS.split())
    for unit, name, prefixes in (entry.split(":") for entry in _SCALED.split()):
        for prefix in prefixes:
            sign, said = ("", name) if prefix == "." else (prefix, _PREFIXES[prefix] + name)
            found[sign + unit] = said
            if unit == "m":
                found |= {f"{sign}m{power}": word + said for power, word in _POWERS.items()}
    return found


_UNITS = _units()
_SPEEDS = {
    "km/h": ("시속 ", "킬로미터"),
    "km/s": ("초속 ", "킬로미터"),
    "m/s": ("초속 ", "미터"),
    "mph": ("시속 ", "마일"),
}


def _alternatives(words: dict[str, object]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


UNIT = rf"(?:{_alternatives({**_UNITS, **_SPEEDS})})(?![A-Za-z0-9])"
_SPEED = re.compile(
    rf"(?P<said>[시초]속 ?(?:약 ?)?)?(?<!\d)(?<!\d[,.])(?P<number>{AMOUNT})\s?"
    rf"(?P<unit>{_alternatives({**_SPEEDS})})(?![A-Za-z0-9])"
)
_MEASURE = re.compile(rf"(?<=\d)(\s?)({_alternatives({**_UNITS})})(?![A-Za-z0-9])")
_FAHRENHEIT = re.compile(rf"(?<!\d)(?<!\d[,.])({AMOUNT})\s?°F(?![A-Za-z])")


def read_units(text: AlignedText) -> AlignedText:
    """Write out units behind numbers: 5kg, 100km/h, 25°C."""
    text = text.sub(_FAHRENHEIT, r"화씨 \1도")
    return text.sub(_SPEED, _speed).sub(_MEASURE, _measure)


def _speed(match: re.Match[str]) -> str:
    before, unit = _SPEEDS[match["unit"]]
    return f"{match['said'] or before}{match['number']} {unit}"


def _measure(match: re.Match[str]) -> str:
    return (match[1] if match[2] in _JOINED else " ") + _UNITS[match[2]]
