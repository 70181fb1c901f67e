"""How a row of Hangul syllables is said: the rules of standard pronunciation (표준 발음법).

The number of syllables never changes, so each sound keeps its place. Rules come in upstream's
order: first those that depend on the kind of word, then every coda with the onset after it, then
liaison. Blanks do not stop consonants from changing each other, but stop liaison.

Source of the order and of what is left out (long vowels, most ㄴ insertions and compound
tensing): g2pk2 0.0.3, special.py, regular.py, table.csv. Differs: rules over letters instead of
replacements in a string of conjoining jamo.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sovits_serve.frontend.korean.consonants import contact, final, liaison
from sovits_serve.frontend.korean.hangul import TENSE, is_syllable, parse

# Endings that begin as if after the adnominal ㄹ (rule 27), with what is tensed.
_AFTER_RIEUL = ("걸", "밖에", "세라", "수록", "지라도", "지언정", "진대")
# What the last consonant of a letter's name becomes before a vowel (rule 16: 티읕이 [티으시]).
_LETTER_NAME_CODAS = {
    "ㄷ": "ㅅ",
    "ㅈ": "ㅅ",
    "ㅊ": "ㅅ",
    "ㅌ": "ㅅ",
    "ㅎ": "ㅅ",
    "ㅋ": "ㄱ",
    "ㅍ": "ㅂ",
}


@dataclass(slots=True)
class Sound:
    """A syllable as it is said so far, or any other character (``vowel`` is "").

    ``mark`` is the kind of word that ends here (``annotation.py``). A fixed sound has all its
    letters in ``onset``, is left alone, and is a boundary to its neighbours. ``start`` and ``end``
    are the range of the original text.
    """

    text: str
    onset: str = ""
    vowel: str = ""
    coda: str = ""
    mark: str = ""
    start: int = 0
    end: int = 0
    is_fixed: bool = False

    @classmethod
    def of(cls, character: str, mark: str = "", *, start: int = 0, end: int = 0) -> "Sound":
        """Return the sound of a character as it is written."""
        if mark == "J":  # no rule here asks for it
            mark = ""
        if not is_syllable(character):
            return cls(character, mark=mark, start=start, end=end)
        syllable = parse(character)
        return cls(character, syllable.onset, syllable.vowel, syllable.coda, mark, start, end)

    @property
    def letters(self) -> str:
        """Return the letters as said; another character stays what it is."""
        return self.onset + self.vowel + self.coda or self.text

    @property
    def is_free(self) -> bool:
        """Return whether rules apply."""
        return bool(self.vowel) and not self.is_fixed


def pronounce(sounds: list[Sound]) -> None:
    """Apply all rules, in place. A mark after ㅀ is taken away, as upstream does."""
    for sound in sounds:
        if sound.is_free:
            _say_vowel(sound)
    for before, after in _pairs(sounds):
        _say_by_kind(before, after)
    _tense_after_rieul(sounds)
    join(sounds)


def join(sounds: list[Sound]) -> None:
    """Apply the rules of consonants that meet, and of liaison, in place."""
    _let_consonants_meet(sounds)
    for before, after in _pairs(sounds):
        if after is not None and before.coda and after.is_free and after.onset == "ㅇ":
            before.coda, after.onset = liaison(before.coda)


def _pairs(sounds: Sequence[Sound]) -> Iterator[tuple[Sound, Sound | None]]:
    """Yield every free syllable with whatever stands after it."""
    for i, sound in enumerate(sounds):
        if sound.is_free:
            yield sound, sounds[i + 1] if i + 1 < len(sounds) else None


def _say_vowel(sound: Sound) -> None:
    """Say 져 쪄 쳐 as 저 쩌 처, and ㅢ after a consonant as ㅣ (rule 5)."""
    if sound.vowel == "ㅕ" and sound.onset in "ㅈㅉㅊ":
        sound.vowel = "ㅓ"
    elif sound.vowel == "ㅢ" and sound.onset != "ㅇ":
        sound.vowel = "ㅣ"


def _say_by_kind(before: Sound, after: Sound | None) -> None:
    """Apply what depends on words rather than on sounds alone."""
    following = after if after is not None and after.is_free else None
    if following is not None and following.onset == "ㅇ" and not before.mark:
        _say_letter_name(before, following)
    if following is not None and before.mark == "P":
        _say_stem(before, following)
    _say_balb(before, following)
    if following is not None and not before.mark:
        _palatalize(before, following)


def _say_letter_name(before: Sound, after: Sound) -> None:
    """Carry over ㅅ ㄱ ㅂ in place of ㅌ ㅋ ㅍ in the names of letters (rule 16).

    As upstream has it, this holds after any ㅡ: 늦은 is 느슨.
    """
    if before.vowel == "ㅡ" and before.coda in _LETTER_NAME_CODAS:
        after.onset = _LETTER_NAME_CODAS[before.coda]
        before.coda = ""


def _say_stem(before: Sound, after: Sound) -> None:
    """Tense the ending after a stem in ㄴ ㅁ ㄼ ㄾ, and say ㄺ as ㄹ before ㄱ (rules 11, 24, 25)."""
    if before.coda == "ㄺ":
        if after.onset in "ㄱㄲ":
            before.coda, after.onset, before.mark = "ㄹ", "ㄲ", ""
    elif after.onset in "ㄱㄷㅅㅈ":
        before.coda = {"ㄵ": "ㄴ", "ㄻ": "ㅁ"}.get(before.coda, before.coda)
        after.onset, before.mark = TENSE[after.onset], ""


def _say_balb(before: Sound, after: Sound | None) -> None:
    """Say 밟 as 밥, and 넓 as 넙 in 넓죽하다 and 넓둥글다 (rule 10).

    A stem's mark stands between 밟 and its ending, so that upstream says 밟아 as 바바.
    """
    if before.coda != "ㄼ":
        return
    onset, vowel = (after.onset, after.vowel) if after is not None and not before.mark else ("", "")
    if (before.onset, before.vowel) == ("ㅂ", "ㅏ") and onset not in ("ㅇ", "ㅎ"):
        before.coda = "ㅂ"
    if (before.onset, before.vowel) == ("ㄴ", "ㅓ") and vowel == "ㅜ" and onset in "ㅈㅉㄷㄸ":
        before.coda = "ㅂ"


def _palatalize(before: Sound, after: Sound) -> None:
    """Say ㄷ and ㅌ before 이 as ㅈ and ㅊ (rule 17)."""
    if after.onset == "ㅇ" and after.vowel in "ㅣㅕ" and before.coda in {"ㄷ", "ㅌ", "ㄾ"}:
        after.onset = "ㅈ" if before.coda == "ㄷ" else "ㅊ"
        before.coda = "ㄹ" if before.coda == "ㄾ" else ""
    elif before.coda == "ㄷ" and after.onset == "ㅎ" and after.vowel == "ㅣ":
        before.coda, after.onset = "", "ㅊ"


def _tense_after_rieul(sounds: list[Sound]) -> None:
    """Tense what comes after an adnominal ㄹ, and the endings that begin with one (rule 27)."""
    for i, sound in enumerate(sounds):
        if not sound.is_free or sound.coda != "ㄹ":
            continue
        if sound.mark == "E" and _is_blank(sounds, i + 1):
            following = _free(sounds, i + 2)
            if following is not None:
                following.onset = TENSE.get(following.onset, following.onset)
        elif not sound.mark:
            _tense_ending(sounds[i + 1 : i + 4])


def _tense_ending(sounds: Sequence[Sound]) -> None:
    for ending in _AFTER_RIEUL:
        if _begins_with(sounds, ending):
            sounds[0].onset = TENSE[sounds[0].onset]
            if ending == "밖에":
                sounds[0].coda, sounds[1].onset = "", "ㄲ"


def _begins_with(sounds: Sequence[Sound], ending: str) -> bool:
    """Return whether sounds are those of an ending; its last syllable may have gained a coda."""
    if len(sounds) < len(ending):
        return False
    pairs = list(zip(sounds, map(parse, ending), strict=False))
    return (
        all(one.is_free and (one.onset, one.vowel) == (two.onset, two.vowel) for one, two in pairs)
        and all(one.coda == two.coda and not one.mark for one, two in pairs[:-1])
        and pairs[-1][1].coda in ("", pairs[-1][0].coda)
    )


def _let_consonants_meet(sounds: list[Sound]) -> None:
    """Say every coda as the next onset has it, also across one blank (rules 8 to 20, 23)."""
    eaten = []
    for i, sound in enumerate(sounds):
        if not sound.is_free or not sound.coda:
            continue
        after = sounds[i + 1] if i + 1 < len(sounds) else None
        is_blank = _is_blank(sounds, i + 1)
        following = _free(sounds, i + 2 if is_blank else i + 1)
        if following is not None and following.onset != "ㅇ":
            coda, following.onset = contact(sound.coda, following.onset)
            sound.coda = final(coda) if is_blank else coda
        elif after is None or after.is_fixed or not _is_wordlike(after):
            if sound.coda == "ㅀ" and after is not None and not after.is_fixed:
                eaten.append(i + 1)
            sound.coda = final(sound.coda)
    for i in reversed(eaten):
        del sounds[i]


def _is_wordlike(sound: Sound) -> bool:
    return bool(sound.vowel) or sound.text.isalnum() or sound.text == "_"


def _is_blank(sounds: Sequence[Sound], i: int) -> bool:
    return i < len(sounds) and sounds[i].text == " " and not sounds[i].is_fixed


def _free(sounds: Sequence[Sound], i: int) -> Sound | None:
    return sounds[i] if i < len(sounds) and sounds[i].is_free else None
