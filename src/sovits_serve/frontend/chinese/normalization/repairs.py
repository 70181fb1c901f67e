"""What upstream's Chinese normaliser loses or misreads, written so that it is read right.

``repair`` comes before ``normalize`` or ``normalize_sentences``; text of the kind that these read
well passes through as the same object. Each repair needs a clear pattern and writes out Chinese
words, or a form of the same thing that is read well. ``repair_mixed`` does the same for Chinese
within a text of several languages, before it is cut into languages: that would tear 5kg apart.
``name_rare_ideographs`` is for Mandarin alone.
"""

import re
from collections.abc import Iterator

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.repairs_characters import (
    fold_wide_forms,
    mark_newlines,
    name_signs,
    name_single_characters,
    pause_at_dashes,
    plain_signs,
    separate_numbers,
)
from sovits_serve.frontend.chinese.normalization.repairs_chronology import (
    mend_clocks,
    mend_dates,
    mend_durations,
)
from sovits_serve.frontend.chinese.normalization.repairs_numbers import (
    read_codes,
    read_decimal_fractions,
    read_grouped_digits,
    read_large_counts,
    read_long_decimals,
    read_negative_decimals,
    read_phone_numbers,
    read_ratios,
    read_two,
)
from sovits_serve.frontend.chinese.normalization.repairs_quantities import (
    CURRENCY_CODES,
    LATIN_UNITS,
    drop_dollars,
    name_celsius,
    read_degrees,
    read_money,
    read_quantities,
)
from sovits_serve.frontend.chinese.normalization.repairs_ranges import (
    read_ranges,
    read_ranges_of_quantities,
)
from sovits_serve.frontend.chinese.normalization.repairs_rare import name_rare_ideographs

__all__ = ["name_rare_ideographs", "repair", "repair_mixed"]

_OF_RANGES = "[-~～〜到至\u2010-\u2015]"
# Each step, in order, with the characters without which it has nothing to do.
_STEPS = tuple(
    (step, re.compile(needed))
    for step, needed in (
        (name_single_characters, "[〇々〻\u00bc-\u00be\u2150-\u3300]"),
        (mark_newlines, "\n"),
        (plain_signs, "[％﹪－−﹣‐‑＋﹢＝﹦．／⁄∕*＊✕✖⨯x＄￡￦∶]"),
        (read_phone_numbers, "[-+ ]"),
        (read_codes, "[米:：-]"),
        (mend_dates, "[-/.]"),
        (mend_clocks, "[:：]"),
        (read_money, "[A-Z$€£₩₽₹￥¥]"),
        (drop_dollars, "[$＄]"),
        (read_ranges_of_quantities, _OF_RANGES),
        (read_quantities, "[A-Za-zμΩ]"),
        (read_ranges, _OF_RANGES),
        (read_degrees, "[°℃℉′‰摄]"),
        (mend_durations, "年"),
        (read_ratios, "[:：-]"),
        (read_long_decimals, "[.]"),
        (read_decimal_fractions, "/"),
        (read_grouped_digits, ","),
        (read_large_counts, "[0-9]{3}"),
        (read_two, "2"),
        (read_negative_decimals, "-"),
        (name_signs, "[-/=<>＜＞±×÷\u2200-\u22ff⩽⩾]"),
        (pause_at_dashes, "[—―]"),
        (separate_numbers, "[ —《》【】<>{}()（）#&@“”_|\\\\]"),
    )
)
# Nothing is wrong with a text without any of these.
_SUSPECT = re.compile(
    "[0-9\n=/<>$\\-〇々°℃℉′″\u0660-\u0669\u06f0-\u06f9\u00b1-\u00be\u2010-\u2015\u2030-\u203f"
    "\u2044\u20a0-\u20bf\u2150-\u218b\u2200-\u22ff\u2460-\u249b\u24ea-\u24ff\u2776-\u2793"
    "\u3251-\u325f\u32b1-\u32bf\ufe62-\ufe6b\uff03-\uff05\uff0b-\uff1e\uffe0-\uffe6]"
)
_HAN = re.compile("[一-龥]")
_OTHER_EAST_ASIAN = re.compile("[ぁ-ヿㇰ-ㇿ\u1100-\u11ff가-힣]")
# What belongs to a number, or else a word of another language with the numbers in its name.
_LATIN = re.compile(
    f"(?P<quantity>(?<![A-Za-z])(?:{CURRENCY_CODES})(?= ?[0-9$])"
    rf"|(?<=[0-9])(?: ?(?:{LATIN_UNITS}|{CURRENCY_CODES})(?:/[A-Za-z]{{1,3}}[23²³]?)?(?![A-Za-z])"
    r"| ?°[CF]))"
    r"|[A-Za-z](?:[A-Za-z0-9.'’+#_-]*[A-Za-z0-9+#])?(?: [0-9][0-9A-Za-z.]*)?"
)


def repair(text: AlignedText) -> AlignedText:
    """Rewrite what the normaliser would lose or misread; return the same object if nothing is."""
    if not _SUSPECT.search(text.text):
        return text
    folded = fold_wide_forms(text)
    repaired = folded
    for step, needed in _STEPS:
        if needed.search(repaired.text):
            repaired = step(repaired)
    return text if repaired is folded else repaired


def repair_mixed(text: AlignedText) -> AlignedText:
    """Repair the parts of a text that are Chinese, if none of it is Japanese or Korean."""
    if not _SUSPECT.search(text.text) or not _HAN.search(text.text):
        return text
    if _OTHER_EAST_ASIAN.search(text.text):
        return text
    parts = list(_chinese_and_other(text))
    repaired = [name_celsius(repair(part)) if _HAN.search(part.text) else part for part in parts]
    if all(new is old for new, old in zip(repaired, parts, strict=True)):
        return text
    return AlignedText.concat(repaired)


def _chinese_and_other(text: AlignedText) -> Iterator[AlignedText]:
    """Yield what is between words of other languages, and these words, in order."""
    done = 0
    for match in _LATIN.finditer(text.text):
        if match["quantity"] is None:
            yield text[done : match.start()]
            yield text[match.start() : match.end()]
            done = match.end()
    yield text[done:]
