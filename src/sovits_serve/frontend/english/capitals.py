"""Words in capital letters: which are spelled, and which are words said loudly. Step of the product.

Upstream spells everything in capitals, so that "STOP! I SAID NO!" becomes a row of letters. Here what
the dictionary has is said as it says ("NASA", "FBI", "STOP"), and so are words among shouted words.
Short words that may be initialisms ("IT", "US", "WHO") are words only among shouted ones.
"""

import re
from collections.abc import Callable, Iterator

from sovits_serve.frontend.aligned_text import AlignedText

# Of two or three letters, said as words wherever they stand.
_WORDS = frozenset(
    "all and any are bad big boy but can day did don't for get god got had has her hey him his hot "
    "how i'd i'll i'm i've it's its let lot mad man may men mom mum new not now off old one our out "
    "put ran run sad say see she sit six son sun ten the too try two was way why win won yes yet you "
    "be by do go he if my no of oh so to up we an as at in is me on or "
    "wow yay ugh aha ha huh ooh".split()
)
_ACRONYMS = frozenset("cad lan pin ram rom sim zip".split())
# "Portland, OR" is a state.
_STATES = frozenset("al de hi id in la ma me oh ok or pa".split())
_SPELLED = frozenset({"ieee"})
_CAPITALS = re.compile(r"(?<![A-Za-z0-9@&.])[A-Z]++(?:'[A-Z]{1,2})?+(?![A-Za-z0-9@&]|\.[A-Za-z])")
_PLURAL = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2,8}(?=s(?![A-Za-z0-9']))")
_BETWEEN = re.compile(r"[\s,.!?;:'\"“”‘’…—-]*")
_NUMERAL = re.compile("[ivx]+")
_NO_MARKS = re.compile(r"[\sA-Z]*")
_VOWELS = re.compile("[AEIOUY]+")
_CONSONANTS = re.compile("[^AEIOUY']{4}")
_DRAWN_OUT = re.compile(r"([AEOUHMRSZ])\1\1")
_HYPHENED = re.compile(r"(?<![\w-])[A-Z][a-z]+(?:-[A-Z][a-z]+)+(?![\w-])")
_LONG = 4
_LONG_UNKNOWN = 6

_Words = list[re.Match[str]]


def lower_capitals(text: AlignedText, is_known: Callable[[str], bool]) -> AlignedText:
    """Write words in capital letters with small ones, where they are words; Wi-Fi, too.

    Args:
        text: English text.
        is_known: whether the dictionary has a word in small letters.
    """
    text = text.sub(_PLURAL, r"\g<0>'")
    words = [word for word in _HYPHENED.finditer(text.text) if is_known(word[0].lower())]
    words += (word for group in _groups(text.text) for word in _said(group, is_known))
    if not words:
        return text
    letters = list(text.text)
    for word in words:
        letters[word.start() : word.end()] = word[0].lower()
    return AlignedText("".join(letters), text.starts, text.ends)


def _groups(text: str) -> Iterator[_Words]:
    """Yield words in capitals that follow one another, with nothing but marks between."""
    group: _Words = []
    for word in _CAPITALS.finditer(text):
        if group and not _BETWEEN.fullmatch(text, group[-1].end(), word.start()):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _said(group: _Words, is_known: Callable[[str], bool]) -> Iterator[re.Match[str]]:
    """Yield those of a group that are words."""
    longer = [word for word in group if len(word[0]) > 1]
    plain = {word.start() for word in longer if _is_plain_word(word, is_known)}
    is_shouted = len(plain) > 1 and 2 * len(plain) >= len(longer)
    for index, word in enumerate(longer):
        lower = word[0].lower()
        if lower in _SPELLED:
            continue
        neighbours = longer[max(0, index - 1) : index + 2]
        is_among = any(one.start() in plain and _is_next(one, word) for one in neighbours)
        is_short_word = len(lower) < _LONG and is_known(lower) and not _NUMERAL.fullmatch(lower)
        if (
            word.start() in plain
            or lower in _ACRONYMS
            or (is_among and is_short_word)
            or _is_sayable(word[0], _LONG if is_shouted else _LONG_UNKNOWN)
            or (len(lower) >= _LONG and _DRAWN_OUT.search(word[0]))
        ):
            yield word


def _is_next(first: re.Match[str], second: re.Match[str]) -> bool:
    """Return whether only blanks and words of one letter stand between two words."""
    start, end = sorted((first.span(), second.span()))
    return _NO_MARKS.fullmatch(first.string, start[1], end[0]) is not None


def _is_plain_word(word: re.Match[str], is_known: Callable[[str], bool]) -> bool:
    lower = word[0].lower()
    if len(lower.partition("'")[0]) >= _LONG or "'" in lower:
        return is_known(lower)
    if lower in _STATES and word.string[max(0, word.start() - 2) : word.start()] == ", ":
        return False
    return lower in _WORDS


def _is_sayable(word: str, shortest: int) -> bool:
    """Return whether a word that no dictionary has looks like one rather than like initials."""
    num_vowels = len(_VOWELS.findall(word))
    return (
        len(word) >= shortest and num_vowels > (shortest > _LONG) and not _CONSONANTS.search(word)
    )
