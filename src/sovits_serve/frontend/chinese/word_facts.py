"""Which words end in a neutral tone, and which do not although they look like it.

Facts about Mandarin words, no rules; ``tone_sandhi.py`` and ``erhua.py`` say how they are used.

Source: GPT-SoVITS 48b1a01, text/tone_sandhi.py (ToneSandhi) and text/chinese2.py (erhua). The
words are the same; ordered by their last character.
"""

_BEFORE_LAST = {
    "头": "上丫前后对念拳指木枕浪甜石码罐老舌苗跟里锄馒骨",
    "气": "丧力客小志福秀脾运阔",
    "家": "东亲人冤娘婆",
    "么": "什多怎这那",
    "夫": "丈功大姐工",
    "实": "壮扎结老踏",
    "巴": "下哑嘴尾眨",
    "糊": "含模烂糨迷",
    "事": "差干故本",
    "人": "丈大媒爱",
    "快": "凉勤爽痛",
    "爷": "大姥少老",
    "腾": "倒扑折翻",
    "识": "意知见认",
    "匠": "木石铁",
    "和": "暖温软",
    "在": "不实自",
    "帚": "扫炊笤",
    "当": "妥稳行",
    "息": "休出消",
    "意": "主大生",
    "方": "地大比",
    "服": "佩舒衣",
    "活": "养忙快",
    "生": "先学畜",
    "道": "厚地门",
    "量": "商思打",
    "个": "这那",
    "乎": "在玄",
    "亮": "月漂",
    "亲": "母父",
    "伙": "家小",
    "候": "时火",
    "发": "头打",
    "口": "两牲",
    "号": "字记",
    "司": "上官",
    "同": "合胡",
    "呼": "招称",
    "唤": "使叫",
    "嗦": "哆罗",
    "坊": "作街",
    "堂": "名弄",
    "士": "护道",
    "妇": "媳寡",
    "害": "利厉",
    "思": "心意",
    "性": "悟记",
    "情": "事交",
    "才": "奴秀",
    "火": "柴红",
    "璃": "玻琉",
    "疾": "疟痢",
    "碜": "寒牙",
    "算": "打盘",
    "缝": "眯裁",
    "罕": "希稀",
    "袋": "口脑",
    "计": "伙算",
    "辑": "编逻",
    "饼": "月烧",
}
_OTHERS = (
    "一辈 下水 不由 世故 东西 买卖 云彩 亲戚 介绍 似的 "
    "位置 体面 便宜 兄弟 关系 冒失 冤枉 冷战 凑合 凤凰 "
    "分析 利索 利落 别扭 刺激 刺猬 动弹 动静 匀称 包涵 "
    "包袱 千斤 吆喝 吉他 名字 吓唬 告示 告诉 和尚 咕噜 "
    "咖喱 咳嗽 哈欠 唾沫 喇叭 喇嘛 喉咙 喜欢 喽啰 嘀咕 "
    "嘟囔 嘱咐 困难 外甥 多少 太阳 女婿 妖精 妯娌 姑娘 "
    "委屈 嫁妆 学问 对付 将就 屁股 岁数 巴掌 巴结 师傅 "
    "师父 帐篷 帮手 幸福 庄稼 应酬 开通 弟兄 张罗 得罪 "
    "念叨 怪物 情形 惦记 懒得 戒指 扁担 打听 打扮 打点 "
    "扫把 报复 抬举 拖沓 招牌 拨弄 拾掇 指甲 挑剔 挖苦 "
    "提防 收成 收拾 新鲜 明白 朋友 机灵 枇杷 架势 栅栏 "
    "核桃 棉花 棒槌 棺材 槟榔 欺负 正经 泥鳅 活泼 清楚 "
    "溜达 滑溜 灯笼 点心 烟筒 热闹 照顾 熟悉 牌楼 牢骚 "
    "特务 状元 狐狸 玫瑰 琢磨 琵琶 甘蔗 疏忽 疙瘩 白净 "
    "盘缠 相声 眉毛 眼睛 石榴 砚台 祖宗 秧歌 窗户 窝囊 "
    "窟窿 笑话 笑语 答应 算盘 篱笆 簸箕 粮食 精神 糊涂 "
    "糟蹋 累赘 老太 老婆 耳朵 耷拉 耽搁 耽误 聪明 胡琴 "
    "胡萝 胭脂 胳膊 能耐 脊梁 膏药 舒坦 芝麻 苍蝇 苗条 "
    "荒唐 荸荠 菩萨 萝卜 葡萄 葫芦 薄荷 蘑菇 蚂蚱 蛤蟆 "
    "蜡烛 行李 衙门 衣裳 补丁 规矩 计划 讲究 豆腐 财主 "
    "费用 趔趄 跳蚤 转悠 过去 连累 造化 邋遢 部分 里脊 "
    "钥匙 铃铛 铺盖 闺女 队伍 难为 风筝 馄饨 首饰 马虎 "
    "骆驼 高粱 鸳鸯 麻利 麻烦"
)
_FULL_BEFORE_ZI = "男女分原量莲石瓜电学卵算"
_FULL_DOUBLED = "人虎幺哈数袅想熙攘死冉恳佼吵打考整莘青"
_FULL_BEFORE_DI = "局耕落"
_FULL_OTHERS = "干嘛 以下 留得 娃哈哈 花花草草 家家户户"

NEUTRAL_AT_END = frozenset(
    {first + last for last, before in _BEFORE_LAST.items() for first in before} | {*_OTHERS.split()}
)
"""Words of two characters whose second is said without a tone, alone or at the end of others."""

NEVER_NEUTRAL = frozenset(
    {f"{first}子" for first in _FULL_BEFORE_ZI}
    | {character * 2 for character in _FULL_DOUBLED}
    | {f"{first}地" for first in _FULL_BEFORE_DI}
    | {*_FULL_OTHERS.split()}
)
"""Words that keep the tones of a repeated character, or of a last 子."""

_ER_ALONE = (
    "虐 为 护 瞒 救 替 有 一 我 俺 妻 拐 聋 乞 患 幼 孤 婴 婴幼 连体 脑瘫 流浪 体弱 混血 蜜雪 舫 祖 美 "
    "应采 可 侄 孙 侄孙 女 男 红孩 花 虫 马 鸟 猪 猫 狗 少"
)
_ER_MERGED = "小院 胡同 范 老汉 撒欢 寻老礼 妥妥 媳妇"

ER_ALONE = frozenset(f"{before}儿" for before in _ER_ALONE.split())
"""Words in which 儿 is a syllable of its own (a child, a name)."""

ER_MERGED = frozenset(f"{before}儿" for before in _ER_MERGED.split())
"""Words in which 儿 joins the syllable before it whatever their part of speech."""
