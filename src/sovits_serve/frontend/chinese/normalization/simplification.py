"""Traditional to simplified, character by character.

OpenCC gives the mapping at run time. Upstream's own table differs from it in four ways, which the
constants below express: it knows nothing of characters outside U+4E00 to U+9FA5, leaves some
characters as they are, maps some variants that OpenCC keeps, and maps a few otherwise.

Source: GPT-SoVITS 48b1a01, text/zh_normalization/char_convert.py, t2s_dict (what it maps).
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

FIRST_IDEOGRAPH, LAST_IDEOGRAPH = "\u4e00", "\u9fa5"  # what upstream can read

# Left as they are, whatever OpenCC says.
_UNCHANGED = (
    "乾俔俥俬倈傢儁儎冑剗勩卽厤叄吒唸啓啢嗊嚮垻埰墰墶壋壎壜壪夥奬嫺嫿嬃寀嶢嶨嶮巰幷廎彔彲徵悞"
    "慤憖懞戱扞拚挩挱捱掗揯搧摺擡擣敎敓斆於旣昇曏朮枴柺査梲棊棶榘榦榲槶槼樑樧樳樿欅殻氾汎汙泝"
    "洩涗淩渢溮溳溼漊潙澐澦澩濚濜瀂灧熅燻牀牴犛獃琱瑒瑲璡璫璸璿産畵痠瘺皁眞瞶硜碕磠祕秈穭窵竈"
    "箚篠簑糉糹紖絃絰綌綞綯綳緑緓緼縕纇罎羣羶翫翽耮脣脩菴菸萴葤蒐蒕蓆蔘薀薘薟薴薹藴蘀虆蠁袷襉"
    "襏襬覎訁訒訩詗説諝謡謭譸讅豔豶貟賵贋贜赬蹠軑軤輈輬輼遡酇醖醟醣釒鈃鈅鈒鈡鉆鉳鉶銍銱鋙鋣鋭"
    "鋶錩録錼鍃鍅鍈鍚鎌鎚鎭鎲鎸鏍鏽鐋鐶鑕鑱鑹钂閒閤閲闒闠闤隯霢靝鞝鞽韍韝頮頲頽颸飀飠飣飥飿餈"
    "餏餖餚餶餷馹騂騌騤驌驦驫鬹魛魢魨魺鮊鮋鮓鮜鮝鮦鮳鮶鮺鯒鯕鯝鯴鰁鰃鰏鰛鰜鰠鰵鰺鰼鱂鱠鱤鱨鱯"
    "鳬鳲鵃鵐鵮鵷鶊鶡鶥鶬鶹鶿鷁鷄鷊鷚鷫鸇鸌鸏鸘麫麯麴黶鼂齕齗齧"
)
# The variant and what it becomes.
_VARIANTS = (
    "㠯以 㵎涧 㼝碗 䠶射 䰾鲃 䳘鹅 亾亡 佀似 俲效 俻备 偪逼 傌骂 傚效 儗拟 儸㑩 "
    "刦劫 刧劫 刼劫 剉锉 効效 勣绩 勦剿 勲勋 咷啕 哶咩 唚吣 啣衔 嘊啀 嘷嗥 塲场 "
    "姪侄 嬝袅 宂冗 寳宝 尒尔 屭屃 峩峨 崐昆 嶃崭 嶴岙 帬裙 幇帮 幚帮 廹迫 彊强 "
    "彞彝 怳恍 悳德 惥恿 惪德 惷蠢 愙恪 慂恿 戞戛 戼卯 抝拗 揹背 搯掏 撝㧑 撧撅 "
    "敍叙 敱敳 旹时 昰是 暱昵 曡叠 朶朵 栢柏 桮杯 椀碗 楄匾 楳梅 榜搒 櫂棹 櫺棂 "
    "殀夭 殽肴 氷冰 涖莅 湼涅 濬浚 瀋渖 煗暖 牎窗 牕窗 獘毙 玨珏 珮佩 琊玡 琹琴 "
    "瑯琅 甦苏 甯宁 畬畲 疉叠 痺痹 皐皋 盌碗 睪睾 睺喉 瞇眯 瞜䁖 砲炮 礆硷 礡礴 "
    "禑祦 秌秋 稭秸 稾稿 窓窗 窰窑 窻窗 竝并 筩筒 筯箸 簷檐 籐藤 籖签 粃秕 粺稗 "
    "糭粽 紥扎 綵䌽 緜绵 緥褓 纉缵 羗羌 翄翅 翺翱 耑专 肈肇 膆嗉 臕膘 艶艳 荳豆 "
    "菕芲 萹扁 蔴麻 薙剃 虵蛇 蝯猿 蝱虻 螮䗖 蠭蜂 衂衄 裌夹 褭袅 襃褒 覇霸 託讬 "
    "訢䜣 詧察 誖悖 諠喧 諮谘 謌歌 譌讹 譔撰 讌䜩 貎猊 貙䝙 躛躗 躳躬 輙辄 辠罪 "
    "辢辣 辤辞 逕迳 遉侦 鉅钜 銲焊 銾汞 鋻鉴 鍾锺 鏇镟 閧哄 隂阴 隄堤 鞌鞍 韮韭 "
    "顇悴 飜翻 飤饲 餔哺 餘馀 餻糕 餽馈 饍膳 駮驳 髈膀 髐髇 鬪斗 鬭斗 鮌鲧 鰆䲠 "
    "鱓鳝 鵞鹅 鷈䴘 鷉䴘 鷿䴙 鸊䴙 麼麽 "
)


@cache
def simplified_characters() -> Mapping[str, str]:
    """Return traditional or variant character -> simplified, where the two differ."""
    from opencc import OpenCC

    characters = [chr(code) for code in range(ord(FIRST_IDEOGRAPH), ord(LAST_IDEOGRAPH) + 1)]
    # Each in a line of its own, so that OpenCC sees no phrases.
    converted = OpenCC("t2s").convert("\n".join(characters)).split("\n")
    table = {
        character: simplified
        for character, simplified in zip(characters, converted, strict=True)
        if character != simplified and FIRST_IDEOGRAPH <= simplified <= LAST_IDEOGRAPH
    }
    for character in _UNCHANGED:
        table.pop(character, None)
    table.update((pair[0], pair[1]) for pair in _VARIANTS.split())
    return MappingProxyType(table)
