import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.parity.token_chunks import ChunkRule, join, split, was_ended_by_eos

tokens_of_a_run = st.lists(st.integers(0, 15), min_size=1, max_size=80)


@st.composite
def rules(draw: st.DrawFn) -> ChunkRule:
    """Return a rule by length, or by similarities of 16 tokens."""
    length = draw(st.integers(1, 12))
    if draw(st.booleans()):
        return ChunkRule(length)
    values = draw(st.lists(st.floats(-1, 1, width=16), min_size=16, max_size=16))
    return ChunkRule(length, torch.tensor(values))


@given(tokens_of_a_run, rules(), st.booleans())
def test_join_undoes_split(tokens: list[int], rule: ChunkRule, ended_by_eos: bool) -> None:
    """Without the repeated tokens the chunks of a run are the run."""
    chunks = list(split(tokens, rule, ended_by_eos=ended_by_eos))

    assert join([chunk.tokens for chunk in chunks], rule) == tokens
    assert [chunk.is_final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(len(chunk.tokens) >= rule.chunk_length for chunk in chunks[:-1])


def test_a_fixed_length_repeats_nothing() -> None:
    """Chunks of a fixed length follow each other; at EOS the last can be empty."""
    chunks = list(split(range(32), ChunkRule(16), ended_by_eos=True))

    assert [chunk.tokens for chunk in chunks] == [list(range(16)), list(range(16, 32)), []]


def test_near_silence_sends_the_rest_twice() -> None:
    """Only what comes before the silence counts as sent; the rest comes again in the next chunk."""
    similarity = torch.full((4,), -0.5)
    similarity[3] = 1.0
    tokens = [0, 0, 3, 1, 2, 0, 0, 0]
    chunks = [chunk.tokens for chunk in split(tokens, ChunkRule(2, similarity), ended_by_eos=True)]

    assert chunks == [[0, 0, 3, 1], [3, 1, 2, 0, 0, 0]]


def test_a_chunk_that_cannot_have_been_sent_is_refused() -> None:
    """Chunks shorter than the rule allows are no stream of this rule."""
    with pytest.raises(ValueError, match="chunk 0 of 3 tokens breaks the rule"):
        join([[1, 2, 3], [4, 5, 6, 7]], ChunkRule(4))


@pytest.mark.parametrize(
    ("num_tokens", "early_stop", "expected"), [(50, 50, True), (51, 50, False), (1500, 2700, False)]
)
def test_the_length_tells_how_a_run_ended(num_tokens: int, early_stop: int, expected: bool) -> None:
    """A token past the early stop, or all steps there are: then no EOS ended it."""
    assert was_ended_by_eos(num_tokens, early_stop) is expected
