"""Find the pieces of a text and the language of each, as far as one can be found.

Source: split-lang 2.1.1, split/splitter.py, LangSplitter.split_by_lang. Differs: works on ranges,
so that long texts take linear time.
"""

import re
from collections.abc import Iterator
from itertools import chain, groupby

from sovits_serve.frontend.languages.detection import detect_language
from sovits_serve.frontend.languages.merging import settle, settle_han
from sovits_serve.frontend.languages.phrase import split_phrases
from sovits_serve.frontend.languages.piece import (
    DIGIT,
    MARK,
    NEWLINE,
    UNKNOWN,
    Piece,
    Section,
    join_pieces,
)
from sovits_serve.frontend.languages.script import Kind, has_kana, split_scripts

_WORD = re.compile(r"\S+\s*")
_FIXED = {
    Kind.HANGUL: "ko",
    Kind.DIGIT: DIGIT,
    Kind.MARK: MARK,
    Kind.NEWLINE: NEWLINE,
}
# What the model's answers mean: Cantonese and Wu are written in Han characters.
_HAN_ANSWERS = {"zh": "zh", "yue": "zh", "wuu": "zh", "ja": "ja"}
_ANSWERS = _HAN_ANSWERS | {"ko": "ko", "en": "en"}


def find_pieces(text: str, *, is_han_known: bool) -> Iterator[Piece]:
    """Yield the pieces of a text without blanks at its ends.

    With ``is_han_known`` the caller knows the language of Han characters and kana: theirs is then
    not looked for and means nothing.
    """
    sections = [
        Section(kind, _pieces(text, kind, start, end, is_han_known))
        for kind, start, end in split_scripts(text)
    ]
    for section in _attach_newlines(_attach_marks(sections)):
        is_settled = is_han_known or section.kind is not Kind.HAN_OR_KANA
        yield from section.pieces if is_settled else settle_han(section.pieces)


def _pieces(text: str, kind: Kind, start: int, end: int, is_han_known: bool) -> list[Piece]:
    if kind in _FIXED:
        return [Piece(_FIXED[kind], start, end)]
    if kind is Kind.OTHER:
        words = _WORD.finditer(text, start, end)
        asked = [
            (word.start(), word.end(), _ANSWERS.get(detect_language(word[0]))) for word in words
        ]
        return settle(text, [Piece(language or UNKNOWN, *word) for *word, language in asked])
    if is_han_known:
        return [Piece(UNKNOWN, start, end)]
    phrases = split_phrases(text[start:end])
    return settle(text, [_phrase(text, start + begin, start + stop) for begin, stop in phrases])


def _phrase(text: str, start: int, end: int) -> Piece:
    if has_kana(text, start, end):
        return Piece("ja", start, end)
    return Piece(_HAN_ANSWERS.get(detect_language(text[start:end]), UNKNOWN), start, end)


def _attach_marks(sections: list[Section]) -> list[Section]:
    """Give every mark to the section before it, those at the beginning to the one after."""
    attached: list[Section] = []
    for section in sections:
        before = attached[-1] if attached else None
        if before is not None and before.kind is Kind.MARK:
            section.pieces[0].start = before.pieces[0].start
            attached[-1] = section
        elif before is not None and section.kind is Kind.MARK:
            before.pieces[-1].end = section.pieces[0].end
        else:
            attached.append(section)
    return [Section(one.kind, join_pieces(one.pieces)) for one in _join_sections(attached)]


def _attach_newlines(sections: list[Section]) -> list[Section]:
    """Give every newline to the section before it, as the end of a piece.

    What begins the text keeps its name: marks and newlines only, before the first section.
    """
    attached: list[Section] = []
    for section in sections:
        before = attached[-1] if attached else None
        if before is not None and Kind.NEWLINE in (before.kind, section.kind):
            kind = section.kind if before.kind is Kind.NEWLINE else before.kind
            attached[-1] = Section(kind, before.pieces + section.pieces)
        else:
            attached.append(section)
    return [Section(one.kind, _end_at_newlines(one.pieces)) for one in _join_sections(attached)]


def _end_at_newlines(pieces: list[Piece]) -> list[Piece]:
    ended: list[Piece] = []
    language = ""
    for piece in pieces:
        if ended and piece.language in (NEWLINE, language):
            ended[-1].end = piece.end
        else:
            ended.append(piece)
        language = piece.language
    return ended


def _join_sections(sections: list[Section]) -> Iterator[Section]:
    for kind, group in groupby(sections, lambda section: section.kind):
        yield Section(kind, list(chain.from_iterable(section.pieces for section in group)))
