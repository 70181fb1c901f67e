"""Tests of the tokens of a Chinese BERT, with a small made-up vocabulary."""

import pytest

from sovits_serve.frontend.chinese.bert_tokens import BertTokens

VOCABULARY = "[PAD] [UNK] [CLS] [SEP] 行 好 ! play ##ing ##s a 0 ##1 e".split()


def tokens_of(text: str) -> list[str]:
    """Return the tokens between [CLS] and [SEP]."""
    ids = BertTokens({token: i for i, token in enumerate(VOCABULARY)}).tokenize(text).ids
    assert (VOCABULARY[ids[0]], VOCABULARY[ids[-1]]) == ("[CLS]", "[SEP]")
    return [VOCABULARY[i] for i in ids[1:-1]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("行好!", "行 好 !"),
        ("行 好  ", "行 好"),
        ("", ""),
        ("Playing", "play ##ing"),
        ("plays01", "[UNK]"),  # one piece is unknown, so all of the word is
        ("011", "0 ##1 ##1"),
        ("é", "e"),
        ("囧😀", "[UNK] [UNK]"),
        ("a" * 101, "[UNK]"),
        ("\ud800\n", "[UNK] [UNK]"),
    ],
)
def test_tokens_are_those_of_bert(text: str, tokens: str) -> None:
    """Ideographs are tokens, words are in pieces, blanks are nothing, the rest is unknown."""
    assert tokens_of(text) == tokens.split()


def test_positions_are_those_of_the_characters_tokens() -> None:
    """A character's position counts [CLS] and the pieces before it; a blank has none."""
    made = BertTokens({token: i for i, token in enumerate(VOCABULARY)}).tokenize("playing 行好")

    assert {place: made.positions.get(place) for place in (0, 7, 8, 9)} == {
        0: 1,
        7: None,
        8: 3,
        9: 4,
    }
