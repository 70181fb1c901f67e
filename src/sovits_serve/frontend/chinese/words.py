"""Cutting Chinese text into words with their part of speech.

Source: jieba 0.42.1, posseg/__init__.py and __init__.py (cut, cut_for_search; GPT-SoVITS uses
jieba_fast, which gives the same). Differs: the dictionary is read piece by piece (see
``jieba_data.py``), a run of more than 512 characters without a known word is cut, and what lies
outside ideographs and marks is not split further.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from sovits_serve.frontend.chinese.hmm import load_tagging_model, load_word_model
from sovits_serve.frontend.chinese.jieba_data import Dictionary, load_dictionary

_TAGGED_BLOCK = re.compile(r"([\u4e00-\u9fd5a-zA-Z0-9+#&._]+)")
_PLAIN_BLOCK = re.compile(r"([\u4e00-\u9fd5a-zA-Z0-9+#&._%-]+)")
_IDEOGRAPHS = re.compile(r"([\u4e00-\u9fd5]+)")
_NUMBER = re.compile(r"[.0-9]+")
_UNKNOWN_TAG = "x"
_NUMBER_TAG = "m"
_REMEMBERED = 4096
_MAX_REMEMBERED_LENGTH = 8
_REMEMBERED_RUNS = 512
_MAX_RUN = 512  # a longer run without a known word is no language: it is cut here


class Token(NamedTuple):
    """A word and its part of speech in jieba's letters: n noun, v verb, m number, x mark..."""

    word: str
    tag: str


def cut(sentence: str) -> list[Token]:
    """Cut a sentence into words with their part of speech."""
    tokens: list[Token] = []
    for i, block in enumerate(_TAGGED_BLOCK.split(sentence)):
        if i % 2:
            tokens.extend(_cut_tagged(block))
        else:
            tokens.extend(Token(mark, _UNKNOWN_TAG) for mark in block)
    return tokens


def halves(word: str) -> tuple[str, str]:
    """Return the two words a word consists of: its shortest part and the rest, in their order.

    The shortest part is the first of the shortest that a search engine would index; it is the
    whole word if there are none. One from inside the word is given as the second half, as
    GPT-SoVITS does, so only the sizes of the halves add up to the word.
    """
    return _remembered_halves(word) if len(word) <= _MAX_REMEMBERED_LENGTH else _halves(word)


@lru_cache(_REMEMBERED)
def _remembered_halves(word: str) -> tuple[str, str]:
    return _halves(word)


def _halves(word: str) -> tuple[str, str]:
    shortest = min(_search_parts(word), key=len)
    if word.startswith(shortest):
        return shortest, word[len(shortest) :]
    return word[: -len(shortest)], shortest


def _search_parts(word: str) -> Iterator[str]:
    dictionary = load_dictionary()
    for part in _cut_plain(word):
        for size in (2, 3):
            for start in range(len(part) - size + 1 if len(part) > size else 0):
                gram = part[start : start + size]
                if dictionary.find(gram):
                    yield gram
        yield part


def _cut_tagged(block: str) -> Iterator[Token]:
    dictionary = load_dictionary()
    for piece, is_run in _pieces(block, dictionary):
        if is_run and len(piece) > 1 and not dictionary.find(piece):
            yield from _cut_unknown(piece)
            continue
        for word in piece if is_run else (piece,):
            entry = dictionary.find(word)
            yield Token(word, entry.tag if entry else _UNKNOWN_TAG)


def _cut_unknown(run: str) -> Iterator[Token]:
    for i, part in enumerate(_IDEOGRAPHS.split(run)):
        if i % 2:
            for start in range(0, len(part), _MAX_RUN):
                yield from _cut_run(part[start : start + _MAX_RUN])
        elif part:
            yield Token(part, _NUMBER_TAG if _NUMBER.match(part) else _UNKNOWN_TAG)


@lru_cache(_REMEMBERED_RUNS)
def _cut_run(run: str) -> tuple[Token, ...]:
    return tuple(Token(*pair) for pair in load_tagging_model().cut(run))


def _cut_plain(text: str) -> Iterator[str]:
    dictionary = load_dictionary()
    for i, block in enumerate(_PLAIN_BLOCK.split(text)):
        if not i % 2:
            yield from block
            continue
        for piece, is_run in _pieces(block, dictionary):
            if is_run and len(piece) > 1 and not dictionary.find(piece):
                for j, part in enumerate(_IDEOGRAPHS.split(piece)):
                    yield from load_word_model().cut(part) if j % 2 else filter(None, (part,))
            else:
                yield from piece if is_run else (piece,)


def _pieces(block: str, dictionary: Dictionary) -> Iterator[tuple[str, bool]]:
    """Yield the longer words of the likeliest cut, and the runs of single characters (as true)."""
    ends = _likeliest_ends(block, dictionary)
    run = start = 0
    while start < len(block):
        end = ends[start]
        if end - start > 1:
            if run < start:
                yield block[run:start], True
            yield block[start:end], False
            run = end
        start = end
    if run < start:
        yield block[run:start], True


def _likeliest_ends(block: str, dictionary: Dictionary) -> list[int]:
    """Return, for each position, where the word that begins there ends in the likeliest cut."""
    scores = [0.0] * (len(block) + 1)
    ends = [0] * len(block)
    for start in range(len(block) - 1, -1, -1):
        found = [(end, word.log_count) for end, word in dictionary.words_at(block, start)]
        scores[start], ends[start] = max(
            (log_count - dictionary.log_total + scores[end], end)
            for end, log_count in found or [(start + 1, 0.0)]
        )
    return ends
