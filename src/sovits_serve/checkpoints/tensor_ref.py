"""What the checkpoint parsers share: element types, extents in a file, tensors by reference.

Nothing here touches a file or torch. A ``TensorRef`` that exists has been checked: its elements
lie inside its storage, and it has no more elements than the storage holds. Offsets and sizes
of extents are bytes, strides and offsets of tensors are elements, as in torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

MAX_DIMENSIONS = 16
_MAX_LENGTH = 2**40

ITEM_SIZES: Mapping[str, int] = MappingProxyType(
    {
        "float16": 2,
        "bfloat16": 2,
        "float32": 4,
        "float64": 8,
        "int64": 8,
        "int32": 4,
        "int16": 2,
        "int8": 1,
        "uint8": 1,
        "bool": 1,
    }
)


class FormatError(ValueError):
    """The bytes are not what the format says; the reader adds the file's name."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes of a file. ``crc32`` is None where the writer stored none."""

    name: str
    start: int
    size_bytes: int
    crc32: int | None = None


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor that still lies in its file."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Extent

    @property
    def num_elements(self) -> int:
        """Return the number of elements."""
        return prod(self.shape)

    @property
    def span(self) -> int:
        """Return how many elements lie between the first and the last one, both included."""
        if self.num_elements == 0:
            return 0
        return 1 + sum(
            (length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True)
        )

    @property
    def is_contiguous(self) -> bool:
        """Say whether the elements lie in the file in C order without gaps."""
        wanted = _long(self.shape, contiguous_strides(self.shape))
        return self.num_elements == 0 or _long(self.shape, self.strides) == wanted


def _long(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    return tuple(stride for length, stride in zip(shape, strides, strict=True) if length > 1)


def show(value: object) -> str:
    """Return a short text for a message; never walks into a container a file has made."""
    if value is None or isinstance(value, str | int | float):
        return repr(value)[:60]
    return f"a {type(value).__name__}"


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a C-ordered tensor of this shape."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)


def make_tensor_ref(
    dtype: str, shape: object, strides: object, offset: object, storage: Extent
) -> TensorRef:
    """Check a tensor's geometry, given as read from a file, against its storage.

    Raises:
        FormatError: a number is not one, or the tensor reaches outside its storage.
    """
    lengths, steps = _lengths(shape, "size"), _lengths(strides, "stride")
    if len(lengths) != len(steps):
        raise FormatError(f"a tensor has {len(lengths)} sizes and {len(steps)} strides")
    if type(offset) is not int or not 0 <= offset < _MAX_LENGTH:
        raise FormatError(f"a tensor starts at {show(offset)} of storage {storage.name!r}")
    ref = TensorRef(dtype, lengths, steps, offset, storage)
    held = storage.size_bytes // ITEM_SIZES[dtype]
    if ref.num_elements > held or (ref.num_elements and offset + ref.span > held):
        raise FormatError(
            f"a tensor of shape {lengths}, strides {steps} and offset {offset} does not fit "
            f"its storage {storage.name!r} of {held} elements"
        )
    return ref


def _lengths(value: object, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or len(value) > MAX_DIMENSIONS:
        raise FormatError(f"the {what}s of a tensor are not a short tuple")
    for item in value:
        if type(item) is not int or not 0 <= item < _MAX_LENGTH:
            raise FormatError(f"a tensor has the {what} {show(item)}")
    return tuple(value)
