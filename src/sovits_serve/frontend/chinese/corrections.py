"""What overrules a polyphone model: words whose reading does not depend on the sentence.

pypinyin's phrases overrule it, except those that can be read in several ways (see
``ambiguous_words.py``; most that end in 儿), and a few that are wrong or missing there.

Source: GPT-SoVITS 48b1a01, text/g2pw/polyphonic.rep and polyphonic-fix.rep. Differs: phrases come
from pypinyin at run time; one of four characters or more is never ambiguous.
"""

from collections.abc import Sequence

from sovits_serve.frontend.chinese.ambiguous_words import AMBIGUOUS_WORDS
from sovits_serve.frontend.chinese.dictionary import load_readings
from sovits_serve.frontend.chinese.word_facts import ER_ALONE

_WORDS = {
    "中医": "zhong1 yi1",
    "乌拉草": "wu4 la5 cao3",
    "克分子": "ke4 fen4 zi3",
    "分子运动论": "fen4 zi3 yun4 dong4 lun4",
    "分子钟": "fen4 zi3 zhong1",
    "卷甲束兵": "juan4 jia3 shu4 bing1",
    "卷甲衔枚": "juan4 jia3 xian2 mei2",
    "口吃": "kou3 chi1",
    "嘚瑟": "de4 se5",
    "圈养": "juan4 yang3",
    "屏声静气": "ping2 sheng1 jing4 qi4",
    "幸免于难": "xing4 mian3 yu2 nan4",
    "怀揣": "huai2 chuai1",
    "手里": "shou2 li3",
    "抗住": "kang2 zhu4",
    "挑剔": "tiao1 ti4",
    "援藏": "yuan2 cang2",
    "撒切尔": "sa4 qie4 er3",
    "放大率": "fang4 da4 shuai4",
    "朝鲜": "chao2 xian3",
    "柏树": "bai3 shu4",
    "标识": "biao1 zhi4",
    "比比皆是": "bi3 bi3 jie1 shi4",
    "毛发倒竖": "mao2 fa1 dao3 shu4",
    "毛发耸然": "mao2 fa1 song3 ran2",
    "牵强附合": "qian1 qiang2 fu4 he2",
    "眼眶": "yan3 kuang4",
    "行行": "xing2 xing2",
    "解法": "jie3 fa3",
    "解铃还需系铃人": "jie3 ling2 hai2 xu1 ji4 ling2 ren2",
    "连更彻夜": "lian2 geng4 che4 ye4",
    "连更晓夜": "lian2 geng4 xiao3 ye4",
    "郭晟": "guo1 sheng4",
    "露背": "lu4 bei4",
}
_CHARACTERS = {"唉": "ai4", "唑": "zuo4", "牦": "mao2"}


def correct_readings(word: str, readings: Sequence[str]) -> list[str]:
    """Return the readings of a word, given those of a model."""
    if word in _WORDS:
        return _WORDS[word].split()
    phrase = load_readings().read_phrase(word)
    is_ambiguous = word in AMBIGUOUS_WORDS or (word.endswith("儿") and word not in ER_ALONE)
    if phrase and not is_ambiguous:
        return list(phrase)
    return [_CHARACTERS.get(character, own) for character, own in zip(word, readings, strict=True)]
