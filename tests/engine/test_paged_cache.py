from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_serve.engine.paged_cache import PagedCache
from sovits_serve.models.cuda.pages import PAGE_TOKENS
from sovits_serve.models.spec import T2SDims

DIMS = T2SDims(hidden=32, num_heads=2, num_layers=2, vocab_size=9, phoneme_vocab_size=9, max_sec=1)
NUM_SLOTS, MAX_LENGTH = 4, 3 * PAGE_TOKENS - 5


def make_cache(num_tokens: int = 6 * PAGE_TOKENS) -> PagedCache:
    """Make an empty cache."""
    return PagedCache(DIMS, num_slots=NUM_SLOTS, num_tokens=num_tokens, max_length=MAX_LENGTH)


def test_memory_is_whole_pages() -> None:
    """The last page is a whole one, too."""
    cache = make_cache(MAX_LENGTH)

    assert cache.num_pages == cache.num_free_pages == 3
    assert cache.layer(1).shape == (2, 2, 3 * PAGE_TOKENS, 16)
    assert cache.page_table.shape == (NUM_SLOTS, 3)


def test_a_slot_grows_page_by_page() -> None:
    """Addresses stay where they are; a page is taken with the first token that needs it."""
    cache = make_cache()
    first, second = cache.allocate(), cache.allocate()
    cache.grow(first, PAGE_TOKENS)
    cache.grow(second, 1)
    before = cache.addresses(first, PAGE_TOKENS)

    assert cache.num_missing(first, PAGE_TOKENS + 1) == 1
    cache.grow(first, PAGE_TOKENS + 1)
    cache.grow(first, 3)

    after = cache.addresses(first, PAGE_TOKENS + 1)
    assert after[:-1].tolist() == before.tolist() == list(range(PAGE_TOKENS))
    assert after[-1] == 2 * PAGE_TOKENS
    assert cache.addresses(second, 1).tolist() == [PAGE_TOKENS]
    cache.upload()
    assert cache.page_table[first, :2].tolist() == [0, 2]
    assert cache.page_table[second, :1].tolist() == [1]


def test_what_is_freed_is_taken_again() -> None:
    """The lowest page and slot come first."""
    cache = make_cache()
    slots = [cache.allocate() for _ in range(NUM_SLOTS)]
    for slot in slots:
        cache.grow(slot, 1)
    cache.free(slots[2])
    cache.free(slots[1])

    again = cache.allocate()
    cache.grow(again, PAGE_TOKENS + 1)

    assert again == slots[1]
    assert cache.addresses(again, 1).tolist() == [PAGE_TOKENS]
    cache.check_integrity([slots[0], again, slots[3]])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, NUM_SLOTS - 1), st.integers(0, MAX_LENGTH)), max_size=60))
def test_no_page_has_two_holders(actions: list[tuple[int, int]]) -> None:
    """Whatever is taken and freed, each token has its own address."""
    cache = make_cache()
    lengths: dict[int, int] = {}
    for which, length in actions:
        if which not in lengths and len(lengths) < NUM_SLOTS:
            lengths[cache.allocate()] = 0
        if which not in lengths:
            continue
        if not length:
            cache.free(which)
            del lengths[which]
        elif cache.num_missing(which, length) <= cache.num_free_pages:
            cache.grow(which, length)
            lengths[which] = max(lengths[which], length)
        cache.check_integrity(lengths)
        found = [cache.addresses(slot, own).tolist() for slot, own in lengths.items() if own]
        addresses = [address for own in found for address in own]
        assert len(addresses) == len(set(addresses)) == sum(lengths.values())
        assert all(0 <= one < cache.num_pages * PAGE_TOKENS for one in addresses)
