"""How 儿 at the end of a word is said: joined to the syllable before it, or as its own.

A joined 儿 keeps two phonemes but takes the tone of the syllable before it.

Source: GPT-SoVITS 48b1a01, text/chinese2.py, _merge_erhua.
"""

from collections.abc import Sequence

from sovits_serve.frontend.chinese.word_facts import ER_ALONE, ER_MERGED

_TAGS_WITHOUT_ERHUA = {"a", "j", "nr"}  # adjectives, abbreviations, names of people


def apply_erhua(word: str, tag: str, readings: Sequence[str]) -> list[str]:
    """Return the readings of a word with its last 儿 as it is said."""
    said = list(readings)
    if not word.endswith("儿"):
        return said
    if said[-1] == "er1":
        said[-1] = "er2"
    is_alone = word in ER_ALONE or tag in _TAGS_WITHOUT_ERHUA
    if is_alone and word not in ER_MERGED:
        return said
    if len(word) > 1 and said[-1] in {"er2", "er5"} and word[-2:] not in ER_ALONE:
        said[-1] = "er" + said[-2][-1]
    return said
