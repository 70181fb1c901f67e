"""Building torch archives byte by byte, honest ones and others."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

MARK, STOP = b"(", b"."
PROTOCOL = b"\x80\x02"
EMPTY_DICT = b"}"


def text(value: str) -> bytes:
    """Return the opcode that pushes a string."""
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    """Return the opcode that pushes an integer of up to eight bytes."""
    encoded = value.to_bytes(8, "little", signed=True)
    return b"\x8a\x08" + encoded


def name(module: str, attribute: str) -> bytes:
    """Return the opcode that pushes a global name."""
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def numbers(*values: int) -> bytes:
    """Return the opcodes that push a tuple of integers."""
    return MARK + b"".join(map(number, values)) + b"t"


def storage(key: str, num_elements: int, kind: str = "FloatStorage") -> bytes:
    """Return the opcodes that push a storage by its persistent id."""
    fields = text("storage") + name("torch", kind) + text(key) + text("cpu") + number(num_elements)
    return MARK + fields + b"tQ"


def tensor(
    stored: bytes,
    shape: bytes = numbers(4),
    strides: bytes = numbers(1),
    offset: bytes = number(0),
) -> bytes:
    """Return the opcodes that push a tensor over ``stored``."""
    hooks = name("collections", "OrderedDict") + b")R"
    arguments = stored + offset + shape + strides + b"\x89" + hooks
    return name("torch._utils", "_rebuild_tensor_v2") + MARK + arguments + b"tR"


def weights(value: bytes) -> bytes:
    """Return a whole pickle: ``{"weight": {"x": value}}``."""
    inner = EMPTY_DICT + text("x") + value + b"s"
    return PROTOCOL + EMPTY_DICT + text("weight") + inner + b"s" + STOP


def archive(content: bytes, storages: Mapping[str, bytes] | None = None, **records: bytes) -> bytes:
    """Return a torch archive with this pickle, these storages and further records."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", content)
        for key, data in (storages or {"0": bytes(16)}).items():
            file.writestr(f"archive/data/{key}", data)
        for record, data in {"version": b"3\n", "byteorder": b"little", **records}.items():
            file.writestr(f"archive/{record}", data)
    return buffer.getvalue()


class Canary:
    """An object whose pickle, once loaded by pickle, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        """Ask for the file to be opened for writing."""
        return open, (str(self.path), "w")


def canary_pickle(path: Path, protocol: int) -> bytes:
    """Return a pickle that makes a file when pickle loads it."""
    return pickle.dumps({"weight": {"x": Canary(path)}}, protocol)
