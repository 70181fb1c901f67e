"""Sentences that no training text has: ten groups of twenty a language, alike but for two words.

A group is a pattern with the four and the five words that go where it has 1 and 2. The words are
common; the patterns are none of the training text.
"""

ENGLISH = (
    (
        "Nobody in this family likes 1 with 2 on top.",
        "coffee|fish|soup|bread",
        "butter|sugar|cheese|honey|pepper",
    ),
    (
        "The weather will turn 1 before you reach the 2.",
        "cold|stormy|warm|foggy",
        "coast|border|city|summit|airport",
    ),
    (
        "Would it be possible to move our 1 from Monday to 2?",
        "meeting|lesson|dinner|journey",
        "Thursday|Sunday|Friday|tomorrow|August",
    ),
    (
        "A 1 was sleeping peacefully on top of the 2.",
        "kitten|baby|tiger|monkey",
        "piano|sofa|blanket|roof|mountain",
    ),
    (
        "Turn the 1 off, or we shall never hear the 2.",
        "radio|engine|water|television",
        "doorbell|music|teacher|thunder|children",
    ),
    (
        "She paid 1 dollars for a ticket to the 2.",
        "seven|eighty|fifteen|forty",
        "museum|opera|game|circus|concert",
    ),
    (
        "Why is your brother always so 1 about the 2?",
        "worried|happy|angry|quiet",
        "future|money|garden|exam|neighbors",
    ),
    (
        "From here, follow the 1 road until it meets the 2.",
        "narrow|second|old|main",
        "river|highway|forest|railway|village",
    ),
    (
        "Our grandparents used to 1 beside the 2 every evening.",
        "walk|sing|talk|dance",
        "ocean|church|fire|lake|window",
    ),
    (
        "Watch out, that 1 chair is covered with 2!",
        "yellow|broken|little|leather",
        "paint|chocolate|glass|dust|snow",
    ),
)

MANDARIN = (
    ("请把1放在2旁边。", "报纸|雨伞|蛋糕|钥匙", "冰箱|窗户|沙发|花瓶|门口"),
    ("听说1的冬天比2还要冷。", "北京|上海|南京|东北", "广州|成都|欧洲|海边|山里"),
    ("爷爷每天1都要去2散步。", "早上|中午|傍晚|晚上", "公园|河边|学校|广场|树林"),
    ("这趟1什么时候能到2？", "火车|飞机|客车|轮船", "天津|西安|香港|重庆|武汉"),
    ("小猫悄悄地1到了2下面。", "跑|跳|躲|爬", "桌子|汽车|床铺|大树|被子"),
    ("他花了1块钱买了一2。", "三十|五百|八千|十二", "双皮鞋|台电视|本词典|条裙子|箱苹果"),
    ("你觉得1和2哪个更重要？", "健康|时间|工作|友谊", "金钱|家庭|爱情|学习|自由"),
    ("弟弟长大以后想当1，妹妹想当2。", "医生|警察|司机|厨师", "老师|律师|演员|画家|护士"),
    ("如果明天1，我们就去2。", "下雨|放假|天晴|有空", "看电影|博物馆|游泳|爬山|图书馆"),
    ("真没想到，这里的1居然这么2！", "菜|房子|人|东西", "贵|少|多|好|奇怪"),
)


def groups(language: str) -> list[list[str]]:
    """Return the groups of ``language``, "en" or "zh"; neighbours in a group differ in both words."""
    made = []
    for pattern, firsts, seconds in {"en": ENGLISH, "zh": MANDARIN}[language]:
        four, five = firsts.split("|"), seconds.split("|")
        made.append(
            [
                pattern.replace("1", four[number % 4]).replace("2", five[number % 5])
                for number in range(20)  # every pair once, as 4 and 5 have no common divisor
            ]
        )
    return made
