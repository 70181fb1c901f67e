"""The directory of a ``torch.save`` archive: which record lies where.

Our own walk instead of ``zipfile``: it decompresses nothing, follows nothing, and refuses every
name, flag and overlap that torch does not write, before anything is allocated. The first two
bytes of the file may be a version mark instead of ``PK``. Sizes are bytes.
"""

import re
import struct
from collections.abc import Iterable

from sovits_serve.checkpoints.source_file import SourceFile
from sovits_serve.checkpoints.tensor_ref import Extent, FormatError

# A training checkpoint with its optimizer has about 3,000 records.
MAX_ENTRIES = 32_768
MAX_DIRECTORY_BYTES = 8 * 2**20
_MAX_NAME_BYTES = 512

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FLAG_ENCRYPTED = 0x1 | 0x40 | 0x2000

_RECORD = re.compile(
    r"data\.pkl|data/[0-9]{1,20}|version|byteorder"
    r"|\.data/serialization_id|\.format_version|\.storage_alignment"
)
_SCRIPT = re.compile(r"code/|constants(\.pkl|/)")


def read_records(file: SourceFile) -> dict[str, Extent]:
    """Return the records of the archive by name, without the archive's own prefix.

    Raises:
        FormatError: the file is no stored zip archive as torch writes it.
    """
    num_entries, size, start = _find_directory(file)
    if num_entries > MAX_ENTRIES or size > MAX_DIRECTORY_BYTES:
        raise FormatError(f"its directory has {num_entries} entries in {size} bytes: too many")
    if start + size > file.size_bytes:
        raise FormatError("its zip directory lies outside the file: truncated or damaged")
    directory = file.read_at(start, size)
    records: dict[str, Extent] = {}
    position = 0
    for _ in range(num_entries):
        extent, position = _read_entry(file, directory, position, start)
        if extent.name in records:
            raise FormatError(f"record {extent.name!r} occurs twice")
        records[extent.name] = extent
    _refuse_overlaps(records.values())
    return _without_prefix(records)


def _find_directory(file: SourceFile) -> tuple[int, int, int]:
    """Return number of entries, size and start of the central directory."""
    tail_start = max(0, file.size_bytes - _END.size - 0xFFFF)
    tail = file.read_at(tail_start, file.size_bytes - tail_start)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + _END.size > len(tail):
        raise FormatError("has no zip directory at its end: truncated, or no torch.save file")
    _, disk, first_disk, here, entries, size, start, _ = _END.unpack_from(tail, found)
    if disk or first_disk or here != entries:
        raise FormatError("is one part of a split zip archive")
    if entries == 0xFFFF or size == 0xFFFFFFFF or start == 0xFFFFFFFF:
        return _find_directory64(file, tail_start + found)
    return entries, size, start


def _find_directory64(file: SourceFile, end_start: int) -> tuple[int, int, int]:
    locator_start = end_start - _END64_LOCATOR.size
    if locator_start < 0:
        raise FormatError("has a damaged zip64 directory")
    signature, _, position, _ = _END64_LOCATOR.unpack(
        file.read_at(locator_start, _END64_LOCATOR.size)
    )
    if signature != b"PK\x06\x07" or position + _END64.size > locator_start:
        raise FormatError("has a damaged zip64 directory")
    fields = _END64.unpack(file.read_at(position, _END64.size))
    if fields[0] != b"PK\x06\x06" or fields[6] != fields[7]:
        raise FormatError("has a damaged zip64 directory")
    return fields[7], fields[8], fields[9]


def _read_entry(
    file: SourceFile, directory: bytes, position: int, data_end: int
) -> tuple[Extent, int]:
    """Read one directory entry and check it against the local header it points to."""
    if position + _ENTRY.size > len(directory):
        raise FormatError("its zip directory ends too early")
    fields = _ENTRY.unpack_from(directory, position)
    signature, _, _, flags, method, _, _, crc32, packed, size = fields[:10]
    name_bytes, extra_bytes, comment_bytes = fields[10:13]
    if signature != b"PK\x01\x02":
        raise FormatError("its zip directory is damaged")
    name_start = position + _ENTRY.size
    extra_start = name_start + name_bytes
    end = extra_start + extra_bytes + comment_bytes
    if end > len(directory) or name_bytes > _MAX_NAME_BYTES:
        raise FormatError("its zip directory ends too early")
    raw_name = directory[name_start:extra_start]
    name = _decode_name(raw_name)
    if flags & _FLAG_ENCRYPTED:
        raise FormatError(f"record {name!r} is encrypted")
    if method != 0:
        raise FormatError(f"record {name!r} is compressed; torch never does that")
    extra = directory[extra_start : extra_start + extra_bytes]
    size, packed, header = _widen(extra, [size, packed, fields[16]])
    if size != packed:
        raise FormatError(f"record {name!r} has two different sizes")
    start = _data_start(file, header, raw_name, name)
    if start + size > data_end:
        raise FormatError(f"record {name!r} reaches past the data: truncated or damaged")
    return Extent(name, start, size, crc32 or None), end


def _decode_name(raw_name: bytes) -> str:
    try:
        return raw_name.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"a record's name is not UTF-8: {raw_name[:40]!r}") from None


def _widen(extra: bytes, values: list[int]) -> list[int]:
    """Replace the 32-bit fields that overflowed by those of the zip64 extra field."""
    if 0xFFFFFFFF not in values:
        return values
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == 1 and position + length <= len(extra):
            wide = [
                item[0]
                for item in struct.iter_unpack("<Q", extra[position : position + length // 8 * 8])
            ]
            if len(wide) >= values.count(0xFFFFFFFF):
                source = iter(wide)
                return [next(source) if value == 0xFFFFFFFF else value for value in values]
        position += length
    raise FormatError("a zip64 record lacks its sizes")


def _data_start(file: SourceFile, header: int, raw_name: bytes, name: str) -> int:
    size = _LOCAL.size + len(raw_name)
    if header + size > file.size_bytes:
        raise FormatError(f"record {name!r} lies outside the file: truncated or damaged")
    local = file.read_at(header, size)
    signature, _, flags, method, _, _, _, _, _, name_bytes, extra_bytes = _LOCAL.unpack_from(local)
    is_marked = header == 0 and signature[2:] == b"\x03\x04"
    if signature != b"PK\x03\x04" and not is_marked:
        raise FormatError(f"record {name!r} has no header where the directory says")
    if flags & _FLAG_ENCRYPTED or method != 0:
        raise FormatError(f"record {name!r} is compressed or encrypted")
    if name_bytes != len(raw_name) or local[_LOCAL.size :] != raw_name:
        raise FormatError(f"record {name!r} has another name in its own header")
    return header + size + int(extra_bytes)


def _refuse_overlaps(records: Iterable[Extent]) -> None:
    end = 0
    for record in sorted(records, key=lambda record: record.start):
        if record.start < end:
            raise FormatError(f"record {record.name!r} overlaps another one")
        end = record.start + record.size_bytes


def _without_prefix(records: dict[str, Extent]) -> dict[str, Extent]:
    """Check all names against what torch writes and drop the archive's name."""
    prefixes = {name.partition("/")[0] for name in records}
    if len(prefixes) != 1:
        raise FormatError("its records do not lie in one archive, as torch.save writes them")
    result: dict[str, Extent] = {}
    for full_name, extent in records.items():
        name = full_name.partition("/")[2]
        if _SCRIPT.match(name):
            raise FormatError("is a TorchScript archive, which holds code; export plain weights")
        if not _RECORD.fullmatch(name):
            raise FormatError(f"holds record {full_name[:80]!r}, which torch.save never writes")
        result[name] = Extent(name, extent.start, extent.size_bytes, extent.crc32)
    if "data.pkl" not in result:
        raise FormatError("has no record data.pkl, so torch.save did not write it")
    return result
