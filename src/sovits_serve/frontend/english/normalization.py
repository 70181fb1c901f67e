"""English text to words and marks: digits spelled out, accents and everything else removed.

What comes out holds only letters, blanks and ``' . , ? ! -``. Works on aligned text, so that every
word keeps the range of the original that it came from.

Source: GPT-SoVITS 48b1a01, text/english.py, text_normalize, and text/en_normalization/expend.py,
normalize. Differs: see ``quantities.py``.
"""

import re
import unicodedata
from itertools import pairwise

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.english import quantities

_FULL_WIDTH_ENDS = {"。": ".", "！": "!", "？": "?"}
_OPERATORS = {"+": "plus", "-": "minus", "×": "times", "÷": "divided by", "=": "Equals"}
_POWERS = "[⁰¹²³⁴⁵⁶⁷⁸⁹ˣʸⁿ]*+"
_OPERAND = rf"-?(?<!\d)\d++(?:\.\d++)?+{_POWERS}|\.\d++{_POWERS}|[A-Za-z]{_POWERS}"
_OPERATION = re.compile(rf"({_OPERAND})\s++([-+×÷=])\s++({_OPERAND})")
_NEGATIVE = re.compile(r"(?:^|(?<!\s)\s++)-(\d++)")
_DIGIT = re.compile(r"\d")
_UNSPEAKABLE = re.compile(r"[^ A-Za-z'.,?!\-]+")
_THAT_IS = re.compile(r"i\.e\.", re.IGNORECASE)
_FOR_EXAMPLE = re.compile(r"e\.g\.", re.IGNORECASE)
_INNER_CAPITAL = re.compile(r"(?<!^)(?<!\s)[A-Z]")
_MARKS = re.compile(r"([!?,.\-\s])[!?,.\-]+")


def normalize(text: AlignedText, *, is_strict: bool = True) -> AlignedText:
    """Return the words and marks of a text.

    With ``is_strict``, numbers before a full stop are read as upstream reads them: as ordinals.
    """
    text = text.map_characters(lambda mark: _FULL_WIDTH_ENDS.get(mark, mark))
    text = _arithmetic(text.sub(*quantities.list_mark(is_strict=is_strict)))
    if _DIGIT.search(text.text):
        text = text.sub(_NEGATIVE, r"negative \1")
        for pattern, replacement in quantities.steps(is_strict=is_strict):
            text = text.sub(pattern, replacement)
    text = without_accents(text).replace("%", " percent").sub(_UNSPEAKABLE, "")
    text = text.sub(_THAT_IS, "that is").sub(_FOR_EXAMPLE, "for example")
    return _part_capitals(text).sub(_MARKS, r"\1")


def without_accents(text: AlignedText) -> AlignedText:
    """Take the accents off letters: what is left of ``é`` is ``e``."""
    if text.text.isascii():
        return text
    return text.map_characters(_without_accent)


def _without_accent(character: str) -> str:
    parts = unicodedata.normalize("NFD", character)
    return "".join(part for part in parts if unicodedata.category(part) != "Mn")


def _part_capitals(text: AlignedText) -> AlignedText:
    """Put a blank before every inner capital: initialisms are spelled. Fast, for there may be many."""
    places = [match.start() for match in _INNER_CAPITAL.finditer(text.text)]
    if not places:
        return text
    starts, ends = text.starts, text.ends
    characters = list(text.text)
    for place in places:
        characters[place] = f" {characters[place]}"
    indexes = sorted([*range(len(text)), *places])
    blanks = [first == second for first, second in pairwise((*indexes, -1))]
    return AlignedText(
        "".join(characters),
        tuple(starts[index] for index in indexes),
        tuple(
            starts[index] if is_blank else ends[index]
            for index, is_blank in zip(indexes, blanks, strict=True)
        ),
    )


def _arithmetic(text: AlignedText) -> AlignedText:
    """Read ``a + b``. Operands may be shared, so one pass finds every second operator."""
    while True:
        read = text.sub(_OPERATION, _operation)
        if read is text:
            return text
        text = read


def _operation(match: re.Match[str]) -> str:
    return f"{match[1]} {_OPERATORS[match[2]]} {match[3]}"
