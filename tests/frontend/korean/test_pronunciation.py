"""Rules over whole words. Marks are given by hand: nothing is analysed here."""

import pytest

from sovits_serve.frontend.korean.hangul import Syllable
from sovits_serve.frontend.korean.pronunciation import Sound, pronounce


def say(text: str, **marks: str) -> str:
    """Return a text as it is said; ``P="읽"`` marks the syllable 읽 with "P"."""
    sounds = [Sound.of(c, next((m for m, at in marks.items() if at == c), "")) for c in text]
    pronounce(sounds)
    return "".join(
        str(Syllable(one.onset, one.vowel, one.coda)) if one.vowel else one.text for one in sounds
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [("다쳐", "다처"), ("무늬", "무니"), ("의사", "의사"), ("희망", "히망")],
)
def test_vowels(written: str, said: str) -> None:
    """져 쪄 쳐 lose their glide, and ㅢ is ㅣ after a consonant (rule 5)."""
    assert say(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("굳이", "구지"),
        ("밭이", "바치"),
        ("벼훑이", "벼훌치"),
        ("닫히다", "다치다"),
        ("밭에", "바테"),
    ],
)
def test_palatalization(written: str, said: str) -> None:
    """ㄷ and ㅌ become ㅈ and ㅊ before 이 only (rule 17)."""
    assert say(written) == said


@pytest.mark.parametrize(
    ("written", "said"), [("옷 안", "옫 안"), ("꽃 위", "꼳 위"), ("책 넣는다", "챙 넌는다")]
)
def test_a_blank_stops_liaison_but_not_assimilation(written: str, said: str) -> None:
    """Across a blank consonants change each other, and nothing is carried over."""
    assert say(written) == said


def test_two_blanks_stop_everything() -> None:
    """Rules reach across one blank, not across two."""
    assert say("책  넣는다") == "책  넌는다"


@pytest.mark.parametrize(
    ("written", "stem", "said"),
    [
        ("신고", "신", "신꼬"),
        ("앉지", "앉", "안찌"),
        ("읽고", "읽", "일꼬"),
        ("핥다", "핥", "할따"),
    ],
)
def test_stems_tense_their_endings(written: str, stem: str, said: str) -> None:
    """After a stem's ㄴ ㅁ ㄼ ㄾ an ending is tensed; its ㄺ is ㄹ before ㄱ (rules 11, 24, 25)."""
    assert say(written, P=stem) == said


def test_nouns_do_not_tense_their_particles() -> None:
    """신고 the report is no form of a verb."""
    assert say("신고") == "신고"


def test_an_adnominal_rieul_tenses_the_next_word() -> None:
    """할 것을 is [할 꺼슬] (rule 27), if 할 ends in such an ending."""
    assert say("할 것을", E="할") == "할 꺼슬"
    assert say("달 것을") == "달 거슬"


@pytest.mark.parametrize(
    ("written", "said"),
    [("갈수록", "갈쑤록"), ("올밖에", "올빠께"), ("볼지라도", "볼찌라도"), ("물걸레", "물껄레")],
)
def test_endings_that_begin_with_rieul(written: str, said: str) -> None:
    """Some endings are tensed after ㄹ whatever the analysis says (rule 27), 걸레 included."""
    assert say(written) == said


@pytest.mark.parametrize(
    ("written", "said"), [("밟다", "밥따"), ("넓죽하다", "넙쭈카다"), ("넓다", "널따")]
)
def test_two_stems_that_say_bieup(written: str, said: str) -> None:
    """밟 and, in two words, 넓 are said with ㅂ (rule 10)."""
    assert say(written) == said


def test_codas_are_said_before_marks_and_stay_before_letters() -> None:
    """A mark ends a word; a Han character or a lone letter does not, as upstream has it."""
    assert say("꽃, 꽃!") == "꼳, 꼳!"
    assert say("꽃ㅋ") == "꽃ㅋ"


def test_a_fixed_sound_is_a_boundary() -> None:
    """Rules neither change what was asked for nor reach across it."""
    sounds = [Sound.of("옷"), Sound("이", "ㅇㅣ", is_fixed=True), Sound.of("은")]

    pronounce(sounds)

    assert [sound.letters for sound in sounds] == ["ㅇㅗㄷ", "ㅇㅣ", "ㅇㅡㄴ"]
