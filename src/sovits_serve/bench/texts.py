"""Made-up texts to load a server with: from a seed, every one different, of three lengths.

``medium`` takes about five seconds to say, ``short`` two, ``long`` fifteen.
"""

import random
from collections.abc import Iterator
from typing import Literal, get_args

Language = Literal["en", "zh", "mixed"]
Length = Literal["short", "medium", "long"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
LENGTHS: tuple[Length, ...] = get_args(Length)

_WORDS: dict[str, dict[str, list[str]]] = {
    "en": {
        "name": "Anna|Peter|Doctor Lee|my neighbour|the teacher|our driver|Sarah|Mr. Brown".split(
            "|"
        ),
        "place": "library|station|bank|market|hospital|beach|office|museum".split("|"),
        "thing": "letter|parcel|ticket|report|picture|umbrella|key|book".split("|"),
        "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday".split("|"),
    },
    "zh": {
        "name": "小王 李老师 张医生 陈经理 刘师傅 赵同学 孙阿姨 周先生".split(),
        "place": "图书馆 火车站 银行 超市 医院 海边 办公室 博物馆".split(),
        "thing": "信 包裹 车票 报告 照片 雨伞 钥匙 书".split(),
        "day": "星期一 星期二 星期三 星期四 星期五 星期六 星期天".split(),
    },
}
_TEMPLATES: dict[str, dict[str, list[str]]] = {
    "en": {
        "short": [
            "Room {count} is free on {day}.",
            "The {thing} costs {count} pounds.",
            "Bus {count} goes to the {place}.",
        ],
        "medium": [
            "On {day} {name} waited {count} minutes in front of the {place}, and nobody came at all.",
            "{name} found {count} pages of an old {thing} behind the {place} and took them home.",
            "It takes about {count} steps from here to the {place}, but {name} prefers the bus.",
            "Please tell {name} that the {thing} from the {place} arrived at {count} on {day}.",
        ],
    },
    "zh": {
        "short": [
            "{day}有{count}个人。",
            "{place}的{thing}要{count}块。",
            "请坐{count}路去{place}。",
        ],
        "medium": [
            "{day}上午，{name}在{place}门口等了{count}分钟，可是没有人来。",
            "{name}在{place}后面找到了{count}张旧照片，还有一本很厚的{thing}。",
            "从这里走到{place}大约要{count}步，不过{name}更喜欢坐车去。",
            "请告诉{name}，{place}的{thing}{day}就到了，一共{count}件，不用着急。",
        ],
    },
    "mixed": {
        "short": ["{zh_place}的 {thing} 要{count}块。", "{zh_day}坐 Bus {count}。"],
        "medium": [
            "{zh_name}说 the {thing} is in room {count}，在{zh_place}后面，{zh_day}去拿。",
            "On {day} {name} 在{zh_place}门口等了{count}分钟，可是没有人来。",
            "请告诉 {name}，the {thing} from the {place} 一共{count}件，{zh_day}就到了。",
        ],
    },
}
_HIGHEST = 200
_SENTENCES = {"short": ("short", 1), "medium": ("medium", 1), "long": ("medium", 3)}


def texts(language: Language, length: Length, seed: int = 0) -> Iterator[str]:
    """Yield texts without end, none twice, the same for the same seed."""
    draw = random.Random(f"{language} {length} {seed}")  # noqa: S311 -- to be repeated
    kind, count = _SENTENCES[length]
    space = "" if language == "zh" else " "
    seen: set[str] = set()
    while True:
        # Numbers grow with what was said before, so that there is always one more text.
        highest = _HIGHEST + len(seen)
        text = space.join(_sentence(draw, language, kind, highest) for _ in range(count))
        if text not in seen:
            seen.add(text)
            yield text


def _sentence(draw: random.Random, language: Language, kind: str, highest: int) -> str:
    words = {name: draw.choice(some) for name, some in _WORDS["en"].items()}
    chinese = {name: draw.choice(some) for name, some in _WORDS["zh"].items()}
    if language == "zh":
        words = chinese
    template = draw.choice(_TEMPLATES[language][kind])
    prefixed = {f"zh_{name}": word for name, word in chinese.items()}
    return template.format(count=draw.randint(2, highest), **words, **prefixed)
