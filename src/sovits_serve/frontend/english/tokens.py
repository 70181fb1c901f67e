"""Normalised text to words and marks, as the tweet tokenizer of NLTK divides it.

Only what can occur in normalised text is known here: letters, blanks and ``' . , ? ! -``. Linear.
"""

import re

# Apostrophes and hyphens belong to a word between its letters, nowhere else.
_TOKEN = re.compile(r"[A-Za-z]++(?:['\-]++[A-Za-z]++)*+|\S")
# "example.com" is one token: names joined by dots and hyphens, the last after a dot.
_DOTTED = re.compile(r"[A-Za-z]++(?:[.\-][A-Za-z]++)*+")
_LAST_NAME = re.compile(r"\.[A-Za-z]{2,13}(?![A-Za-z])")


def token_spans(text: str) -> list[tuple[int, int]]:
    """Return the start and end of each word and mark, in order.

    Source: NLTK 3.10, nltk/tokenize/casual.py, TweetTokenizer.
    """
    if not _LAST_NAME.search(text):
        return [match.span() for match in _TOKEN.finditer(text)]
    spans: list[tuple[int, int]] = []
    position = plain_until = 0
    while match := _TOKEN.search(text, position):
        start, position = match.span()
        if start >= plain_until and text[start].isalpha():
            domain_end, plain_until = _domain(text, start)
            position = domain_end or position
        spans.append((start, position))
    return spans


def _domain(text: str, start: int) -> tuple[int, int]:
    """Return where a domain name that starts here ends (0: none), and where none can start before.

    No later start within the same dotted run finds a domain that this one did not.
    """
    dotted = _DOTTED.match(text, start)
    assert dotted
    ends = [name.end() for name in _LAST_NAME.finditer(text, start, dotted.end())]
    return (ends[-1] if ends else 0), dotted.end()
