"""The hostile checkpoints: every attack by name, as the bytes of a file.

Run as a program it attacks the reader with all of them and prints by how many bytes the peak of
the process's memory grew.
"""

import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.errors import CheckpointError
from tests.checkpoints.archives import (
    EMPTY_DICT,
    MARK,
    PROTOCOL,
    STOP,
    archive,
    canary_pickle,
    name,
    number,
    numbers,
    storage,
    tensor,
    text,
    weights,
)

Attack = Callable[[Path], bytes]


def _call(module: str, attribute: str, argument: str) -> bytes:
    return name(module, attribute) + text(argument) + b"\x85R"


def _touch(canary: Path) -> str:
    return f"touch {canary}"


def _python(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w')"


def _pickled(protocol: int) -> Attack:
    return lambda canary: archive(canary_pickle(canary, protocol))


def _stack_global(module: bytes, attribute: bytes, argument: str) -> bytes:
    return weights(module + attribute + b"\x93" + text(argument) + b"\x85R")


def _hparams(state: bytes) -> bytes:
    return weights(name("utils", "HParams") + b")\x81" + state + b"b")


def _folded(levels: int) -> bytes:
    """Return a tuple that holds the one before it twice, over and over."""
    places = [struct.pack("<I", index) for index in range(levels)]
    return b"]" + b"".join(b"r" + place + b"j" + place + b"\x86" for place in places)


CALLS: Mapping[str, Attack] = {
    **{f"reduce to open, protocol {protocol}": _pickled(protocol) for protocol in range(6)},
    "os.system": lambda canary: archive(weights(_call("os", "system", _touch(canary)))),
    "posix.system": lambda canary: archive(weights(_call("posix", "system", _touch(canary)))),
    "subprocess.Popen": lambda canary: archive(
        weights(_call("subprocess", "getoutput", _touch(canary)))
    ),
    "builtins.eval": lambda canary: archive(weights(_call("builtins", "eval", _python(canary)))),
    "builtins.exec": lambda canary: archive(weights(_call("builtins", "exec", _python(canary)))),
    "a function of torch": lambda _: archive(weights(_call("torch", "load", "x"))),
    "torch.hub": lambda _: archive(weights(_call("torch.hub", "load", "x"))),
    "an attribute of an allowed function": lambda _: archive(
        weights(name("torch._utils", "_rebuild_tensor_v2.__globals__"))
    ),
    "an attribute of an allowed class": lambda canary: archive(
        weights(_call("collections", "OrderedDict.fromkeys", _python(canary)))
    ),
    "call of an attribute object": lambda _: archive(
        weights(name("utils", "HParams") + b")\x81" + text("x") + b"\x85R")
    ),
    "inst opcode": lambda canary: archive(weights(MARK + text(_touch(canary)) + b"ios\nsystem\n")),
    "obj opcode": lambda canary: archive(
        weights(MARK + name("os", "system") + text(_touch(canary)) + b"o")
    ),
    "newobj_ex opcode": lambda _: archive(
        weights(name("utils", "HParams") + b")" + EMPTY_DICT + b"\x92")
    ),
    "newobj with arguments": lambda _: archive(
        weights(name("utils", "HParams") + text("x") + b"\x85\x81")
    ),
    "ext1": lambda _: archive(weights(b"\x82\x01")),
    "ext2": lambda _: archive(weights(b"\x83\x01\x00")),
    "ext4": lambda _: archive(weights(b"\x84\x01\x00\x00\x00")),
    "stack_global of os.system": lambda canary: archive(
        _stack_global(text("os"), text("system"), _touch(canary))
    ),
    "stack_global of a dotted name": lambda canary: archive(
        _stack_global(text("collections"), text("abc.sys.modules"), _touch(canary))
    ),
    "stack_global of no strings": lambda canary: archive(
        _stack_global(b"]", b"K\x01", _touch(canary))
    ),
    "stack_global of tuples": lambda canary: archive(
        _stack_global(text("os") + b"\x85", text("system") + b"\x85", _touch(canary))
    ),
    "global with a line end too far": lambda _: archive(weights(b"c" + b"a" * 100_000)),
}

PERSISTENT_IDS: Mapping[str, Attack] = {
    "persistent id that calls": lambda canary: archive(
        weights(_call("os", "system", _touch(canary)) + b"Q")
    ),
    "persistent id as text": lambda _: archive(weights(b"P0\n")),
    "nested persistent id": lambda _: archive(weights(storage("0", 4) + b"Q")),
    "storage whose type is a persistent id": lambda _: archive(
        weights(
            MARK + text("storage") + storage("0", 4) + text("0") + text("cpu") + number(4) + b"tQ"
        )
    ),
    "storage whose key is a path": lambda _: archive(weights(tensor(storage("../../x", 4)))),
    "storage whose key is a list": lambda _: archive(
        weights(
            MARK
            + text("storage")
            + name("torch", "FloatStorage")
            + b"]"
            + text("cpu")
            + number(4)
            + b"tQ"
        )
    ),
    "unknown storage type": lambda _: archive(weights(tensor(storage("0", 4, "QInt8Storage")))),
    "storage as a value": lambda _: archive(weights(storage("0", 4))),
    "class as a value": lambda _: archive(weights(name("torch", "FloatStorage"))),
    "four gigabytes in a kilobyte": lambda _: archive(
        weights(tensor(storage("0", 2**30), numbers(2**30)))
    ),
    "two to the sixty elements": lambda _: archive(
        weights(tensor(storage("0", 2**60), numbers(2**60)))
    ),
    "missing storage": lambda _: archive(weights(tensor(storage("7", 4)))),
}

TENSORS: Mapping[str, Attack] = {
    "more elements than stored": lambda _: archive(weights(tensor(storage("0", 4), numbers(5)))),
    "offset past the end": lambda _: archive(
        weights(tensor(storage("0", 4), numbers(4), numbers(1), number(1)))
    ),
    "negative offset": lambda _: archive(
        weights(tensor(storage("0", 4), numbers(1), numbers(1), number(-1)))
    ),
    "negative size": lambda _: archive(weights(tensor(storage("0", 4), numbers(-4)))),
    "negative stride": lambda _: archive(
        weights(tensor(storage("0", 4), numbers(4), numbers(-1), number(3)))
    ),
    "stride past the end": lambda _: archive(
        weights(tensor(storage("0", 4), numbers(2), numbers(4)))
    ),
    "stride zero unfolds a terabyte": lambda _: archive(
        weights(tensor(storage("0", 4), numbers(2**38), numbers(0)))
    ),
    "more strides than sizes": lambda _: archive(
        weights(tensor(storage("0", 4), numbers(4), numbers(1, 1)))
    ),
    "size that is a string": lambda _: archive(
        weights(tensor(storage("0", 4), text("4") + b"\x85"))
    ),
    "size that is a bool": lambda _: archive(weights(tensor(storage("0", 4), b"\x88\x85"))),
    "size that is a list in a list": lambda _: archive(
        weights(tensor(storage("0", 4), b"]]a\x85"))
    ),
    "seventeen dimensions": lambda _: archive(
        weights(tensor(storage("0", 4), numbers(*[1] * 17), numbers(*[1] * 17)))
    ),
    "tensor of no storage": lambda _: archive(weights(tensor(text("x")))),
    "parameter of no tensor": lambda _: archive(
        weights(name("torch._utils", "_rebuild_parameter") + text("x") + b"\x89N\x87R")
    ),
}

OBJECTS: Mapping[str, Attack] = {
    "attribute __class__": lambda _: archive(
        _hparams(EMPTY_DICT + text("__class__") + number(1) + b"s")
    ),
    "attribute __reduce__": lambda _: archive(
        _hparams(EMPTY_DICT + text("__reduce__") + number(1) + b"s")
    ),
    "attribute __dict__": lambda _: archive(
        _hparams(EMPTY_DICT + text("__dict__") + EMPTY_DICT + b"s")
    ),
    "attribute that is a number": lambda _: archive(
        _hparams(EMPTY_DICT + number(1) + number(1) + b"s")
    ),
    "slot state": lambda _: archive(_hparams(b"N" + EMPTY_DICT + text("x") + number(1) + b"s\x86")),
    "state of a dict": lambda _: archive(weights(EMPTY_DICT + EMPTY_DICT + b"b")),
    "state of a tensor": lambda _: archive(weights(tensor(storage("0", 4)) + EMPTY_DICT + b"b")),
    "items of an object": lambda _: archive(
        weights(name("utils", "HParams") + b")\x81" + text("x") + number(1) + b"s")
    ),
    "ordered dict from arguments": lambda _: archive(
        weights(name("collections", "OrderedDict") + b"]\x85R")
    ),
    "key that cannot be hashed": lambda _: archive(weights(EMPTY_DICT + b"]" + b"Ns")),
    "path of numbers": lambda _: archive(
        weights(name("pathlib", "PosixPath") + number(1) + b"\x85R")
    ),
    "unknown opcode": lambda _: archive(weights(b"\xff")),
    "byte array": lambda _: archive(weights(b"\x96" + struct.pack("<Q", 2**40))),
    "next buffer": lambda _: archive(weights(b"\x97")),
    "mark as a value": lambda _: archive(weights(MARK)),
    "empty pickle": lambda _: archive(b""),
    "no stop": lambda _: archive(PROTOCOL + EMPTY_DICT),
    "stop on an empty stack": lambda _: archive(PROTOCOL + STOP),
    "bytes after the end": lambda _: archive(weights(number(1)) + b"cos\nsystem\n"),
    "memo that was never filled": lambda _: archive(weights(b"h\x07")),
}

BOMBS: Mapping[str, Attack] = {
    "a million nested lists": lambda _: archive(weights(b"]" * 10**6 + b"a" * (10**6 - 1))),
    "a hundred thousand nested lists": lambda _: archive(
        weights(b"]" * 10**5 + b"a" * (10**5 - 1))
    ),
    "a hundred thousand nested tuples": lambda _: archive(weights(b")" + b"\x85" * 10**5)),
    "a hundred thousand nested dicts": lambda _: archive(
        weights((EMPTY_DICT + b"K\x01") * 10**5 + b"N" + b"s" * 10**5)
    ),
    "nested tuple as a key": lambda _: archive(
        weights(EMPTY_DICT + b")" + b"\x85" * 10**5 + b"Ns")
    ),
    "nested tuple as a size": lambda _: archive(
        weights(tensor(storage("0", 4), b")" + b"\x85" * 10**5))
    ),
    "nested tuple as a storage's length": lambda _: archive(
        weights(
            MARK
            + text("storage")
            + name("torch", "FloatStorage")
            + text("0")
            + text("cpu")
            + b")"
            + b"\x85" * 10**5
            + b"tQ"
        )
    ),
    "a million marks": lambda _: archive(weights(MARK * 10**6)),
    "memo bomb": lambda _: archive(weights(_folded(100))),
    "memo bomb of strings": lambda _: archive(
        weights(text("x" * 10**6) + b"q\x00" + b"]" + MARK + b"h\x00" * 10**6 + b"e")
    ),
    "list that holds itself": lambda _: archive(weights(b"]q\x00h\x00a")),
    "five million constants": lambda _: archive(weights(b"N" * 5 * 10**6)),
    "string of two to the sixty bytes": lambda _: archive(
        weights(b"\x8d" + struct.pack("<Q", 2**60))
    ),
    "integer of two gigabytes": lambda _: archive(weights(b"\x8b" + struct.pack("<i", 2**31 - 1))),
    "integer of a million digits": lambda _: archive(weights(b"I" + b"9" * 10**6 + b"\n")),
    "pickle of twenty megabytes": lambda _: archive(weights(text("x" * 20 * 2**20))),
}


def _repeated_state(num_keys: int, num_times: int) -> bytes:
    """Return an object that is given one state over and over."""
    keys = b"".join(text(f"k{index}") + b"N" for index in range(num_keys))
    state = EMPTY_DICT + MARK + keys + b"uq\x00"
    return weights(
        MARK + state + name("utils", "HParams") + b")\x81" + b"h\x00b" * num_times + b"t"
    )


def _repeated_path(length: int, num_times: int) -> bytes:
    """Return a tuple of paths, all built from one long string."""
    parts = text("a/" * (length // 2)) + b"\x85q\x00"
    path = name("pathlib", "PosixPath") + b"q\x01" + text("x") + b"\x85R"
    return weights(MARK + parts + path + b"h\x01h\x00R" * num_times + b"t")


REPETITIONS: Mapping[str, Attack] = {
    "a state given forty thousand times": lambda _: archive(_repeated_state(50_000, 40_000)),
    "a long path forty thousand times": lambda _: archive(_repeated_path(8_000, 40_000)),
    "a string a hundred thousand times": lambda _: archive(
        weights(b"]" + MARK + text("x" * 10**6) + b"q\x00" + b"h\x00" * 10**5 + b"e")
    ),
    "a key thirty thousand times": lambda _: archive(
        weights(MARK + text("x" * 10**6) + b"q\x00" + (EMPTY_DICT + b"h\x00Ns") * 30_000 + b"t")
    ),
}

ATTACKS: Mapping[str, Attack] = {
    **CALLS,
    **PERSISTENT_IDS,
    **TENSORS,
    **OBJECTS,
    **BOMBS,
    **REPETITIONS,
}


def peak_bytes() -> int:
    """Return the process's largest resident size so far (Linux)."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def survivors(directory: Path) -> Iterator[str]:
    """Write and open every hostile file; yield the names of those that opened."""
    for attack, build in ATTACKS.items():
        path = directory / "hostile.pth"
        path.write_bytes(build(directory / "canary"))
        try:
            CheckpointFile(path).close()
        except CheckpointError:
            continue
        yield attack


if __name__ == "__main__":
    before = peak_bytes()
    assert not list(survivors(Path(sys.argv[1])))
    sys.stdout.write(str(peak_bytes() - before))
