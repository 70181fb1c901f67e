"""Readings that somebody asked for: checking them, and giving them to the units.

A reading is one syllable with a tone digit for each Chinese character: "yin2 hang2" for 银行. ü is
written "v", "u:" or as itself. Letters and digits may be given any number of syllables.
"""

import unicodedata
from collections.abc import Sequence

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Reading, Unit
from sovits_serve.frontend.chinese.syllables import is_reading, phonemes_of

_NOTATION = (
    'write pinyin with a tone digit 1 to 5 for each character, such as "yin2 hang2" for 银行'
)


def check_reading(text: str, reading: str) -> None:
    """Check that a reading has a syllable for each Chinese character of a text.

    Raises:
        InvalidRequest: names the reading, what is wrong and what is allowed.
    """
    syllables = _syllables(reading)
    if not syllables:
        raise InvalidRequest(f"reading of {text!r}: it is empty; {_NOTATION}")
    for syllable in syllables:
        if not is_reading(syllable):
            raise InvalidRequest(
                f"reading {reading!r} of {text!r}: {syllable!r} is no Mandarin syllable with its "
                f"tone; {_NOTATION}"
            )
    characters = [character for character in text if character.isalnum()]
    if not characters:
        raise InvalidRequest(f"reading {reading!r} of {text!r}: there is nothing to read")
    is_chinese = all(unicodedata.name(character, "").startswith("CJK") for character in characters)
    if is_chinese and len(syllables) != len(characters):
        raise InvalidRequest(
            f"reading {reading!r} of {text!r}: {len(syllables)} syllables for {len(characters)} "
            f"characters; {_NOTATION}"
        )


def apply_readings(
    units: Sequence[Unit], text: AlignedText, readings: Sequence[Reading]
) -> list[Unit]:
    """Return the units with those that come from each reading's range said as it says.

    ``text`` is the text before normalisation: what normalisation dropped is said too.
    """
    result = list(units)
    for reading in readings:
        syllables = _syllables(reading.reading)
        if syllables and all(is_reading(syllable) for syllable in syllables):
            result = _apply(result, _characters(text, reading), syllables, reading)
    return result


def _apply(
    units: list[Unit], characters: list[Unit], syllables: list[str], reading: Reading
) -> list[Unit]:
    own = [i for i, unit in enumerate(units) if _comes_from(unit, reading, characters)]
    said = [units[i] for i in own]
    if len(own) != len(syllables):
        said = characters
    if not said:
        return units
    following = (i for i, unit in enumerate(units) if unit.start >= reading.start)
    place = own[0] if own else next(following, len(units))
    kept = [unit for i, unit in enumerate(units) if i not in set(own)]
    return [*kept[:place], *_spread(syllables, said), *kept[place:]]


def _comes_from(unit: Unit, reading: Reading, characters: list[Unit]) -> bool:
    """Tell whether a unit is a character of the range, or of a number that touches it."""
    if not unit.text.isalnum() or unit.start >= reading.end or unit.end <= reading.start:
        return False
    is_within = reading.start <= unit.start and unit.end <= reading.end
    return is_within or any(unit.text == character.text for character in characters)


def _characters(text: AlignedText, reading: Reading) -> list[Unit]:
    """Return the characters of a range, without phonemes."""
    return [
        Unit(character, (), start, end)
        for character, start, end in zip(text.text, text.starts, text.ends, strict=True)
        if reading.start <= start and end <= reading.end and character.isalnum()
    ]


def _spread(syllables: list[str], characters: list[Unit]) -> list[Unit]:
    """Give each character a syllable, the last one what is left."""
    count = min(len(syllables), len(characters))
    shares = [*([syllable] for syllable in syllables[: count - 1]), syllables[count - 1 :]]
    return [
        Unit(
            character.text,
            tuple(phoneme for syllable in share for phoneme in phonemes_of(syllable)),
            character.start,
            character.end,
        )
        for character, share in zip(characters, shares, strict=False)
    ]


def _syllables(reading: str) -> list[str]:
    composed = unicodedata.normalize("NFC", reading).lower()
    return composed.replace("u:", "v").replace("ü", "v").split()
