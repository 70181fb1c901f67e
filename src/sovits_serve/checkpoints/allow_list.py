"""The names a checkpoint may use, and the inert values that stand for them.

``find_global`` is the only door: a pickle's class or function is looked up by its exact pair of
strings in these tables and nowhere else, so nothing is ever imported or called for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType

from sovits_serve.checkpoints.tensor_ref import (
    ITEM_SIZES,
    Extent,
    FormatError,
    TensorRef,
    make_tensor_ref,
    show,
)


class Attributes(dict[str, object]):
    """What an ``HParams`` object held."""


class Ordered(dict[object, object]):
    """An ``OrderedDict``; attributes of its own (``_metadata``) are dropped."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name of the allow-list, as a value on the stack."""

    name: str


@dataclass(frozen=True, slots=True)
class StorageType:
    """The class of a torch storage."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage that a persistent id named."""

    dtype: str
    extent: Extent


_STORAGES = MappingProxyType(
    {
        ("torch", "HalfStorage"): StorageType("float16"),
        ("torch", "BFloat16Storage"): StorageType("bfloat16"),
        ("torch", "FloatStorage"): StorageType("float32"),
        ("torch", "DoubleStorage"): StorageType("float64"),
        ("torch", "LongStorage"): StorageType("int64"),
        ("torch", "IntStorage"): StorageType("int32"),
        ("torch", "ShortStorage"): StorageType("int16"),
        ("torch", "CharStorage"): StorageType("int8"),
        ("torch", "ByteStorage"): StorageType("uint8"),
        ("torch", "BoolStorage"): StorageType("bool"),
    }
)
_PATHS = tuple(
    (module, name)
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PurePath", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
)


def find_global(module: str, name: str) -> object:
    """Return the inert value that stands for a class or a function.

    Raises:
        FormatError: the name is not on the allow-list.
    """
    storage = _STORAGES.get((module, name))
    if storage is not None:
        return storage
    full_name = "pathlib." + name if (module, name) in _PATHS else f"{module}.{name}"
    if full_name not in BUILDERS:
        raise FormatError(
            f"data.pkl names {full_name[:80]!r}, which is not on the allow-list; nothing of the "
            "file was run"
        )
    return Global(full_name)


def find_storage(identity: object, records: Mapping[str, Extent]) -> Storage:
    """Return the storage that a persistent id names.

    Raises:
        FormatError: the id is malformed, or the file holds no storage of that key and size.
    """
    if type(identity) is not tuple or len(identity) != 5 or identity[0] != "storage":
        raise FormatError("data.pkl holds a persistent id that is no storage")
    _, kind, key, location, num_elements = identity
    if not isinstance(kind, StorageType) or type(key) is not str or type(location) is not str:
        raise FormatError("data.pkl holds a storage of unknown type or key")
    extent = records.get("data/" + key)
    if extent is None:
        raise FormatError(f"storage {key[:40]!r} is missing: truncated or damaged")
    if type(num_elements) is not int or num_elements * ITEM_SIZES[kind.dtype] != extent.size_bytes:
        raise FormatError(
            f"storage {key!r} claims {show(num_elements)} elements of {kind.dtype}, "
            f"the file holds {extent.size_bytes} bytes"
        )
    return Storage(kind.dtype, extent)


def _build_tensor(arguments: tuple[object, ...]) -> TensorRef:
    storage = arguments[0] if len(arguments) in (6, 7) else None
    if not isinstance(storage, Storage):
        raise FormatError("data.pkl builds a tensor from something else than a storage")
    offset, shape, strides = arguments[1:4]
    return make_tensor_ref(storage.dtype, shape, strides, offset, storage.extent)


def _build_parameter(arguments: tuple[object, ...]) -> TensorRef:
    if len(arguments) != 3 or not isinstance(arguments[0], TensorRef):
        raise FormatError("data.pkl builds a parameter from something else than a tensor")
    return arguments[0]


def _build_ordered(arguments: tuple[object, ...]) -> Ordered:
    if arguments:
        raise FormatError("data.pkl builds an OrderedDict from arguments")
    return Ordered()


def _build_size(arguments: tuple[object, ...]) -> tuple[object, ...]:
    if len(arguments) != 1 or type(arguments[0]) is not tuple:
        raise FormatError("data.pkl builds a torch.Size from something else than a tuple")
    return arguments[0]


def _build_path(arguments: tuple[object, ...], pure: type[PurePosixPath | PureWindowsPath]) -> str:
    parts = [part for part in arguments if type(part) is str]
    if len(parts) != len(arguments) or len(parts) > 256 or sum(map(len, parts)) > 8192:
        raise FormatError("data.pkl builds a path from something else than a few strings")
    return str(pure(*parts))


def _build_posix_path(arguments: tuple[object, ...]) -> str:
    return _build_path(arguments, PurePosixPath)


def _build_windows_path(arguments: tuple[object, ...]) -> str:
    return _build_path(arguments, PureWindowsPath)


def _build_hparams(arguments: tuple[object, ...]) -> Attributes:
    if arguments:
        raise FormatError("data.pkl builds HParams from arguments")
    return Attributes()


BUILDERS: Mapping[str, Callable[[tuple[object, ...]], object]] = MappingProxyType(
    {
        "collections.OrderedDict": _build_ordered,
        "torch._utils._rebuild_tensor_v2": _build_tensor,
        "torch._utils._rebuild_parameter": _build_parameter,
        "torch.Size": _build_size,
        "utils.HParams": _build_hparams,
        "pathlib.Path": _build_posix_path,
        "pathlib.PurePath": _build_posix_path,
        "pathlib.PosixPath": _build_posix_path,
        "pathlib.PurePosixPath": _build_posix_path,
        "pathlib.WindowsPath": _build_windows_path,
        "pathlib.PureWindowsPath": _build_windows_path,
    }
)
