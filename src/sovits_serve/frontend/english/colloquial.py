"""Words that no dictionary has and nobody spells: interjections, drawn-out words, a few names.

Upstream spells "shh" and "mmm" and guesses "brrr" as "brips". Sounds without a vowel get one, for the
models know syllables only.
"""

import re
from collections.abc import Callable

_READINGS = """
    arr AA1 R
    aww AO1
    bah B AA1
    brr B ER1
    bzz B AH1 Z
    covid K OW1 V IH0 D
    eek IY1 K
    eh EH1
    eww IY1 UW0
    ew IY1 UW0
    gah G AA1
    gif G IH1 F
    grr G ER1
    hah HH AA1
    heh HH EH1
    hmm HH AH1 M
    hmph HH AH1 M F
    jpeg JH EY1 P EH2 G
    meh M EH1
    mhm AH0 M HH AH1 M
    mm AH1 M
    mm-hm AH0 M HH AH1 M
    mm-hmm AH0 M HH AH1 M
    nuh-uh N AH1 AH0
    ow AW1
    pff P AH1 F
    pfft P AH1 F T
    pst P IH1 S T
    readme R IY1 D M IY2
    sh SH AH1
    shh SH AH1
    tsk T IH1 S K
    ughh AH1 G
    wifi W AY1 F AY2
    yikes Y AY1 K S
    zz Z IH1 Z
"""
READINGS = {
    word: tuple(phonemes.split())
    for word, _, phonemes in (line.strip().partition(" ") for line in _READINGS.strip().split("\n"))
}
_DRAWN_OUT = re.compile(r"([a-z])\1{2,}")
_DOUBLE = re.compile(r"([a-z])\1+")


def shortened(word: str, is_known: Callable[[str], bool]) -> str:
    """Return the known word that was drawn out ("noooo", "yesss"); the word itself if none is."""
    if not _DRAWN_OUT.search(word):
        return word
    doubled = _DRAWN_OUT.sub(r"\1\1", word)
    for candidate in (_DRAWN_OUT.sub(r"\1", word), doubled, _DOUBLE.sub(r"\1", word)):
        if len(candidate) > 1 and is_known(candidate):
            return candidate
    return word if len(set(word)) == 1 else doubled
