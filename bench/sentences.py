"""Made-up sentences in five languages, every one different: templates filled from a seed."""

import random

_NAMES = {
    "zh": "小王 李老师 张医生 陈经理 刘师傅 赵同学 孙阿姨 周先生".split(),
    "yue": "阿明 陳生 李太 張醫生 何經理 黃同學 劉師傅 阿欣".split(),
    "en": "Anna|Mr. Brown|Doctor Lee|my neighbour|the teacher|Peter|Sarah|the driver".split("|"),
    "ja": "田中さん 佐藤先生 鈴木君 山本さん 父 母 友達 店長".split(),
    "ko": "민수 선생님 어머니 친구 지영 사장님 동생 할머니".split(),
}
_PLACES = {
    "zh": "图书馆 火车站 银行 超市 医院 海边 办公室 博物馆".split(),
    "yue": "圖書館 火車站 銀行 超市 醫院 海邊 寫字樓 博物館".split(),
    "en": "library|station|bank|market|hospital|beach|office|museum".split("|"),
    "ja": "図書館 駅 銀行 市場 病院 海 会社 美術館".split(),
    "ko": "도서관 기차역 은행 시장 병원 바닷가 사무실 박물관".split(),
}
_TEMPLATES = {
    "zh": [
        "{name}今天早上{hour}点去了{place}，因为那里的东西又便宜又好。",
        "听说{place}旁边新开了一家饭馆，一共有{count}张桌子，{name}很想去看看。",
        "{name}说：“我在{place}等了{count}分钟，还是没有看见你。”",
        "从{place}走到学校大约需要{count}步，不过{name}更喜欢坐车。",
        "{year}年，{name}第一次来到这座城市，觉得一切都很新鲜。",
        "如果明天下雨，{name}就不去{place}了，在家里好好休息一会儿。",
    ],
    "yue": [
        "{name}今朝{hour}點去咗{place}，因為嗰度啲嘢又平又好。",
        "聽講{place}隔籬新開咗間茶餐廳，有{count}張枱，{name}好想去睇下。",
        "{name}話：「我喺{place}等咗{count}分鐘，都仲未見到你。」",
        "由{place}行去學校大概要{count}步，不過{name}鍾意搭車多啲。",
        "{year}年，{name}第一次嚟到呢個城市，覺得樣樣都好新鮮。",
    ],
    "en": [
        "{name} went to the {place} at {hour} o'clock because everything there was cheap.",
        "They say a new restaurant with {count} tables has opened behind the {place}.",
        '"I waited {count} minutes in front of the {place}," said {name}, "and nobody came."',
        "It takes about {count} steps from the {place} to the school, but {name} takes the bus.",
        "In {year}, {name} came to this town for the first time and liked it at once.",
        "If it rains tomorrow, {name} will stay at home instead of visiting the {place}.",
    ],
    "ja": [
        "{name}は今朝{hour}時に{place}へ行って、新しい本を探しました。",
        "{place}の隣に新しい店ができて、席が{count}もあるそうです。",
        "「{place}の前で{count}分待ちました」と{name}が言いました。",
        "{place}から学校まで歩くと{count}歩くらいですが、{name}はバスが好きです。",
        "{year}年に、{name}は初めてこの町に来ました。",
    ],
    "ko": [
        "{name}은 오늘 아침 {hour}시에 {place}에 가서 새 책을 찾았습니다.",
        "{place} 옆에 새 식당이 생겼는데, 자리가 {count}개나 있대요.",
        '"{place} 앞에서 {count}분을 기다렸어요." {name}이 말했습니다.',
        "{place}에서 학교까지 걸으면 {count}걸음쯤 되지만 버스가 더 편해요.",
        "{year}년에 {name}은 처음으로 이 도시에 왔습니다.",
    ],
}
LANGUAGES = tuple(_TEMPLATES)


def sentences(language: str, count: int, seed: int = 0) -> list[str]:
    """Return different sentences of one language, of ten to thirty syllables or so."""
    draw = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        made[
            draw.choice(_TEMPLATES[language]).format(
                name=draw.choice(_NAMES[language]),
                place=draw.choice(_PLACES[language]),
                hour=draw.randint(1, 12),
                count=draw.randint(2, 999),
                year=draw.randint(1901, 2030),
            )
        ] = None
    return list(made)
