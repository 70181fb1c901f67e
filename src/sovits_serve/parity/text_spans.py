"""Which phonemes carry BERT features, from normalised text and phonemes alone.

Recordings of whole requests hold the normalised text and the phonemes of each sentence, but
neither its language segments nor how many phonemes each character became. Both follow: a Chinese
character is an initial and a final with a tone, a punctuation mark is one phoneme and belongs to
the segment before it, and what is not Chinese lasts until the next initial with its final. BERT
reads each Chinese segment alone; all other phonemes carry zeros.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

PUNCTUATION = frozenset("!?…,.-")

# In a text with ￥ or ^ upstream turns all commas into pauses.
_PAUSES = {",": (["SP2"], ["SP3"])}

_HAN = re.compile(r"[一-龥]")
_WORD = re.compile(r"[^\W_]")
_INITIAL = re.compile(r"[bpmfdtnlgkhjqxrzcsyw]|[zcs]h|AA|EE|OO")
_FINAL = re.compile(r"(?:[a-z]+0?|E|En)[1-5]")

# Languages whose phonemes never carry features; in all others Chinese segments can occur.
_WITHOUT_FEATURES = frozenset({"en", "ja", "ko", "yue", "all_ja", "all_ko", "all_yue", "auto_yue"})


@dataclass(frozen=True)
class Span:
    """Phonemes of one segment. ``word2ph`` is one count per character, None without features."""

    text: str
    num_phones: int
    word2ph: tuple[int, ...] | None


def has_features(language: str) -> bool:
    """Tell whether text in a language mode can hold Chinese segments."""
    return language.lower() not in _WITHOUT_FEATURES


def spans(text: str, phones: Sequence[str]) -> list[Span]:
    """Split normalised text and its phonemes into segments.

    Raises:
        ValueError: text and phonemes do not fit together.
    """
    if text and set(text) <= PUNCTUATION and list(text) == list(phones):
        return [Span(text, len(phones), (1,) * len(text))]  # with nothing else, Chinese reads it
    found = _parse(text, list(phones))
    if found is None:
        raise ValueError(f"{len(phones)} phonemes do not fit {text!r}")
    return found


def _parse(text: str, phones: list[str]) -> list[Span] | None:
    """Return the segments of text and phonemes, or None if there is no way to match them."""
    if not phones:
        return [] if not _HAN.search(text) else None
    chinese = _chinese_span(text, phones)
    if chinese is not None:
        rest = _parse(text[len(chinese.text) :], phones[chinese.num_phones :])
        return None if rest is None else [chinese, *rest]
    num_phones = next((i for i in range(len(phones)) if _is_chinese(phones[i : i + 2])), None)
    other = phones[:num_phones]
    if num_phones is None:
        return [Span(text, len(other), None)] if _can_be(other, text) else None
    # Characters that Japanese reads can stand before those that Chinese reads: try every border.
    for border in (match.start() for match in _HAN.finditer(text)):
        if num_phones and _can_be(other, text[:border]):
            rest = _parse(text[border:], phones[num_phones:])
            if rest is not None:
                return [Span(text[:border], num_phones, None), *rest]
    return None


def _can_be(phones: Sequence[str], text: str) -> bool:
    """Tell whether another language can have read ``text`` so.

    Each Chinese character takes at least one phoneme, and nothing is read from nothing.
    """
    num_spoken = sum(phone not in PUNCTUATION for phone in phones)
    has_words = bool(_WORD.search(text)) or num_spoken == 0
    return has_words and len(_HAN.findall(text)) <= num_spoken


def _chinese_span(text: str, phones: list[str]) -> Span | None:
    """Return the longest Chinese segment that text and phonemes begin with."""
    counts: list[int] = []
    for character in text:
        wanted = 2 if _HAN.match(character) else 1
        position = sum(counts)
        if not _fits(character, phones[position : position + wanted]):
            break
        counts.append(wanted)
    if 2 not in counts:
        return None
    return Span(text[: len(counts)], sum(counts), tuple(counts))


def _fits(character: str, phones: Sequence[str]) -> bool:
    if _HAN.match(character):
        return _is_chinese(phones)
    return character in PUNCTUATION and list(phones) in ([character], *_PAUSES.get(character, ()))


def _is_chinese(phones: Sequence[str]) -> bool:
    if len(phones) != 2:
        return False
    return bool(_INITIAL.fullmatch(phones[0]) and _FINAL.fullmatch(phones[1]))
