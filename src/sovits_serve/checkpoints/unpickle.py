"""An interpreter for the few pickle opcodes that honest checkpoints use.

It calls nothing: the eight or so names on the allow-list build inert values (dicts, strings,
``TensorRef``), every other name or opcode is refused. Work, depth and size are bounded before
they are spent, so a pickle that folds or nests itself ends in ``FormatError`` like a false one.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from sovits_serve.checkpoints.allow_list import (
    BUILDERS,
    Attributes,
    Global,
    Ordered,
    find_global,
    find_storage,
)
from sovits_serve.checkpoints.tensor_ref import Extent, FormatError, TensorRef, show

# A v3 checkpoint needs 15,000 opcodes, a training state with its optimizer about 60,000. Where an
# opcode does more the longer its operand is, each part of the operand counts as one more.
MAX_OPCODES = 200_000
MAX_NODES = 200_000
MAX_DEPTH = 48
MAX_PICKLE_BYTES = 8 * 2**20
# Of all strings of the tree, each counted as often as it occurs; real ones have a few thousand.
MAX_CHARACTERS = 8 * 2**20
_MAX_INTEGER_BYTES = 9


# Separates the items of one collection from what lies below on the stack.
_MARK = object()

_NUMBERS = MappingProxyType({code: struct.Struct("<" + code) for code in "BHiIQ"})
_FLOAT = struct.Struct(">d")


def unpickle(data: bytes, records: Mapping[str, Extent]) -> object:
    """Return the pickled tree as dicts, lists, tuples, scalars and ``TensorRef``.

    Args:
        data: the record ``data.pkl``.
        records: the archive's records; storage ``N`` is record ``data/N``.

    Raises:
        FormatError: the pickle is damaged, names something outside the allow-list, or is
            larger or deeper than any real checkpoint.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise FormatError(f"data.pkl has {len(data)} bytes, more than {MAX_PICKLE_BYTES}")
    machine = _Machine(data, records)
    try:
        value = machine.run()
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise FormatError(f"data.pkl is damaged: {error!r:.80}") from error
    return _Copier().copy(value, 0)


class _Machine:
    """One run over one pickle: a stack, a memo, a position."""

    def __init__(self, data: bytes, records: Mapping[str, Extent]) -> None:
        self._data = data
        self._records = records
        self._position = 0
        self._num_opcodes = 0
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        """Execute until STOP and return the one value left."""
        while (opcode := self._take(1)) != b".":
            self._count(1)
            handler = _HANDLERS.get(opcode)
            if handler is None:
                raise FormatError(f"data.pkl uses pickle opcode {opcode!r}, which is not allowed")
            handler(self)
        return self._result()

    def _count(self, num_opcodes: int) -> None:
        self._num_opcodes += num_opcodes
        if self._num_opcodes > MAX_OPCODES:
            raise FormatError(f"data.pkl has more than {MAX_OPCODES} opcodes, or the work of them")

    def _result(self) -> object:
        if len(self._stack) != 1 or self._position != len(self._data):
            raise FormatError("data.pkl is damaged: it ends with something left over")
        return self._stack[0]

    def _take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise FormatError("data.pkl ends too early: truncated or damaged")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def _number(self, code: str) -> int:
        layout = _NUMBERS[code]
        return int(layout.unpack(self._take(layout.size))[0])

    def _line(self) -> str:
        end = self._data.find(b"\n", self._position, self._position + 256)
        if end < 0:
            raise FormatError("data.pkl is damaged: a name has no end")
        return self._take(end + 1 - self._position)[:-1].decode("utf-8")

    def _pop(self) -> object:
        value = self._stack.pop()
        if value is _MARK:
            raise FormatError("data.pkl is damaged: a mark stands where a value is needed")
        return value

    def _top(self) -> object:
        return self._stack[-1]

    def _pop_to_mark(self) -> list[object]:
        for start in range(len(self._stack) - 1, -1, -1):
            if self._stack[start] is _MARK:
                items = self._stack[start + 1 :]
                del self._stack[start:]
                return items
        raise FormatError("data.pkl is damaged: a mark is missing")

    def push(self, value: object) -> None:
        """Put a constant on the stack."""
        self._stack.append(value)

    def push_number(self, code: str) -> None:
        """Push an integer of a fixed width."""
        self.push(self._number(code))

    def push_float(self) -> None:
        """Push a big-endian double, as pickle writes it."""
        self.push(_FLOAT.unpack(self._take(8))[0])

    def push_long(self) -> None:
        """Push an integer of up to nine bytes; no honest size needs more."""
        size = self._number("B")
        if size > _MAX_INTEGER_BYTES:
            raise FormatError(f"data.pkl holds an integer of {size} bytes")
        self.push(int.from_bytes(self._take(size), "little", signed=True))

    def push_string(self, code: str) -> None:
        """Push a string whose length comes first."""
        self.push(self._take(self._number(code)).decode("utf-8", "surrogatepass"))

    def push_global(self) -> None:
        """Push a name that is written out."""
        module, name = self._line(), self._line()
        self.push(find_global(module, name))

    def push_stack_global(self) -> None:
        """Push a name whose two parts lie on the stack."""
        name, module = self._pop(), self._pop()
        if type(module) is not str or type(name) is not str:
            raise FormatError("data.pkl names a class by something that is no string")
        self.push(find_global(module, name))

    def remember(self, code: str) -> None:
        """Store the top of the stack in the memo."""
        self._memo[self._number(code)] = self._peek_value()

    def memoize(self) -> None:
        """Store the top of the stack under the next free number."""
        self._memo[len(self._memo)] = self._peek_value()

    def _peek_value(self) -> object:
        value = self._pop()
        self._stack.append(value)
        return value

    def recall(self, code: str) -> None:
        """Push a value of the memo."""
        self.push(self._memo[self._number(code)])

    def skip(self, count: int) -> None:
        """Pass over the arguments of an opcode without meaning here."""
        self._take(count)

    def push_tuple(self, count: int | None) -> None:
        """Build a tuple of the last ``count`` values, or of those above the mark."""
        if count is None:
            self.push(tuple(self._pop_to_mark()))
        else:
            items = [self._pop() for _ in range(count)]
            self.push(tuple(reversed(items)))

    def append(self, items: list[object]) -> None:
        """Append to the list on the stack."""
        target = self._top()
        if type(target) is not list:
            raise FormatError("data.pkl appends to something that is no list")
        target.extend(items)

    def append_one(self) -> None:
        """Append the top value."""
        self.append([self._pop()])

    def append_many(self) -> None:
        """Append the values above the mark."""
        self.append(self._pop_to_mark())

    def set_items(self, items: list[object]) -> None:
        """Set key, value, key, value... in the dict on the stack."""
        target = self._top()
        if (type(target) is not dict and type(target) is not Ordered) or len(items) % 2:
            raise FormatError("data.pkl sets items of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str and type(key) is not int:
                raise FormatError(f"data.pkl uses a {type(key).__name__} as a key")
            target[key] = value

    def set_one(self) -> None:
        """Set one item."""
        value, key = self._pop(), self._pop()
        self.set_items([key, value])

    def set_many(self) -> None:
        """Set the items above the mark."""
        self.set_items(self._pop_to_mark())

    def persistent(self) -> None:
        """Replace a persistent id by the storage it names."""
        self.push(find_storage(self._pop(), self._records))

    def reduce(self) -> None:
        """Build the value that a function of the allow-list stands for."""
        arguments, function = self._pop(), self._pop()
        if type(arguments) is not tuple or not isinstance(function, Global):
            raise FormatError("data.pkl calls something that is not on the allow-list")
        self._count(sum(len(item) for item in arguments if type(item) is str))
        self.push(BUILDERS[function.name](arguments))

    def new_object(self) -> None:
        """Build an empty object of a class of the allow-list."""
        arguments, cls = self._pop(), self._pop()
        if cls == Global("utils.HParams") and arguments == ():
            self.push(Attributes())
        elif cls == Global("collections.OrderedDict") and arguments == ():
            self.push(Ordered())
        else:
            raise FormatError("data.pkl creates an object that is not on the allow-list")

    def build(self) -> None:
        """Give an object its attributes: kept for HParams, dropped for an OrderedDict."""
        state, target = self._pop(), self._top()
        if not isinstance(state, dict):
            raise FormatError("data.pkl gives an object a state that is no dict")
        self._count(len(state))
        for key, value in state.items():
            if type(key) is not str or key.startswith("__"):
                raise FormatError(f"data.pkl sets attribute {show(key)}")
            if isinstance(target, Attributes):
                target[key] = value
        if not isinstance(target, Attributes | Ordered):
            raise FormatError("data.pkl gives a state to something that is no object")


_HANDLERS: Mapping[bytes, Callable[[_Machine], None]] = MappingProxyType(
    {
        b"\x80": lambda machine: machine.skip(1),  # PROTO
        b"\x95": lambda machine: machine.skip(8),  # FRAME
        b"(": lambda machine: machine.push(_MARK),
        b"N": lambda machine: machine.push(None),
        b"\x88": lambda machine: machine.push(True),
        b"\x89": lambda machine: machine.push(False),
        b"}": lambda machine: machine.push({}),
        b"]": lambda machine: machine.push([]),
        b")": lambda machine: machine.push(()),
        b"J": lambda machine: machine.push_number("i"),
        b"K": lambda machine: machine.push_number("B"),
        b"M": lambda machine: machine.push_number("H"),
        b"\x8a": _Machine.push_long,
        b"G": _Machine.push_float,
        b"\x8c": lambda machine: machine.push_string("B"),
        b"X": lambda machine: machine.push_string("I"),
        b"\x8d": lambda machine: machine.push_string("Q"),
        b"c": _Machine.push_global,
        b"\x93": _Machine.push_stack_global,
        b"q": lambda machine: machine.remember("B"),
        b"r": lambda machine: machine.remember("I"),
        b"\x94": _Machine.memoize,
        b"h": lambda machine: machine.recall("B"),
        b"j": lambda machine: machine.recall("I"),
        b"t": lambda machine: machine.push_tuple(None),
        b"\x85": lambda machine: machine.push_tuple(1),
        b"\x86": lambda machine: machine.push_tuple(2),
        b"\x87": lambda machine: machine.push_tuple(3),
        b"a": _Machine.append_one,
        b"e": _Machine.append_many,
        b"s": _Machine.set_one,
        b"u": _Machine.set_many,
        b"Q": _Machine.persistent,
        b"R": _Machine.reduce,
        b"\x81": _Machine.new_object,
        b"b": _Machine.build,
    }
)


class _Copier:
    """Copies a tree of inert values into plain dicts, lists and tuples, within bounds.

    A pickle can let one list contain another a thousand times, or itself; the copy counts every
    node and character it meets and stops, so what callers get is a finite tree they may walk
    recursively, and print.
    """

    def __init__(self) -> None:
        self._num_nodes = 0
        self._num_characters = 0

    def copy(self, value: object, depth: int) -> object:
        """Return the copy, raising ``FormatError`` past the bounds."""
        self._num_nodes += 1
        if self._num_nodes > MAX_NODES or depth > MAX_DEPTH:
            raise FormatError("data.pkl unfolds into a tree too large or too deep to be honest")
        if isinstance(value, str):
            self._count(value)
        if isinstance(value, dict):
            for key in value:
                self._count(key)
            return {key: self.copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.copy(item, depth + 1) for item in value]
        if isinstance(value, tuple):
            return tuple(self.copy(item, depth + 1) for item in value)
        if value is None or isinstance(value, str | int | float | TensorRef):
            return value
        raise FormatError("data.pkl holds a bare class or storage where data belong")

    def _count(self, text: object) -> None:
        self._num_characters += len(text) if isinstance(text, str) else 0
        if self._num_characters > MAX_CHARACTERS:
            raise FormatError("data.pkl unfolds into more text than is honest")
