"""Write letters of any script in Latin letters, for a reader of English.

The package anyascii has a Latin spelling for nearly every letter. Single Greek letters are symbols
rather than words and get their names.
"""

import re
import unicodedata
from functools import lru_cache

from sovits_serve.frontend.aligned_text import AlignedText

# Greek letters that Chinese and Japanese read by name: no accents (words have them), no capitals
# that look Latin (words in capitals have them).
LETTER_NAMES = "α-ωΓΔΘΛΞΠΣΦΨΩ"
_GREEK = "[\u0370-\u03ff\u1f00-\u1fff]+"
GREEK_WORDS = f"{_GREEK}(?:\\W+{_GREEK})*"
# Whole blocks with vowel signs and marks that are read with their letters.
MARKS_OF_SCRIPTS = (
    "\u0300-\u036f\u0483-\u0489\u0590-\u109f\u1700-\u18af\u1a00-\u1cff\u1dc0-\u1dff\u20d0-\u20f0"
    "\ua800-\ua95f\ua980-\uabff\ufe20-\ufe2f"
)
# Characters that stand for numbers, and others of their blocks, which are no letters.
NUMERALS = "²³¹¼-¾\u2070-\u218f\u2460-\u24ff\u2776-\u2793\u3200-\u33ff"

_NAMED = re.compile(f"[{LETTER_NAMES}]")
_GROUP = re.compile(GREEK_WORDS)
_ACCENT_OR_CAPITAL = re.compile(f"(?![{LETTER_NAMES}])\\w")
_SPELLED = re.compile(f"[^\\W\0-\x7fªº{NUMERALS}]|[{MARKS_OF_SCRIPTS}]")
_UNREADABLE = re.compile("[^A-Za-z0-9 ,.?!;:-]")
_READABLE = re.compile("[A-Za-z0-9]")


def is_letter_names(greek: str) -> bool:
    """Return whether Greek text consists of letters to be named, rather than of words."""
    return not _ACCENT_OR_CAPITAL.search(greek)


def to_latin(text: AlignedText) -> AlignedText:
    """Return the text in Latin letters; each comes from the letter it stands for."""
    if text.text.isascii():
        return text
    spelled = _with_names(text).map_characters(_spelled)
    is_readable = _READABLE.search(spelled.text)
    return spelled if is_readable else text.map_characters(_name)


def _with_names(text: AlignedText) -> AlignedText:
    """Write Greek letters that stand alone as their names, apart from what they touch."""
    named = {
        position
        for group in _GROUP.finditer(text.text)
        if is_letter_names(group[0])
        for position in range(*group.span())
    }
    return text.sub(_NAMED, lambda m: _apart(m) if m.start() in named else m[0])


def _apart(letter: re.Match[str]) -> str:
    before = letter.string[letter.start() - 1 : letter.start()]
    after = letter.string[letter.end() : letter.end() + 1]
    lead = " " if before.isalnum() else ""
    return lead + _name(letter[0]) + (" " if after.isascii() and after.isalnum() else "")


def _name(character: str) -> str:
    """Return what a letter is called; anything else as it is."""
    if not character.isalpha():
        return character
    words = unicodedata.name(character, "").partition(" WITH ")[0].lower().split()
    return words[-1].replace("lamda", "lambda") if words else ""


@lru_cache(maxsize=8192)
def _spelled(character: str) -> str:
    if not _SPELLED.match(character):
        return character
    from anyascii import anyascii

    return _UNREADABLE.sub("", anyascii(character))
