"""Cut a text by the method of a given name, and make each segment fit to be read out.

Marks that are put in have an empty origin; no word is touched.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.segmentation.atoms import Span
from sovits_serve.frontend.segmentation.auto import Lengths, indices_of, plan
from sovits_serve.frontend.segmentation.marks import CLOSERS, MARKS, NEWLINES
from sovits_serve.frontend.segmentation.upstream import (
    MAX_CHARACTERS,
    UPSTREAM_METHODS,
    replace_consecutive_punctuation,
    segment_upstream,
)
from sovits_serve.frontend.segmentation.weight import is_east_asian

METHODS = ("auto", *UPSTREAM_METHODS)

# No voice says more than a few marks in a row, but phonemes would be made of all of them.
_MARK = r"(?:[^\w\s]|_)\s*+"
_TOO_MANY_MARKS = re.compile(f"((?:{_MARK}){{8}})(?:{_MARK})++")
_BLANKS = re.compile(r"\s++")
_NEWLINES = frozenset(NEWLINES)
_CLOSERS = "".join(sorted(CLOSERS))
# Stands for a mark that is not to be cut at; any letter would do.
_SHIELD = "x"


def segment(
    text: AlignedText, method: str, language: str, *, keep_whole: Iterable[Span] = ()
) -> list[AlignedText]:
    """Cut a text into segments that each have words; a text without words gives none.

    Args:
        text: the text, cleaned.
        method: one of ``METHODS``.
        language: the language mode, without "all_": it decides about marks that are put in.
        keep_whole: ranges of the original that are not cut.

    Raises:
        InvalidRequest: there is no such method.
    """
    if method not in METHODS:
        raise InvalidRequest(f"cut: {method!r} is not one of {', '.join(METHODS)}")
    keep = tuple(keep_whole)
    text = text.sub(_TOO_MANY_MARKS, lambda match: match[1])
    if method == "auto":
        return list(_auto(text, language, keep))
    shielded, marks = _shielded(text, keep)
    shielded = replace_consecutive_punctuation(shielded)
    result: list[AlignedText] = []
    for hidden in segment_upstream(shielded, method, language):
        piece = _unshielded(hidden, marks)
        # Upstream fails at these: BERT cannot read them.
        result += _auto(piece, language, keep) if len(piece) > MAX_CHARACTERS else [piece]
    return [piece for piece in result if _has_words(piece)]


def _has_words(text: AlignedText) -> bool:
    return any(map(str.isalnum, text.text))


def _auto(text: AlignedText, language: str, keep: Sequence[Span]) -> Iterator[AlignedText]:
    """Yield segments with a mark at the end of each, and one for each newline inside."""
    spans = plan(text.text, Lengths(), [indices_of(text, span) for span in keep])
    for (start, end), following in zip_longest(spans, (start for start, _ in spans[1:])):
        piece = text[start:end]
        if _has_words(piece):
            gap = "\n" if following is None else text.text[end:following]
            yield _ended(_one_line(piece), language, is_continued=_NEWLINES.isdisjoint(gap))


def _one_line(text: AlignedText) -> AlignedText:
    """Read newlines as a pause, where no mark says so already."""
    if _NEWLINES.isdisjoint(text.text):
        return text
    return text.sub(_BLANKS, _without_newline)


def _without_newline(match: re.Match[str]) -> str:
    if _NEWLINES.isdisjoint(match[0]):
        return match[0]
    before = match.string[max(0, match.start() - 8) : match.start()].rstrip(_CLOSERS)[-1:]
    after = match.string[match.end() : match.end() + 1]
    is_wrapped_line = match[0].count("\n") == 1 and before.islower() and after.islower()
    if before in MARKS or is_wrapped_line:
        return " "
    is_paragraph = match[0].count("\n") > 1
    if is_east_asian(before or after):
        return "。" if is_paragraph else "，"
    return ". " if is_paragraph else ", "


def _ended(text: AlignedText, language: str, *, is_continued: bool) -> AlignedText:
    """Put a mark at the end of a text that has none: a comma in the middle of a sentence."""
    if text.text.rstrip(_CLOSERS)[-1:] in MARKS:
        return text
    letters = (character for character in reversed(text.text) if character.isalpha())
    letter = next(letters, "")
    is_wide = is_east_asian(letter) if letter else language not in {"en", "ko"}
    mark = ("，" if is_continued else "。") if is_wide else ("," if is_continued else ".")
    end = text.origin(len(text), len(text))[1]
    return text + AlignedText.from_range(mark, end, end)


def _shielded(text: AlignedText, keep: Sequence[Span]) -> tuple[AlignedText, dict[int, str]]:
    """Hide the marks and newlines in ranges of the original; return them by their place there."""
    characters = list(text.text)
    marks: dict[int, str] = {}
    for span in keep:
        for i in range(*indices_of(text, span)):
            if not characters[i].isalnum():
                marks[text.starts[i]] = characters[i]
                characters[i] = _SHIELD
    if not marks:
        return text, marks
    return AlignedText("".join(characters), text.starts, text.ends), marks


def _unshielded(text: AlignedText, marks: dict[int, str]) -> AlignedText:
    if not marks:
        return text
    shown = [
        marks.get(start, character) if start < end else character
        for character, start, end in zip(text.text, text.starts, text.ends, strict=True)
    ]
    return AlignedText("".join(shown), text.starts, text.ends)
