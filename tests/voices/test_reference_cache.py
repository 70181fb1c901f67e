"""The bounded cache and its content keys."""

from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.protocol.messages import ReferenceAudio
from sovits_serve.voices.reference_cache import BoundedCache, content_key


def test_the_least_recently_used_entry_goes_first() -> None:
    """Reading an entry keeps it; the one not read longest is dropped."""
    cache: BoundedCache[str] = BoundedCache(20)
    cache.put("a", "A", 10)
    cache.put("b", "B", 10)
    cache.get("a")
    cache.put("c", "C", 10)

    assert cache.get("b") is None
    assert cache.get("a") == "A"
    assert cache.size_bytes == 20


def test_an_entry_larger_than_the_cache_is_not_kept() -> None:
    """One huge entry neither stays nor drives out the others."""
    cache: BoundedCache[str] = BoundedCache(10)
    cache.put("a", "A", 10)
    cache.put("huge", "H", 11)

    assert cache.get("huge") is None
    assert cache.get("a") == "A"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12)), max_size=50))
def test_the_bound_holds_after_every_operation(puts: list[tuple[str, int]]) -> None:
    """Whatever is stored, the bytes add up and stay under the bound."""
    cache: BoundedCache[int] = BoundedCache(20)
    for key, size in puts:
        cache.put(key, size, size)

        held = [entry for name in "abcdef" if (entry := cache.get(name)) is not None]
        assert sum(held) == cache.size_bytes <= 20


def test_keys_are_of_content() -> None:
    """Equal recordings share a key; samples, rate and channels each change it."""
    audio = ReferenceAudio(b"1234" * 4, 16000, 1)
    others = [
        ReferenceAudio(b"1234" * 3, 16000, 1),
        ReferenceAudio(b"1234" * 4, 32000, 1),
        ReferenceAudio(b"1234" * 4, 16000, 2),
    ]

    keys = {content_key(other) for other in others} | {content_key(audio)}

    assert content_key(ReferenceAudio(b"1234" * 4, 16000, 1)) == content_key(audio)
    assert len(keys) == 4
