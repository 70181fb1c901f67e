"""The symbol tables: sizes, fixed points, and errors."""

import hashlib

import pytest

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.symbols import phone_ids, symbol_table


@pytest.mark.parametrize(
    ("version", "size", "digest"),
    [
        ("v1", 322, "f7c3b280b9cc519b0829a6f182fcdd208643a07f1e20c1ab2bf4fc9e8e9a7ca6"),
        ("v2", 732, "0771f6cd6f6201e8c2b0de921dc69cc04caf3f346c599d4a41413967d5674da7"),
    ],
)
def test_tables_equal_the_recorded_ones(version: str, size: int, digest: str) -> None:
    """The generated tables are the ones the checkpoints were trained with, id for id."""
    table = symbol_table(version)

    assert len(table) == size
    assert hashlib.sha256("\n".join(table).encode()).hexdigest() == digest


def test_v1_is_the_beginning_of_v2() -> None:
    """A v1 phone id means the same symbol in v2."""
    assert symbol_table("v2")[:322] == symbol_table("v1")


def test_known_phonemes_become_ids() -> None:
    """Ids are places in the table."""
    assert phone_ids("n i2 h ao3 ,".split(), "v2") == (227, 167, 158, 119, 1)


def test_an_unknown_phoneme_is_named_with_its_place() -> None:
    """Nothing unknown becomes another phoneme silently."""
    with pytest.raises(InvalidRequest, match=r"'ㅏ' at position 1 .* 322 symbols of table v1"):
        phone_ids(["a1", "ㅏ"], "v1")
