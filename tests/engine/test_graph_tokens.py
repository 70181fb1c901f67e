"""Who gets pages and who gives them back, with everything faked that computes."""

from types import SimpleNamespace
from typing import cast

import pytest

from sovits_serve.engine.batch import StepResults
from sovits_serve.engine.request import Request, Sequence
from sovits_serve.protocol.messages import (
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SynthesisRequest,
)

pytest.importorskip("triton")

from sovits_serve.engine.graph_tokens import GraphTokens
from sovits_serve.engine.paged_cache import PagedCache
from sovits_serve.models.cuda.pages import PAGE_TOKENS
from sovits_serve.models.spec import T2SDims

DIMS = T2SDims(hidden=32, num_heads=2, num_layers=1, vocab_size=9, phoneme_vocab_size=9, max_sec=1)
NUM_PHONEMES = 20


class Table:
    """Takes notice of what is stopped."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def stop(self, _slots: object) -> None:
        """Stop slots, or fail."""
        if self.error is not None:
            raise self.error


def make_tokens(num_pages: int) -> tuple[GraphTokens, Table]:
    """Make the part that hands out pages."""
    tokens, table = GraphTokens.__new__(GraphTokens), Table()
    nobody = SimpleNamespace(prompt_phone_ids=(), prompt_tokens=())
    vars(tokens).update(
        _cache=PagedCache(
            DIMS, num_slots=8, num_tokens=num_pages * PAGE_TOKENS, max_length=3 * PAGE_TOKENS
        ),
        _conditionings={"a": nobody},
        _table=table,
        _rows={},
        _pending=[],
        _has_told=False,
    )
    return tokens, table


def make_sequence(index: int, num_known: int = 0) -> Sequence:
    """Make a segment of one request; ``num_known`` tokens are known from before it returned."""
    text = PhonemizedText((1,) * NUM_PHONEMES)
    message = SynthesisRequest("a", (text,), Reference(ReferenceAudio(b"", 16000)))
    sequence = Sequence(Request(message, 0.0), index, text, max_tokens=300)
    sequence.tokens = [0] * num_known
    return sequence


def test_new_rows_are_admitted_as_long_as_all_have_room_to_be_usual() -> None:
    """Twenty phonemes are one page: five rows have five, and the sixth waits."""
    tokens, _ = make_tokens(5)
    results = StepResults()

    admitted = tokens._admit([make_sequence(index) for index in range(7)], results)

    assert [sequence.index for sequence in admitted] == [0, 1, 2, 3, 4]
    assert results.returned == {("a", 5), ("a", 6)}


def test_what_returned_is_admitted_when_there_is_room_for_what_it_has_become() -> None:
    """It has 200 tokens already, and will have more: three pages, not one."""
    for num_pages, has_room in ((3, False), (4, True)):
        tokens, _ = make_tokens(num_pages)
        results = StepResults()
        tokens._admit([make_sequence(0)], results)

        admitted = tokens._admit([make_sequence(1, num_known=200)], results)

        assert bool(admitted) == has_room


def test_a_row_that_is_longer_than_usual_keeps_others_out() -> None:
    """It will want another page, which a new row must not take."""
    tokens, _ = make_tokens(3)
    first = make_sequence(0)
    tokens._admit([first], StepResults())
    row = tokens._rows[first.key]
    while row.reached <= PAGE_TOKENS:
        assert tokens._grow([first], StepResults())
        row.reached += 4

    assert not tokens._admit([make_sequence(1)], StepResults())


def test_the_youngest_gives_way_and_only_when_nothing_is_under_way() -> None:
    """What was launched may free pages; after that the last one that came returns."""
    tokens, _ = make_tokens(3)
    rows = [make_sequence(index) for index in range(3)]
    tokens._admit(rows, StepResults())
    for row in tokens._rows.values():
        row.reached = PAGE_TOKENS
    results = StepResults()

    tokens._pending.append(cast("object", None))  # type: ignore[arg-type]
    assert not tokens._grow(rows, results)
    assert not results.returned

    tokens._pending.clear()
    assert tokens._grow(rows, results)
    assert results.returned == {("a", 2), ("a", 1)}
    tokens.check_integrity(rows[:1])


def test_an_interrupted_release_loses_no_page() -> None:
    """Whatever stops the stopping, slots and pages are free."""
    tokens, table = make_tokens(3)
    sequence = make_sequence(0)
    tokens._admit([sequence], StepResults())
    table.error = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        tokens.release([sequence])

    tokens.check_integrity([])
    assert tokens._cache.num_free_pages == 3
