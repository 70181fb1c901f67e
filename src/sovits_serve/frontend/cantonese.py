"""Cantonese: normalised text to jyutping to phonemes.

Text is normalised as Mandarin is (the checkpoints were trained so); then each character is read
as in the longest dictionary word that begins there (ToJyutping). A syllable becomes two phonemes,
its beginning and its rest with the tone, both prefixed "Y" to keep them apart from Mandarin's.

Source: GPT-SoVITS 48b1a01, text/cantonese.py. Differs, unless strict: a character beyond U+9FA5
that has a reading (㗎, 𨋢, 〇) is read, not dropped; a character of two syllables (卅) has the
phonemes of both; a syllable that the table cannot spell is spelt as its nearest neighbour, not
"UNK". A character without any reading is left out; upstream raises an error.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Phonemization, Reading, Unit
from sovits_serve.frontend.chinese.normalization.repairs import repair
from sovits_serve.frontend.symbols import symbol_ids

_MARKS = frozenset("!?…,.-")
_ELLIPSIS = re.compile(r"\.\.\.")
_MARK_OF = str.maketrans("：；，·、。\n$！？—～~", ",,,,,...!?---")

_SYLLABLE = re.compile(r"[a-z]{1,6}[1-6]")
_INITIAL = re.compile("gw|kw|ng|[bcdfghjklmnpstwz]")
# Where a vowel comes first, the beginning of the rhyme takes the place of the initial.
_BEGINNING = re.compile(rf"{_INITIAL.pattern}|aa|a[iuptk]?|e|o(?:ng|[nuik])?|u(?:k|ng)")
# Rhymes of colloquial words that the table lacks, and those of their literary doublets.
_NEAREST_RHYME = {"em": "im", "en": "in", "ep": "ip", "et": "it", "eu": "iu", "oet": "eot"}


class CantoneseFrontend:
    """Turns Cantonese text into phonemes; a unit is one character of the normalised text.

    With ``is_strict`` it reads what upstream reads and no more, for comparison.
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict

    def warm_up(self) -> None:
        """Load the dictionary and the normaliser."""
        self.phonemize(AlignedText.of("一"))

    def check_reading(self, text: str, reading: str) -> None:
        """Check that ``reading`` is jyutping with tone digits, one syllable for each character.

        Raises:
            InvalidRequest: a syllable is no jyutping, or there are too many or too few.
        """
        syllables = reading.split()
        for syllable in syllables:
            if not _is_jyutping(syllable):
                raise InvalidRequest(
                    f"reading: {syllable!r} in {reading!r} is not a syllable of jyutping with its "
                    'tone, 1 to 6, such as "ngan4"'
                )
        allowed = _syllable_counts(text)
        if not syllables or (allowed and len(syllables) not in allowed):
            raise InvalidRequest(
                f"reading: {reading!r} has {len(syllables)} syllables for {text!r}; write one "
                "syllable of jyutping for each character, with blanks between"
            )

    def phonemize(self, text: AlignedText, readings: Sequence[Reading] = ()) -> Phonemization:
        """Turn text into phonemes; ``readings`` are jyutping."""
        said = text if self._is_strict else repair(text)
        units = list(to_units(normalize(said, self._is_strict), self._is_strict))
        if readings:
            units = _with_readings(units, readings, text)
        return Phonemization("".join(unit.text for unit in units), tuple(units))


def normalize(text: AlignedText, is_strict: bool = False) -> AlignedText:
    """Return the text in characters that have a reading and in the marks ``! ? … , . -``."""
    from sovits_serve.frontend.chinese.normalization import normalize_sentences

    return _keep_spoken(AlignedText.concat(normalize_sentences(text)), is_strict)


def to_units(normalized: AlignedText, is_strict: bool = False) -> Iterator[Unit]:
    """Turn normalised text into units, one for each character."""
    for place, (character, jyutping) in enumerate(_jyutping()(normalized.text)):
        if jyutping is None:
            phonemes: tuple[str, ...] = (character,)
        elif is_strict:
            phonemes = _spell_strictly(jyutping)
        else:
            phonemes = _spell_all(jyutping.split(" "))
        yield Unit(character, phonemes, normalized.starts[place], normalized.ends[place])


@lru_cache(maxsize=4096)
def spell(syllable: str) -> tuple[str, str]:
    """Turn a syllable of jyutping into phonemes, those of its nearest neighbour if need be.

    An initial "ng" comes and goes before a, e, o and u in spoken Cantonese ("ung3", "ngung3"), so
    the one stands in for the other.
    """
    phonemes = _spell_strictly(syllable)
    if _are_known(phonemes):
        return phonemes
    base, tone = syllable[:-1], syllable[-1]
    match = _INITIAL.match(base)
    initial = match.group() if match else ""
    rhyme = base[len(initial) :]
    spoken = initial or ("j" if rhyme.startswith("i") else "ng")
    return _spell_strictly(spoken + _NEAREST_RHYME.get(rhyme, rhyme) + tone)


def _spell_strictly(jyutping: str) -> tuple[str, str]:
    """Split a syllable as upstream does; two syllables in one give what is no phoneme."""
    base, tone = jyutping[:-1], jyutping[-1]
    match = _BEGINNING.match(base)
    beginning = match.group() if match else ""
    # A syllable that is all beginning ("ng5", "aa3") ends in the last letter of it.
    rest = base[len(beginning) :] or beginning[-1]
    return f"Y{beginning}", f"Y{rest}{tone}"


def _spell_all(syllables: Iterable[str]) -> tuple[str, ...]:
    return tuple(phoneme for syllable in syllables for phoneme in spell(syllable))


def _is_jyutping(syllable: str) -> bool:
    return _SYLLABLE.fullmatch(syllable) is not None and _are_known(spell(syllable))


def _are_known(phonemes: Iterable[str]) -> bool:
    # "Y" alone, a syllable without a beginning ("ik1"), is an English phoneme.
    return all(phoneme in symbol_ids("v2") and phoneme != "Y" for phoneme in phonemes)


@cache
def _jyutping() -> Callable[[str], list[tuple[str, str | None]]]:
    """Load the dictionary: text to its characters and their jyutping, None if there is none."""
    from ToJyutping import get_jyutping_list

    lookup: Callable[[str], list[tuple[str, str | None]]] = get_jyutping_list
    return lookup


@lru_cache(maxsize=65536)
def _reading_of(character: str) -> str | None:
    """Return how a character is read alone; two syllables have a blank between them."""
    return _jyutping()(character)[0][1]


def _syllable_counts(text: str) -> set[int]:
    """Return how many syllables a text can have; nothing if not all of it is characters."""
    words = [_reading_of(character) for character in text if character.isalnum()]
    if None in words:
        return set()
    return {len(words), sum(word.count(" ") + 1 for word in words if word)} - {0}


def _keep_spoken(text: AlignedText, is_strict: bool) -> AlignedText:
    def kept(character: str) -> str:
        mark = character.translate(_MARK_OF)
        if mark in _MARKS:
            return mark
        if is_strict and not "一" <= character <= "龥":
            return ""
        return character if _reading_of(character) else ""

    return text.sub(_ELLIPSIS, "…").map_characters(kept)


def _with_readings(
    units: Iterable[Unit], readings: Sequence[Reading], text: AlignedText
) -> list[Unit]:
    """Give units the readings of their ranges; a reading whose range has no unit gets its own."""
    owners = [(unit, _owner(unit, readings)) for unit in units]
    counts = Counter(owner for _, owner in owners)
    shares = [
        _shares(reading.reading.split(), counts[place]) for place, reading in enumerate(readings)
    ]
    result = [
        unit if owner is None else replace(unit, phonemes=_spell_all(next(shares[owner])))
        for unit, owner in owners
    ]
    for place, reading in enumerate(readings):
        if not counts[place]:
            _insert(result, reading, text)
    return result


def _owner(unit: Unit, readings: Sequence[Reading]) -> int | None:
    """Return the place of the reading whose range a unit shares; marks go by none."""
    place = bisect_right(readings, unit.start, key=lambda reading: reading.end)
    if unit.text in _MARKS or place == len(readings) or readings[place].start >= unit.end:
        return None
    return place


def _shares(syllables: Sequence[str], count: int) -> Iterator[Sequence[str]]:
    """Deal syllables to ``count`` units, one each; the last one takes what is left."""
    for place in range(count - 1):
        yield syllables[place : place + 1]
    yield syllables[max(count - 1, 0) :]


def _insert(units: list[Unit], reading: Reading, text: AlignedText) -> None:
    """Put in a unit for a range that normalising has left nothing of (a Latin word)."""
    place = next((i for i, unit in enumerate(units) if unit.start >= reading.end), len(units))
    inside = (
        character
        for character, start in zip(text.text, text.starts, strict=True)
        if reading.start <= start < reading.end
    )
    phonemes = _spell_all(reading.reading.split())
    units.insert(place, Unit("".join(inside), phonemes, reading.start, reading.end))
