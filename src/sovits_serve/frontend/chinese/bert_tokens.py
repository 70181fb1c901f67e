"""Text to the token ids of a Chinese BERT, character by character.

An ideograph or a mark is one token, a run of Latin letters and digits one or more, blanks are
none. Knows nothing of models.

Source: GPT-SoVITS 48b1a01, text/g2pw/utils.py (wordize_and_map, tokenize_and_map) with the
BertTokenizer of transformers for each word. Differs: every character of a word has the position
of the word's first token; only ideographs are asked for.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sovits_serve.errors import CheckpointError

_WORD = re.compile(r"[a-z0-9]+|[^ ]")
_MAX_WORD = 100  # BertTokenizer knows no longer ones
_NEEDED = ("[CLS]", "[SEP]", "[UNK]")


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """The ids of a text between [CLS] and [SEP], and where in them each character's token is."""

    ids: tuple[int, ...]
    positions: Mapping[int, int]


class BertTokens:
    """The vocabulary of one model: token to id."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._ids = vocabulary

    def tokenize(self, text: str) -> TokenizedText:
        """Return the ids of a text, and where in them its characters are."""
        ids = [self._ids["[CLS]"]]
        positions: dict[int, int] = {}
        for match in _WORD.finditer(_lower(text)):
            positions.update(dict.fromkeys(range(*match.span()), len(ids)))
            ids.extend(self._word(match.group()))
        return TokenizedText((*ids, self._ids["[SEP]"]), positions)

    def _word(self, word: str) -> list[int]:
        pieces = list(self._pieces(_without_accents(word)))
        known = [piece for piece in pieces if piece is not None]
        return known if known and len(known) == len(pieces) else [self._ids["[UNK]"]]

    def _pieces(self, word: str) -> Iterator[int | None]:
        """Yield the longest known pieces of a word in order; None, and no more, for an unknown."""
        start = 0
        while start < len(word) <= _MAX_WORD:
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._ids), start)
            yield self._ids[prefix + word[start:end]] if end > start else None
            if end == start:
                return
            start = end


def read_vocabulary(directory: Path) -> BertTokens:
    """Read ``vocab.txt`` (a token a line), or the vocabulary in ``tokenizer.json``.

    Raises:
        CheckpointError: neither is there, or the tokens that every BERT has are missing.
    """
    path = vocabulary_path(directory)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            vocabulary = dict(json.loads(text)["model"]["vocab"])
        else:
            vocabulary = {token: place for place, token in enumerate(text.split("\n"))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not the vocabulary of a BERT model: {error}") from error
    if not all(isinstance(vocabulary.get(token), int) for token in _NEEDED):
        raise CheckpointError(f"{path}: not the vocabulary of a BERT model: no {_NEEDED} in it")
    return BertTokens(vocabulary)


def vocabulary_path(directory: Path) -> Path:
    """Return the file that holds the vocabulary.

    Raises:
        CheckpointError: there is none.
    """
    for name in ("vocab.txt", "tokenizer.json"):
        if (directory / name).is_file():
            return directory / name
    raise CheckpointError(
        f"{directory}: no vocab.txt and no tokenizer.json; name the directory of "
        "chinese-roberta-wwm-ext-large, or copy its vocab.txt there"
    )


def _lower(text: str) -> str:
    """Return a text in lower case, character by character so that it keeps its length."""
    return "".join(lower if len(lower := c.lower()) == 1 else c for c in text)


def _without_accents(word: str) -> str:
    if word.isascii():
        return word
    parts = unicodedata.normalize("NFD", word)
    return "".join(part for part in parts if unicodedata.category(part) != "Mn")
