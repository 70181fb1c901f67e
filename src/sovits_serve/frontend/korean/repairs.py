"""What upstream's Korean loses or misreads, written so that it is read right.

Text of the kind that upstream reads well passes through as the same object. Each repair needs a
clear pattern, and writes hangul, or a form of the same thing that is read well. How hangul is
pronounced is none of its business. A strict frontend does without.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.korean import (
    repairs_amounts,
    repairs_chronology,
    repairs_numbers,
    repairs_signs,
)
from sovits_serve.frontend.korean.repairs_hanja import can_read_hanja, read_hanja
from sovits_serve.frontend.korean.repairs_ranges import read_ranges
from sovits_serve.frontend.korean.repairs_units import read_units

__all__ = ["can_read_hanja", "repair", "repair_mixed"]

_HANGUL = re.compile("[가-힣]")
_KANA = re.compile("[ぁ-ゖァ-ヺ]")
# What nothing here can change: hangul, blanks, and marks with a phoneme of their own.
_SUSPECT = re.compile("[^가-힣 .,?!…·、。A-Za-zㄱ-ㆎ\n]|(?<=[A-Za-z])\\.(?=[a-z])|ㆍ|\n")
# What must be done before a text is cut into languages, which would tear 5kg apart.
_BEFORE_CUTTING = (
    repairs_signs.fold_forms,
    read_hanja,
    repairs_chronology.read_dates,
    repairs_chronology.read_times,
    repairs_amounts.read_money,
    read_ranges,
    read_units,
)
_STEPS = (
    repairs_signs.fold_forms,
    read_hanja,
    repairs_chronology.read_phone_numbers,
    repairs_chronology.read_dates,
    repairs_chronology.read_times,
    repairs_amounts.read_money,
    read_ranges,
    repairs_amounts.read_fractions,
    repairs_amounts.read_negatives,
    read_units,
    repairs_numbers.read_labels,
    repairs_numbers.read_numbers,
    repairs_signs.read_signs,
    repairs_signs.place_marks,
)


def repair(text: AlignedText) -> AlignedText:
    """Rewrite what would be lost or misread; return the same object if nothing is."""
    if not _SUSPECT.search(text.text):
        return text
    for step in _STEPS:
        text = step(text)
    return text


def repair_mixed(text: AlignedText) -> AlignedText:
    """Repair what must stay together in a Korean text with words of other languages.

    For texts that are Korean as a whole, before they are cut into languages. Texts with kana, and
    texts without hangul, pass through.
    """
    if not _HANGUL.search(text.text) or _KANA.search(text.text) or not _SUSPECT.search(text.text):
        return text
    for step in _BEFORE_CUTTING:
        text = step(text)
    return text
