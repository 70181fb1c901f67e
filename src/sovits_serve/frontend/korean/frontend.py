"""Korean text to phonemes: jamo with eight vowels, "空" for a blank, "停" for what has no symbol.

A unit is one syllable as it is spelled before the rules of pronunciation ("세", "시" of "3시"), one
blank or one mark; text that a reading was given for is one unit.

Source: GPT-SoVITS 48b1a01, text/korean.py, g2p. Differs: g2pk2's rules are in this package; words
that upstream loses or misreads (``repairs.py``), unless strict.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Phonemization, Reading, Unit
from sovits_serve.frontend.korean import annotation
from sovits_serve.frontend.korean.hangul import compose, is_syllable, parse, spell
from sovits_serve.frontend.korean.idioms import say_idioms
from sovits_serve.frontend.korean.letters import spell_letters
from sovits_serve.frontend.korean.numerals import spell_numbers
from sovits_serve.frontend.korean.pronunciation import Sound, pronounce
from sovits_serve.frontend.korean.repairs import repair

_LETTERS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎㅏㅐㅓㅔㅗㅜㅡㅣ"
_MARKS = "!,-.?…_[]"
_BLANK = "空"
_STOP = "停"
_SYMBOLS = {symbol: symbol for symbol in (*_LETTERS, *_MARKS, _BLANK, _STOP)}
_SYMBOLS |= dict(zip("：；，。！？\n·、 ", ",,,.!?.,,空", strict=True))
_SAYABLE_CODAS = ("", *"ㄱㄴㄷㄹㅁㅂㅇ")
# A word's first ㄹ after the particle 을: the rules make ㄹ of ㄴ there as well, and this undoes it.
_RIEUL_AFTER_PARTICLE = re.compile("(?<=[ㅇㄹ]ㅡㄹ )ㄹ")


class KoreanFrontend:
    """Reads Korean.

    Args:
        is_strict: do what upstream does and no more, also where it loses or misreads words.
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict

    def warm_up(self) -> None:
        """Load the morphological analysis."""
        annotation.warm_up()

    def check_reading(self, text: str, reading: str) -> None:
        """Check that a reading is hangul as it sounds: 익따 for 읽다; blanks may separate words.

        Raises:
            InvalidRequest: names the reading and what is wrong with it.
        """
        shown = f"reading {reading!r} of {text!r}"
        if not reading.strip(" "):
            raise InvalidRequest(f"{shown}: empty; write hangul as it sounds")
        for character in reading:
            if character == " ":
                continue
            if not is_syllable(character):
                raise InvalidRequest(f"{shown}: {character!r} is no hangul syllable")
            coda = parse(character).coda
            if coda not in _SAYABLE_CODAS:
                raise InvalidRequest(
                    f"{shown}: {character!r} ends in {coda}, which is only a spelling; what can be "
                    f"heard there is one of {' '.join(_SAYABLE_CODAS[1:])}"
                )

    def phonemize(self, text: AlignedText, readings: Sequence[Reading] = ()) -> Phonemization:
        """Turn text into phonemes; a text's last syllable is followed by a full stop."""
        prepared = text if self._is_strict else repair(text)
        spelled = say_idioms(spell_letters(compose(prepared)))
        spelled, marks = spell_numbers(spelled, annotation.marks(spelled.text))
        sounds = list(_sounds(spelled, marks, readings))
        pronounce(sounds)
        said = [spell(sound.letters) for sound in sounds]
        _restore_nieun(sounds, said)
        units = [
            Unit(sound.text, tuple(_SYMBOLS.get(c, _STOP) for c in letters), sound.start, sound.end)
            for sound, letters in zip(sounds, said, strict=True)
        ]
        _add_stop(units, said)
        return Phonemization(prepared.text, tuple(units))


def _sounds(
    text: AlignedText, marks: Sequence[str], readings: Sequence[Reading]
) -> Iterator[Sound]:
    """Yield a sound for each character, and one for each reading in place of what it covers."""
    waiting = list(reversed(readings))
    end_of_reading = -1
    for character, mark, start, end in zip(text.text, marks, text.starts, text.ends, strict=True):
        while waiting and waiting[-1].start < end:
            reading = waiting.pop()
            end_of_reading = reading.end
            yield _fixed(reading)
        if start >= end_of_reading:
            yield Sound.of(character, mark, start=start, end=end)
    yield from map(_fixed, reversed(waiting))


def _fixed(reading: Reading) -> Sound:
    letters = "".join(Sound.of(character).letters for character in reading.reading)
    return Sound(reading.reading, letters, start=reading.start, end=reading.end, is_fixed=True)


def _restore_nieun(sounds: Sequence[Sound], said: list[str]) -> None:
    """Let words after the particle 을 begin with ㄴ: upstream does so whether they do or not.

    Source: GPT-SoVITS 48b1a01, text/korean.py, fix_g2pk2_error.
    """
    starts = list(accumulate(map(len, said), initial=0))
    place = 0
    for match in _RIEUL_AFTER_PARTICLE.finditer("".join(said)):
        while starts[place] < match.start():
            place += 1
        if starts[place] == match.start() and not sounds[place].is_fixed:
            said[place] = "ㄴ" + said[place][1:]


def _add_stop(units: list[Unit], said: Sequence[str]) -> None:
    """Add a full stop if a letter comes last; a line feed after it counts as nothing."""
    last = len(units) - 1
    if last > 0 and said[last] == "\n":
        last -= 1
    if last >= 0 and "ㄱ" <= said[last][-1:] <= "ㅣ":
        end = units[last].end
        units.insert(last + 1, Unit(".", (".",), end, end))
