"""Whether a period ends a sentence, or belongs to an abbreviation, an initial or a list number.

The words are those that English texts of other languages' speakers use too; case matters where a
word is a common one without its period.
"""

import re
from enum import Enum

# As much as is looked at before a period; longer words are no abbreviations.
_REACH = 24
_WORD_BEFORE = re.compile(r"(?<![^\W_])(?<![^\W_][.'’&])[^\W_]++(?:[.'’&][^\W_]++)*+\Z")
_LIST_NUMBER = re.compile(r"(?:\A|[\n\r]|[.!?。！？]\s)\s{0,8}[(（]?(?:\d{1,3}|[ivxIVX]{1,4})\Z")
_DOTTED = re.compile(r"\A[^\W\d_]{1,3}(?:\.[^\W\d_]{1,3})+\Z")
_CAPITALIZED = re.compile(r"[A-Z][a-z]*")

# A name follows, so these never end a sentence.
_TITLES = frozenset(
    "mr mrs ms mx dr prof gen col lt sgt cpt capt cmdr adm maj brig rev hon gov sen rep pres "
    "messrs mme mlle fr sra msgr supt insp mt ft vs viz cf ca approx e.g i.e a.k.a".split()
)
# These are abbreviations before a number only: "No. 5" but "No. I won't."
_BEFORE_NUMBER = frozenset(
    "no nos nr p pp vol vols ch chap fig figs eq eqs sec art para pt ver v op bk ed tel ext "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
# These may end a sentence; the word after decides.
_ENDINGS = frozenset(
    "inc ltd co corp llc bros jr sr esq dept univ assn est al etc st ave blvd rd hwy mon tue tues "
    "wed thu thur thurs fri hr hrs min mins lb lbs oz ft yd mph ed eds trans repr".split()
)
# Words that begin sentences far more often than they follow an abbreviation with a capital.
_STARTERS = frozenset(
    "A After All Also Although An And Another Are As At Because Before But By Can Did Do Does Each "
    "Even Every Few Finally First For From Had Has Have He Her Here His How However I If In Instead "
    "Is It Its Just Later Let Many Maybe Meanwhile More Most My Next No Nobody Not Nothing Now Of On "
    "Once One Only Or Our Perhaps Please She Should Since So Some Sometimes Soon Still Such That The "
    "Their Then There These They This Those Though Through Thus To Today Tomorrow Under Until Was We "
    "Were What When Where Which While Who Why Will With Without Would Yes Yesterday Yet You Your".split()
)


class PeriodUse(Enum):
    """What a period is there for."""

    SENTENCE_END = "the sentence ends here"
    MISSING_BLANK = "a sentence may end here, its blank left out"
    INSIDE = "neither a sentence nor a line of speech ends here"


def period_use(text: str, period: int, after: int) -> PeriodUse:
    """Return the use of the period at ``period``; ``after`` is where the text goes on.

    Closing marks and blanks may lie between the two.
    """
    following = text[after : after + 1]
    if not following:
        return PeriodUse.SENTENCE_END
    if after == period + 1 and following.isalnum() and following.isascii():
        return _without_blank(text, period)
    before = text[max(0, period - _REACH) : period]
    if _LIST_NUMBER.search(before):
        return PeriodUse.INSIDE
    found = _WORD_BEFORE.search(before)
    if found and _is_abbreviation(found[0], text[after : after + _REACH]):
        return PeriodUse.INSIDE
    return PeriodUse.SENTENCE_END


def _without_blank(text: str, period: int) -> PeriodUse:
    """Tell "the end.Next" from "3.14", "U.S", "Node.js" and "example.com"."""
    before, after = text[max(0, period - 2) : period], text[period + 1 : period + 3]
    if len(before) == 2 and before.islower() and after[:1].isupper() and after[1:].islower():
        return PeriodUse.MISSING_BLANK
    return PeriodUse.INSIDE


def _is_abbreviation(word: str, following: str) -> bool:
    """Return whether the period after a word belongs to it and the sentence goes on."""
    lower = word.lower()
    if lower in _TITLES:
        return True
    if following[0].isdigit():
        return lower in _BEFORE_NUMBER
    is_initial = len(word) == 1 and word.isupper()
    if not (is_initial or lower in _ENDINGS or _DOTTED.match(word)):
        return False
    found = _CAPITALIZED.match(following)
    if not found:
        return not following[0].isupper() and following[0].isalpha() and following[0].isascii()
    return lower != "etc" and found[0] not in _STARTERS
