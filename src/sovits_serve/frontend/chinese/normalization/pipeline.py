"""The steps of Chinese normalisation in their order.

Source: GPT-SoVITS 48b1a01, text/zh_normalization/text_normlization.py, TextNormalizer, and
text/chinese2.py, text_normalize (text/chinese.py has the same). Differs: the text is not taken
apart at its marks first, because no step reads across a mark.
"""

import re

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.characters import (
    fold_characters,
    name_symbols,
    to_marks_and_ideographs,
)
from sovits_serve.frontend.chinese.normalization.chronology import read_dates, read_times
from sovits_serve.frontend.chinese.normalization.formulas import (
    read_arithmetic,
    read_fractions,
    read_plain_numbers,
    read_ranges,
    read_signs_and_points,
)
from sovits_serve.frontend.chinese.normalization.quantities import (
    read_counts,
    read_ranges_with_units,
    read_temperatures,
    read_units,
)
from sovits_serve.frontend.chinese.normalization.telephone import read_telephone_numbers

_STEPS = (
    fold_characters,
    read_dates,
    read_times,
    read_ranges_with_units,
    read_temperatures,
    read_units,
    read_arithmetic,
    read_fractions,
    read_telephone_numbers,
    read_ranges,
    read_signs_and_points,
    read_counts,
    read_plain_numbers,
    name_symbols,
)
_SENTENCE_END = re.compile(r"\n+|(?<=[：、，；。？！,;?!]’)|(?<=[：、，；。？！,;?!])(?!’)")


def normalize(text: AlignedText, symbol_version: str = "v2") -> AlignedText:  # noqa: ARG001  # upstream's two modules normalise alike
    """Return what is read aloud: simplified ideographs and the marks ``! ? … , . -``."""
    return to_marks_and_ideographs(_verbalize(text))


def normalize_sentences(text: AlignedText) -> list[AlignedText]:
    """Return the text with everything verbalised, in sentences, with the marks it was written with.

    A sentence ends behind ``：、，；。？！,;?!`` and at a new line, which is removed.
    """
    sentences = (sentence.strip() for sentence in _verbalize(text).pieces(_SENTENCE_END))
    return [sentence for sentence in sentences if sentence.text]


def _verbalize(text: AlignedText) -> AlignedText:
    for step in _STEPS:
        text = step(text)
    return text
