"""Reading and writing safetensors files, one tensor at a time.

The safetensors library maps the file when it reads and holds all tensors when it writes; here
neither is wanted, and the format is eight bytes, a JSON header and the data. Sizes are bytes.
"""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeGuard

from sovits_serve.checkpoints.source_file import SourceFile
from sovits_serve.checkpoints.tensor_ref import (
    ITEM_SIZES,
    Extent,
    FormatError,
    TensorRef,
    contiguous_strides,
    make_tensor_ref,
)

MAX_HEADER_BYTES = 8 * 2**20
MAX_TENSORS = 65_536
METADATA_KEY = "__metadata__"

_DTYPES = MappingProxyType(
    {
        "F16": "float16",
        "BF16": "bfloat16",
        "F32": "float32",
        "F64": "float64",
        "I64": "int64",
        "I32": "int32",
        "I16": "int16",
        "I8": "int8",
        "U8": "uint8",
        "BOOL": "bool",
    }
)
_CODES = MappingProxyType({dtype: code for code, dtype in _DTYPES.items()})


def looks_like_safetensors(file: SourceFile) -> bool:
    """Say whether the file starts with a header length and a brace."""
    if file.size_bytes < 10:
        return False
    start = file.read_at(0, 9)
    return start[8:] == b"{" and struct.unpack_from("<Q", start)[0] <= file.size_bytes - 8


def read_header(file: SourceFile) -> tuple[dict[str, TensorRef], dict[str, str]]:
    """Return the tensors by name, and the metadata.

    Raises:
        FormatError: the header is damaged, or a tensor lies outside the file.
    """
    size = struct.unpack("<Q", file.read_at(0, 8))[0]
    if size > MAX_HEADER_BYTES:
        raise FormatError(f"its safetensors header has {size} bytes, more than {MAX_HEADER_BYTES}")
    try:
        header = json.loads(file.read_at(8, size))
    except (ValueError, RecursionError) as error:
        raise FormatError("its safetensors header is no JSON: truncated or damaged") from error
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise FormatError("its safetensors header is no table of tensors")
    metadata = header.pop(METADATA_KEY, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError("its safetensors metadata are not strings")
    data_start = 8 + size
    tensors = {name: _read_entry(name, entry, data_start, file) for name, entry in header.items()}
    _refuse_overlaps(tensors)
    return tensors, metadata


def _read_entry(name: str, entry: object, data_start: int, file: SourceFile) -> TensorRef:
    if not isinstance(entry, dict):
        raise FormatError(f"tensor {name[:80]!r} has no description")
    dtype = _DTYPES.get(str(entry.get("dtype")))
    if dtype is None:
        raise FormatError(f"tensor {name[:80]!r} has an unknown dtype")
    begin, end = _offsets(name, entry.get("data_offsets"))
    if data_start + end > file.size_bytes:
        raise FormatError(f"tensor {name[:80]!r} lies outside the file: truncated or damaged")
    shape = entry.get("shape")
    extent = Extent(name, data_start + begin, end - begin)
    if not _is_shape(shape):
        raise FormatError(f"tensor {name[:80]!r} has no valid shape")
    ref = make_tensor_ref(dtype, shape, contiguous_strides(shape), 0, extent)
    if ref.num_elements * ITEM_SIZES[dtype] != extent.size_bytes:
        raise FormatError(f"tensor {name[:80]!r} has a size that contradicts its shape")
    return ref


def _is_shape(shape: object) -> TypeGuard[list[int]]:
    return isinstance(shape, list) and all(type(item) is int for item in shape)


def _offsets(name: str, value: object) -> tuple[int, int]:
    if (
        isinstance(value, list)
        and len(value) == 2
        and _is_shape(value)
        and 0 <= value[0] <= value[1]
    ):
        return value[0], value[1]
    raise FormatError(f"tensor {name[:80]!r} has no valid data_offsets")


def _refuse_overlaps(tensors: Mapping[str, TensorRef]) -> None:
    end = 0
    for ref in sorted(
        tensors.values(), key=lambda ref: (ref.storage.start, ref.storage.size_bytes)
    ):
        if ref.storage.start < end:
            raise FormatError(f"tensor {ref.storage.name[:80]!r} overlaps another one")
        end = ref.storage.start + ref.storage.size_bytes


def write_tensors(
    path: Path,
    layout: Mapping[str, tuple[str, tuple[int, ...]]],
    read: Callable[[str], bytes | bytearray | memoryview],
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file.

    Args:
        path: the file, replaced if it exists.
        layout: dtype and shape of every tensor by name.
        read: returns one tensor's bytes, little-endian, in C order; called once for each.
        metadata: strings to store in the header.
    """
    header: dict[str, object] = {METADATA_KEY: dict(metadata)}
    begin = 0
    for name, (dtype, shape) in layout.items():
        end = begin + ITEM_SIZES[dtype] * _product(shape)
        header[name] = {"dtype": _CODES[dtype], "shape": shape, "data_offsets": [begin, end]}
        begin = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for name in layout:
            file.write(read(name))


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for length in shape:
        result *= length
    return result
