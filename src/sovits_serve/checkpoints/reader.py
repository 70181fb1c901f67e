"""Opening a checkpoint without trusting it: what it holds, and its tensors one at a time.

Reads the zip archives that ``torch.save`` writes, with or without a version mark in their first
two bytes, and safetensors files. Executes nothing from a file, allocates no more than one
tensor's bytes, and knows neither model versions nor torch. See ``zip_records`` and ``unpickle``
for what is refused.
"""

import json
import zlib
from pathlib import Path
from typing import Self

from sovits_serve.checkpoints.safetensors_format import looks_like_safetensors, read_header
from sovits_serve.checkpoints.source_file import SourceFile
from sovits_serve.checkpoints.tensor_ref import ITEM_SIZES, Extent, FormatError, TensorRef
from sovits_serve.checkpoints.unpickle import MAX_PICKLE_BYTES, unpickle
from sovits_serve.checkpoints.zip_records import read_records
from sovits_serve.errors import CheckpointError

CONVERTED_KEY = "sovits_serve"
_CHUNK_BYTES = 2**20
_CONVERT_HINT = (
    "if you trust it, convert it where PyTorch is installed: "
    "torch.save(torch.load(old, weights_only=False), new)"
)


class CheckpointFile:
    """An open checkpoint.

    Attributes:
        path: the file.
        mark: its first two bytes: ``PK``, or upstream's version mark.
        is_safetensors: whether it is a safetensors file; then there is no mark.
        tree: what was pickled, as plain dicts, lists, tuples, scalars and ``TensorRef``; of a
            safetensors file the same tree if ``convert`` wrote it, else its tensors by name.

    Raises:
        CheckpointError: the file is missing, truncated, hostile or of another kind.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = SourceFile(self.path)
        self._verified: set[str] = set()
        try:
            self.mark = self._file.read_at(0, min(2, self._file.size_bytes))
            self.is_safetensors = False
            self.tree = self._read_tree()
        except FormatError as error:
            self.close()
            raise CheckpointError(f"{self.path}: {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def size_bytes(self) -> int:
        """Return the size of the file."""
        return self._file.size_bytes

    def close(self) -> None:
        """Close the file; its tensors cannot be read any more."""
        self._file.close()

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes of the file."""
        return self._file.read_at(0, min(size_bytes, self.size_bytes))

    def read(self, ref: TensorRef) -> bytearray:
        """Return the bytes from a tensor's first element to its last.

        The first read of a storage checks its CRC, where the file has one.

        Raises:
            CheckpointError: the bytes are damaged or cannot be read.
        """
        item_size = ITEM_SIZES[ref.dtype]
        buffer = bytearray(ref.span * item_size)
        is_whole = len(buffer) == ref.storage.size_bytes
        if not is_whole:
            self._verify(ref.storage)
        self._file.read_into(ref.storage.start + ref.offset * item_size, buffer)
        if is_whole:
            self._compare(ref.storage, zlib.crc32(buffer))
        return buffer

    def _verify(self, extent: Extent) -> None:
        if extent.name in self._verified:
            return
        crc32 = 0
        for start in range(extent.start, extent.start + extent.size_bytes, _CHUNK_BYTES):
            size = min(_CHUNK_BYTES, extent.start + extent.size_bytes - start)
            crc32 = zlib.crc32(self._file.read_at(start, size), crc32)
        self._compare(extent, crc32)

    def _compare(self, extent: Extent, crc32: int) -> None:
        if extent.crc32 is not None and crc32 != extent.crc32:
            raise CheckpointError(f"{self.path}: record {extent.name!r} is damaged (CRC differs)")
        self._verified.add(extent.name)

    def _read_tree(self) -> object:
        if self.head(4)[2:] == b"\x03\x04":
            return self._read_archive()
        if looks_like_safetensors(self._file):
            self.is_safetensors = True
            return self._read_safetensors()
        raise FormatError(_explain(self.head(512)))

    def _read_archive(self) -> object:
        records = read_records(self._file)
        byte_order = records.get("byteorder")
        if byte_order and self._read_record(byte_order, 16) != b"little":
            raise FormatError("was written on a big-endian machine; save it again on another")
        return unpickle(self._read_record(records["data.pkl"], MAX_PICKLE_BYTES), records)

    def _read_record(self, extent: Extent, max_bytes: int) -> bytes:
        if extent.size_bytes > max_bytes:
            raise FormatError(f"record {extent.name!r} has more than {max_bytes} bytes")
        content = self._file.read_at(extent.start, extent.size_bytes)
        self._compare(extent, zlib.crc32(content))
        return content

    def _read_safetensors(self) -> object:
        tensors, metadata = read_header(self._file)
        if CONVERTED_KEY not in metadata:
            return tensors
        try:
            fields = json.loads(metadata[CONVERTED_KEY])
        except (ValueError, RecursionError) as error:
            raise FormatError("its own metadata are no JSON") from error
        if not isinstance(fields, dict):
            raise FormatError("its own metadata are no table")
        return {**fields, "weight": tensors}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _explain(start: bytes) -> str:
    """Say what a file that is no checkpoint seems to be."""
    text = start.lstrip().lower()
    if not start:
        return "is empty"
    if start.startswith(b"\x80"):
        return f"is in PyTorch's old format from before 1.6, or a bare pickle; {_CONVERT_HINT}"
    if start[257:262] == b"ustar":
        return f"is a tar archive, PyTorch's oldest format; {_CONVERT_HINT}"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself; run git lfs pull"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not a checkpoint; download it again"
    return "is neither a torch.save archive nor a safetensors file: truncated, or another format"
