"""Archives that torch never wrote are refused by their directory alone."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.errors import CheckpointError
from tests.checkpoints.archives import archive, number, storage, tensor, weights

HONEST = archive(weights(tensor(storage("0", 4))))
DIRECTORY = HONEST.index(b"PK\x01\x02")
END = HONEST.index(b"PK\x05\x06")


def _patch(position: int, layout: str, value: int) -> bytes:
    patched = bytearray(HONEST)
    struct.pack_into("<" + layout, patched, position, value)
    return bytes(patched)


def _zip(names: list[str], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name in names:
            file.writestr(name, weights(number(1)))
    return buffer.getvalue()


def _many_entries(count: int) -> bytes:
    entry = HONEST[DIRECTORY : HONEST.index(b"PK\x01\x02", DIRECTORY + 4)]
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, 100, 0)
    return HONEST[:100] + entry * count + end


def _overlapping() -> bytes:
    """Let the second directory entry point at the first one's record, under the same name."""
    second = HONEST.index(b"PK\x01\x02", DIRECTORY + 4)
    first_entry = HONEST[DIRECTORY:second]
    return HONEST[:second] + first_entry + HONEST[second:END] + _end(1 + _count(), first_entry)


def _count() -> int:
    return HONEST.count(b"PK\x01\x02")


def _end(count: int, extra: bytes) -> bytes:
    size = END - DIRECTORY + len(extra)
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, DIRECTORY, 0)


ARCHIVES = {
    "encrypted": (_patch(DIRECTORY + 8, "H", 1), "encrypted"),
    "strongly encrypted": (_patch(DIRECTORY + 8, "H", 0x40), "encrypted"),
    "encrypted by its own header only": (_patch(6, "H", 1), "encrypted"),
    "deflate bomb": (_zip(["archive/data.pkl"], zipfile.ZIP_DEFLATED), "compressed"),
    "lzma": (_zip(["archive/data.pkl"], zipfile.ZIP_LZMA), "compressed"),
    "parent directory": (_zip(["archive/data.pkl", "archive/../x"]), "never writes"),
    "absolute name": (_zip(["archive/data.pkl", "/etc/passwd"]), "one archive"),
    "backslashes": (_zip(["archive/data.pkl", "archive/data\\0"]), "never writes"),
    "storage with a name": (_zip(["archive/data.pkl", "archive/data/x"]), "never writes"),
    "two archives in one": (_zip(["a/data.pkl", "b/data.pkl"]), "one archive"),
    "no archive name": (_zip(["data.pkl"]), "never writes"),
    "TorchScript": (_zip(["a/data.pkl", "a/code/__torch__.py"]), "TorchScript"),
    "constants of TorchScript": (_zip(["a/data.pkl", "a/constants.pkl"]), "TorchScript"),
    "no pickle": (_zip(["a/version"]), "no record data.pkl"),
    "same record twice": (_overlapping(), "twice"),
    "name differs in the header": (
        HONEST.replace(b"archive/data.pkl", b"archive/data/999", 1),
        "another name",
    ),
    "two sizes": (_patch(DIRECTORY + 20, "L", 5), "two different sizes"),
    "size past the data": (
        _patch(DIRECTORY + 20, "L", 2**31)[: DIRECTORY + 24]
        + struct.pack("<L", 2**31)
        + HONEST[DIRECTORY + 28 :],
        "past the data",
    ),
    "header outside": (_patch(DIRECTORY + 42, "L", 2**30), "outside the file"),
    "header elsewhere": (_patch(DIRECTORY + 42, "L", 7), "no header"),
    "directory outside": (_patch(END + 16, "L", 2**30), "outside the file"),
    "directory size": (_patch(END + 12, "L", 2**23), "outside the file"),
    "damaged directory": (_patch(DIRECTORY, "L", 0), "directory is damaged"),
    "split archive": (_patch(END + 4, "H", 1), "split"),
    "more entries than there are": (_many_entries(3)[:-22] + _end(900, b""), "directory"),
    "a hundred thousand entries": (_many_entries(60_000), "too many"),
    "zip64 without its record": (_patch(END + 16, "L", 0xFFFFFFFF), "zip64"),
    "zip64 size without its field": (_patch(DIRECTORY + 42, "L", 0xFFFFFFFF), "zip64"),
    "name that is no UTF-8": (
        HONEST.replace(b"archive/version", b"archive/\xff\xff\xff\xff\xff\xff\xff"),
        "UTF-8",
    ),
    "big-endian": (archive(weights(number(1)), byteorder=b"big"), "big-endian"),
    "unknown byte order": (archive(weights(number(1)), byteorder=b"x" * 40), "byteorder"),
}


@pytest.mark.parametrize(("content", "reason"), ARCHIVES.values(), ids=ARCHIVES.keys())
def test_a_false_archive_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """The error names the file and says what is wrong with its archive."""
    path = tmp_path / "false.pth"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=f"false.pth: .*{reason}"):
        CheckpointFile(path)


def test_a_large_file_is_read_through_its_zip64_directory(
    tmp_path: Path, as_zip64: Callable[[bytes], bytes]
) -> None:
    """Files past four gigabytes keep their directory in the zip64 records; those are understood."""
    path = tmp_path / "large.pth"
    path.write_bytes(as_zip64(HONEST))

    with CheckpointFile(path) as file:
        assert isinstance(file.tree, dict)
        assert file.tree["weight"]["x"].shape == (4,)


@pytest.fixture
def as_zip64() -> Callable[[bytes], bytes]:
    """Move an archive's directory position, size and count into zip64 records."""

    def convert(content: bytes) -> bytes:
        start, end, count = DIRECTORY, END, _count()
        record = struct.pack(
            "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, end - start, start
        )
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
        full = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
        return (
            content[:end]
            + record
            + locator
            + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *full, 0)
        )

    return convert
