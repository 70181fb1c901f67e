"""Words that are not said as their letters tell, and short forms that are read as words.

Each word is written with signs at the places where something happens; how it is said follows from
the general rules. ``+``: a ㄴ comes in before the vowel. ``^``: the consonant is tensed. ``=``: ㄹ is
said ㄴ. ``-``: the ㅅ between two words is silent and tenses. A word after ``:`` is said instead.

Source of the choice and the order: g2pk2 0.0.3, idioms.txt, which takes them from the examples of
the Standard Pronunciation (표준 발음법). Differs: said forms come from rules.
"""

from functools import cache

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean.hangul import TENSE, Syllable
from sovits_serve.frontend.korean.pronunciation import Sound, join

_RULE_20 = (
    "의견=란 임진=란 생산=량 결^단=력 공^권=력 동원=령 상견=례 횡단=로 이원=론 입원=료 구근=류"
)
_RULE_26 = "갈^등 발^동 절^도 말^살 불^소 일^시 갈^증 물^질 발^전 몰^상식 불^세출"
_RULE_28 = (
    "문^고리 눈^동자 신^바람 산^새 손^재주 길^가 물^동이 발^바닥 굴^속 술^잔 바람^결 그믐^달 아침^밥 "
    "잠^자리 강^가 초승^달 등^불 창^살 강^줄기"
)
_RULE_29 = (
    "솜+이불 홑+이불 막+일 삯+일 맨+입 꽃+잎 내복+약 색+연필 직행+열차 늑막+염 콩+엿 담+요 눈+요기 "
    "영업+용 식용+유 국민+윤리 밤윳:밤뉻 이죽+이죽 야금+야금 검+열 욜랑+욜랑 금+융 들+일 솔+잎 "
    "설+익다 물+약 불+여우 서울+역 물+엿 휘발+유 유들+유들 한+일 옷+입다 서른+여섯 3연대:삼+연대 "
    "먹은+엿 할+일 잘+입다 스물+여섯 1연대:일+연대 먹을+엿 6·25:육이오 3·1절:삼일^절 송별연"
)
_RULE_30 = (
    "냇-가 샛-길 빨랫-돌 콧-등 깃-발 대팻-밥 햇-살 뱃-속 뱃-전 고갯-짓 콧날 아랫니 툇마루 뱃머리 "
    "베갯+잇 깻+잎 나뭇+잎 도리깻+열 뒷윷:뒨뉻"
)
_RULE_27 = "할^걸 할^밖에 할^세라 할^수록 할^지라도 할^지언정 할^진대"
_SHORT_FORMS = "%:퍼센트 1번째:첫번째 10월:시월"
_SIGNS = "+^=-"
_AS_SAID = frozenset({"밤윳", "뒷윷", *(form.partition(":")[0] for form in _SHORT_FORMS.split())})


def say_idioms(text: AlignedText) -> AlignedText:
    """Replace the words by how they are said."""
    for word, said in _words():
        if word in text.text:
            text = _replace(text, word, said)
    return text


def _replace(text: AlignedText, word: str, said: str) -> AlignedText:
    parts: list[AlignedText] = []
    done = 0
    start = text.text.find(word)
    while start >= 0:
        end = start + len(word)
        if len(word) == len(said):
            new = AlignedText(said, text.starts[start:end], text.ends[start:end])
        else:
            new = AlignedText.from_range(said, *text.origin(start, end))
        parts += (text[done:start], new)
        done = end
        start = text.text.find(word, done)
    return AlignedText.concat((*parts, text[done:]))


@cache
def _words() -> tuple[tuple[str, str], ...]:
    """Return every word and how it is said, in the order in which they apply."""
    found = []
    rules = (_RULE_20, _RULE_26, _RULE_28, _RULE_29, _RULE_30, _RULE_27, _SHORT_FORMS)
    for entry in " ".join(rules).split():
        written, _, spelled = entry.partition(":")
        word = written.translate(dict.fromkeys(map(ord, _SIGNS)))
        said = spelled if word in _AS_SAID else _say(spelled or written)
        found.append((word, said))
    return tuple(found)


def _say(signed: str) -> str:
    sounds: list[Sound] = []
    sign = ""
    for character in signed:
        if character in _SIGNS:
            sign = character
            continue
        sound = Sound.of(character)
        if sign:
            _obey(sign, sounds[-1], sound)
        sounds.append(sound)
        sign = ""
    join(sounds)
    return "".join(str(Syllable(one.onset, one.vowel, one.coda)) for one in sounds)


def _obey(sign: str, before: Sound, after: Sound) -> None:
    if sign == "-":
        before.coda = ""
    after.onset = "ㄴ" if sign in "+=" else TENSE[after.onset]
