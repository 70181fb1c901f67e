"""Readings that somebody asked for, in ARPAbet: "T AH0 M EY1 T OW0"."""

from sovits_serve.errors import InvalidRequest

_CONSONANTS = frozenset("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split())
_VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
_STRESSES = "012"
_MAX_PHONEMES = 100


def parse_reading(text: str, reading: str) -> tuple[str, ...]:
    """Return the phonemes of a reading; stress may be left out (it is 0) and case does not matter.

    Raises:
        InvalidRequest: a symbol is none of ARPAbet's, or there is none, or far too many.
    """
    phonemes = tuple(_phoneme(text, reading, symbol) for symbol in reading.upper().split())
    if not phonemes:
        raise InvalidRequest(
            f"reading of {text!r}: empty; write ARPAbet, as in 'T AH0 M EY1 T OW0'"
        )
    if len(phonemes) > _MAX_PHONEMES:
        raise InvalidRequest(
            f"reading of {text!r}: {len(phonemes)} phonemes; the limit is {_MAX_PHONEMES}"
        )
    return phonemes


def _phoneme(text: str, reading: str, symbol: str) -> str:
    if symbol in _CONSONANTS:
        return symbol
    if symbol in _VOWELS:
        return f"{symbol}0"
    if symbol[-1] in _STRESSES and symbol[:-1] in _VOWELS:
        return symbol
    raise InvalidRequest(
        f"reading {reading!r} of {text!r}: {symbol!r} is not an ARPAbet symbol; consonants are "
        f"{' '.join(sorted(_CONSONANTS))}; vowels, with stress 0, 1 or 2 behind them, are "
        f"{' '.join(sorted(_VOWELS))}"
    )
