"""The phoneme symbols of both tables and their ids.

A symbol's id is its place in the table the checkpoint was trained with. The tables follow rules:
v1 is the sorted set of Mandarin, English and Japanese symbols and marks; v2 is v1 followed by the
Japanese prosody marks, the sorted Korean jamo and the sorted Cantonese symbols.

Source: GPT-SoVITS 48b1a01, text/symbols.py and text/symbols2.py. Differs: generated from rules.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from sovits_serve.errors import InvalidRequest

_MARKS = "! , - . ? … _ SP SP2 SP3 UNK"
_MANDARIN_INITIALS = "b c ch d f g h j k l m n p q r s sh t w x y z zh AA EE OO"
_MANDARIN_FINALS = (
    "E En a ai an ang ao e ei en eng er i i0 ia ian iang iao ie in ing iong ir iu o ong ou u ua "
    "uai uan uang ui un uo v van ve vn"
)
_JAPANESE = (
    "I N U a b by ch cl d dy e f g gy h hy i j k ky m my n ny o p py r ry s sh t ts u v w y z"
)
_ENGLISH_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH ER"
_ENGLISH_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
_ENGLISH_EXTRA = "IH"
_KOREAN = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎㅏㅐㅓㅔㅗㅜㅡㅣ停空"
_CANTONESE_INITIALS = "b c d f g gw h j k kw l m n ng p s t w z"
_CANTONESE_TONELESS = "a aa ai ak au e k m n o oi ok on ou p t uk"
_CANTONESE_FINALS = (
    "a aa aai aak aam aan aang aap aat aau ai ak am an ang ap at au e ei ek eng eoi eon eot g i "
    "ik im in ing ip it iu k m n o oe oek oeng oi ok on ong ot ou p t u ui uk un ung ut yu yun yut"
)


def _toned(stems: str, tones: Iterable[int]) -> set[str]:
    return {f"{stem}{tone}" for stem in stems.split() for tone in tones}


@cache
def symbol_table(version: str) -> tuple[str, ...]:
    """Return the symbols of table "v1" (322) or "v2" (732); the index is the phone id."""
    plain = " ".join((_MARKS, _MANDARIN_INITIALS, _JAPANESE, _ENGLISH_CONSONANTS, _ENGLISH_EXTRA))
    first = set(plain.split())
    first |= _toned(_MANDARIN_FINALS, range(1, 6)) | _toned(_ENGLISH_VOWELS, range(3))
    table = tuple(sorted(first))
    if version == "v1":
        return table
    assert version == "v2", version
    cantonese = {f"Y{name}" for name in (_CANTONESE_INITIALS + " " + _CANTONESE_TONELESS).split()}
    cantonese |= {f"Y{name}" for name in _toned(_CANTONESE_FINALS, range(1, 7))}
    return (*table, "[", "]", *_KOREAN, *sorted(cantonese))


@cache
def symbol_ids(version: str) -> Mapping[str, int]:
    """Return symbol -> phone id of one table."""
    return MappingProxyType({symbol: i for i, symbol in enumerate(symbol_table(version))})


def phone_ids(phonemes: Iterable[str], version: str) -> tuple[int, ...]:
    """Turn phoneme symbols into ids.

    Raises:
        InvalidRequest: a symbol is not in the table; the message names it and its place.
    """
    ids = symbol_ids(version)
    found = []
    for position, phoneme in enumerate(phonemes):
        if phoneme not in ids:
            raise InvalidRequest(
                f"phonemes: {phoneme!r} at position {position} is not one of the {len(ids)} "
                f"symbols of table {version}"
            )
        found.append(ids[phoneme])
    return tuple(found)
