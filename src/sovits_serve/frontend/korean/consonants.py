"""What a coda and the onset after it become, and codas at the end: rules 8 to 20 and 23.

Letters are compatibility jamo. An onset ㅇ is silent; before it comes ``liaison``, not ``contact``.

Source of what differs from the standard: g2pk2 0.0.3, table.csv, regular.py. Differs: rules.
"""

from functools import cache

from sovits_serve.frontend.korean.hangul import TENSE

# What is left of a coda when nothing can be carried over (rules 9 to 11).
_FINALS = {
    written: said
    for said, group in {
        "ㄱ": "ㄱㄲㅋㄳㄺ",
        "ㄴ": "ㄴㄵㄶ",
        "ㄷ": "ㄷㅅㅆㅈㅊㅌㅎ",
        "ㄹ": "ㄹㄼㄽㄾㅀ",
        "ㅁ": "ㅁㄻ",
        "ㅂ": "ㅂㅍㄿㅄ",
        "ㅇ": "ㅇ",
    }.items()
    for written in group
}
_NASAL_OF = {"ㄱ": "ㅇ", "ㄷ": "ㄴ", "ㅂ": "ㅁ"}
_ASPIRATED = {"ㄱ": "ㅋ", "ㄷ": "ㅌ", "ㅂ": "ㅍ", "ㅈ": "ㅊ"}
_H_CODAS = {"ㅎ": "", "ㄶ": "ㄴ", "ㅀ": "ㄹ"}
# Codas of two letters, as the letter that stays and the letter that can be carried over.
_PAIRS = {
    "ㄳ": "ㄱㅅ",
    "ㄵ": "ㄴㅈ",
    "ㄺ": "ㄹㄱ",
    "ㄻ": "ㄹㅁ",
    "ㄼ": "ㄹㅂ",
    "ㄽ": "ㄹㅅ",
    "ㄾ": "ㄹㅌ",
    "ㄿ": "ㄹㅍ",
    "ㅄ": "ㅂㅅ",
}
# Codas of two letters that keep a ㄹ and still tense the onset after them.
_TENSING_RIEUL = "ㄼㄽ"
# Where upstream's table is damaged, or not what the standard says (it would give 닥털 for 닭털).
# A coda that it leaves as written has no symbol, and becomes a stop in the phonemes.
_SLIPS = {
    "ㄺㅋ": ("ㄹ", "ㅋ"),
    "ㄺㅌ": ("ㄱ", "ㅍ"),
    "ㄺㅍ": ("ㄺ", "ㅍ"),
    "ㄼㅌ": ("ㄼ", "ㅌ"),
    "ㄼㅍ": ("ㄼ", "ㅍ"),
    "ㄽㅌ": ("ㄽ", "ㅌ"),
    "ㄽㅍ": ("ㄽ", "ㅍ"),
    "ㄿㅋ": ("ㅂ", "ㅂㅍ"),
    "ㄿㅌ": ("ㄿ", "ㅌ"),
    "ㄿㅍ": ("ㄿ", "ㅍ"),
    "ㄿㅎ": ("ㅂ", "ㅍ"),
    "ㅄㅋ": ("ㅂ", "ㅍ"),
    "ㅄㅌ": ("ㅄ", "ㅌ"),
    "ㅄㅍ": ("ㅄ", "ㅍ"),
    "ㅄㅎ": ("ㅂ", "ㅍ"),
    "ㅍㄹ": ("ㄴ", "ㄴ"),
}


def final(coda: str) -> str:
    """Return how a coda is said before a pause."""
    return _FINALS.get(coda, coda)


@cache
def contact(coda: str, onset: str) -> tuple[str, str]:
    """Return how a coda and the onset after it (not ㅇ) are said."""
    slip = _SLIPS.get(coda + onset)
    if slip is not None:
        return slip
    if coda in _H_CODAS:
        return _after_h(_H_CODAS[coda], onset)
    if onset == "ㅎ":
        return _before_h(coda)
    said = final(coda)
    if onset == "ㄹ":
        return _before_rieul(said)
    if onset == "ㄴ" and said == "ㄹ" and coda != "ㄼ":
        return "ㄹ", "ㄹ"
    if onset in "ㄴㅁ":
        return ("ㅁ" if coda == "ㄼ" else _NASAL_OF.get(said, said)), onset
    if said in _NASAL_OF or coda in _TENSING_RIEUL:
        return said, TENSE.get(onset, onset)
    return said, onset


@cache
def liaison(coda: str) -> tuple[str, str]:
    """Return what stays of a coda before a vowel, and the onset it gives the vowel."""
    if coda in _H_CODAS:
        return "", _H_CODAS[coda] or "ㅇ"
    if coda in _PAIRS:
        carried = _PAIRS[coda][1]
        return _PAIRS[coda][0], "ㅆ" if carried == "ㅅ" else carried
    return (coda, "ㅇ") if coda == "ㅇ" else ("", coda)


def _after_h(rest: str, onset: str) -> tuple[str, str]:
    """Say an onset after ㅎ, ㄶ or ㅀ; ``rest`` is the coda without the ㅎ."""
    if onset in "ㄱㄷㅈ":
        return rest, _ASPIRATED[onset]
    if onset == "ㅅ":
        return rest, "ㅆ"
    if onset == "ㄴ":
        return ("ㄹ", "ㄹ") if rest == "ㄹ" else ("ㄴ", "ㄴ")
    if onset == "ㄹ" and rest:
        return "ㄹ", "ㄹ"
    return rest, onset


def _before_h(coda: str) -> tuple[str, str]:
    """Say a coda before ㅎ: what can be aspirated, is."""
    if coda in "ㅈㄵ":
        return ("" if coda == "ㅈ" else "ㄴ"), "ㅊ"
    if coda in "ㄺㄼ":
        return "ㄹ", _ASPIRATED[_PAIRS[coda][1]]
    said = final(coda)
    return ("", _ASPIRATED[said]) if said in _ASPIRATED else (said, "ㅎ")


def _before_rieul(said: str) -> tuple[str, str]:
    """Say a coda before ㄹ: ㄴㄹ is ㄹㄹ, after other consonants ㄹ is ㄴ."""
    if said in "ㄴㄹ":
        return "ㄹ", "ㄹ"
    return _NASAL_OF.get(said, said), "ㄴ"
