"""Reader of the pickles in torch files as plain data: nothing that they name is imported or called.

It knows the opcodes that ``torch.save`` writes. A tensor becomes a description of its place in a storage. Time and
memory are linear in the number of opcodes, and that number is limited.
"""

import io
import pickletools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

MAX_PICKLE_BYTES = 64 << 20
MAX_OPCODES = 2_000_000
"""Limits of a pickle; that of a released file has 0.2 MB and 60,000 opcodes."""

ALLOWED_GLOBALS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(set|bytearray|complex)"
    r"|torch\.nn\.parameter\.Parameter|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.serialization\._get_layout|torch\.per_\w+"
    r"|torch\.(\w*Storage|storage\.\w*Storage|Size|device|\w*Tensor|b?float\w+|complex\w+|q?u?int\w+|bool)"
)
"""Globals that a checkpoint of tensors names."""

HARMLESS_GLOBALS = re.compile(
    r"numpy\.(dtype|ndarray|dtypes\.\w+|(_core|core)\.(multiarray|numeric)\.(scalar|_reconstruct|_frombuffer))"
    r"|argparse\.Namespace|types\.SimpleNamespace|pathlib\.(_local\.)?\w*Path|datetime\.\w+|decimal\.Decimal"
    r"|fractions\.Fraction|uuid\.UUID|collections\.(defaultdict|deque)"
    r"|(builtins|__builtin__)\.(list|dict|tuple|frozenset|slice|range|int|float|bool|str|bytes|object|long|unicode)"
    r"|copyreg\._reconstructor|copy_reg\._reconstructor"
)
"""Other globals that only make values, such as a NumPy scalar beside the weights."""

STORAGES = {
    "FloatStorage": ("float32", 4),
    "DoubleStorage": ("float64", 8),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "UntypedStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
    "ComplexFloatStorage": ("complex64", 8),
    "ComplexDoubleStorage": ("complex128", 16),
    "QInt8Storage": ("qint8", 1),
    "QUInt8Storage": ("quint8", 1),
    "QInt32Storage": ("qint32", 4),
    "QUInt4x2Storage": ("quint4x2", 1),
    "QUInt2x4Storage": ("quint2x4", 1),
}
"""Storage class → (type, bytes an element)."""

NOT_DENSE = {
    "_rebuild_qtensor": "quantized",
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "without data",
}
"""Function that rebuilds a tensor → kind of tensor."""


@dataclass(frozen=True)
class Storage:
    """A storage of a torch file."""

    key: str
    dtype: str
    size_bytes: int


@dataclass(frozen=True)
class PickledTensor:
    """A tensor's place in a storage; offset and strides count elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class OtherTensor:
    """A tensor that is not dense, with its kind."""

    kind: str


@dataclass(frozen=True)
class Global:
    """A name in a pickle, which is never imported."""

    name: str


@dataclass(frozen=True)
class Opaque:
    """A value that the weights do not need."""

    type_name: str


class PickleReader:
    """Reader of consecutive pickles, as plain data."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.opcodes = 0
        self.storages: dict[str, Storage] = {}
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        """Return the next pickle's value.

        Raises:
            ValueError: a name that is not allowed, an unknown opcode, or too many.
            Exception: a damaged pickle raises anything that a stack machine can.
        """
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(self.file):
            self.opcodes += 1
            if self.opcodes > MAX_OPCODES:
                raise ValueError(f"its pickle has more than {MAX_OPCODES:,} opcodes")
            if opcode.name == "STOP":
                break
            self._execute(opcode.name, argument)
        return self.stack.pop()

    def _execute(self, opcode: str, argument: Any) -> None:
        if opcode in LITERALS:
            self.stack.append(_global(argument) if opcode == "GLOBAL" else argument)
        elif opcode in CONSTANTS:
            self.stack.append(CONSTANTS[opcode]())
        elif opcode in MARKED:
            start = self.marks.pop()
            items = self.stack[start:]
            del self.stack[start:]
            MARKED[opcode](self.stack, items)
        elif opcode in STACK_OPERATIONS:
            STACK_OPERATIONS[opcode](self.stack)
        elif opcode == "MARK":
            self.marks.append(len(self.stack))
        elif opcode.endswith("BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif opcode.endswith("BINGET"):
            self.stack.append(self.memo[argument])
        elif opcode == "BINPERSID":
            self.stack.append(self._storage(self.stack.pop()))
        elif opcode != "PROTO":
            raise ValueError(f"Unsupported operand {opcode}")

    def _storage(self, identifier: Any) -> Storage:
        kind, storage_class, key, _, elements, *view = identifier
        if kind != "storage" or any(part is not None for part in view):
            raise ValueError("an old form of storage: save the file again with torch 1.6 or newer")
        name = storage_class.name.rsplit(".", 1)[-1]
        if not isinstance(key, str) or type(elements) is not int or elements < 0 or name not in STORAGES:
            raise ValueError(f"a storage of kind {name[:40]}, which torch does not save")
        dtype, item_size = STORAGES[name]
        storage = Storage(key, dtype, elements * item_size)
        if self.storages.setdefault(key, storage).size_bytes != storage.size_bytes:
            raise ValueError("a storage of two sizes")
        return storage


def _global(argument: str) -> Global:
    name = argument.replace(" ", ".")
    if not ALLOWED_GLOBALS.fullmatch(name):
        raise ValueError(f"it names {name[:100]}")
    return Global(name)


def _call(stack: list[Any]) -> None:
    arguments = stack.pop()
    stack.append(_result(stack.pop().name, arguments))


def _result(function: str, arguments: tuple[Any, ...]) -> Any:
    """Return the value that a call would give, as plain data."""
    name = function.rsplit(".", 1)[-1]
    if name in ("OrderedDict", "Counter"):
        value: dict[Any, Any] = {}
        pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []  # as Python 2 wrote it
        _set_items([value], [part for pair in pairs for part in pair])
        return value
    if name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
        return _tensor(name, *arguments)
    if name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
        return arguments[0]
    if name == "_rebuild_from_type_v2":
        return _result(arguments[0].name, arguments[2])
    if name.startswith("_rebuild_"):
        return OtherTensor(NOT_DENSE.get(name, name.removeprefix("_rebuild_").replace("_", " ")))
    return Opaque(function)


def _tensor(function: str, storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> Any:
    """Return a tensor's description; ``more`` are requires_grad, hooks, for v3 the type, and pending operations."""
    dtype, more = storage.dtype, more[2:]
    if function == "_rebuild_tensor_v3":
        dtype, more = more[0].name.removeprefix("torch."), more[1:]
    if more and more[0]:
        return OtherTensor("a view with pending operations")
    numbers = (offset, *shape, *strides)
    possible = all(type(n) is int and 0 <= n < 1 << 63 for n in numbers)
    if len(shape) != len(strides) or len(shape) > 64 or not possible:
        raise ValueError("a tensor with an impossible shape")
    return PickledTensor(storage, dtype, offset, tuple(shape), tuple(strides))


def _set_items(stack: list[Any], items: list[Any]) -> None:
    """Set pairs of a dictionary. Keys that are neither text nor small numbers are dropped: hashing them may not end."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 31):
            stack[-1][key] = value


def _append(stack: list[Any], items: list[Any]) -> None:
    if not isinstance(stack[-1], list):
        raise ValueError("an item of something that is not a list")
    stack[-1].extend(items)


def _pop_tuple(stack: list[Any], length: int) -> None:
    items = tuple(stack[-length:])
    if len(items) < length:
        raise ValueError("a tuple without its items")
    del stack[-length:]
    stack.append(items)


def _pop_item(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    _set_items(stack, [key, value])


LITERALS = {"GLOBAL", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
MARKED: dict[str, Callable[[list[Any], list[Any]], None]] = {
    "TUPLE": lambda stack, items: stack.append(tuple(items)),
    "APPENDS": _append,
    "SETITEMS": _set_items,
}
"""Opcodes that take the items after the last mark."""
STACK_OPERATIONS: dict[str, Callable[[list[Any]], None]] = {
    "TUPLE1": lambda stack: _pop_tuple(stack, 1),
    "TUPLE2": lambda stack: _pop_tuple(stack, 2),
    "TUPLE3": lambda stack: _pop_tuple(stack, 3),
    "APPEND": lambda stack: _append(stack, [stack.pop()]),
    "SETITEM": _pop_item,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": lambda stack: stack.__delitem__(-1),  # attributes are not needed
}


def refused_globals(file: IO[bytes]) -> list[str]:
    """Return the names in consecutive pickles, damaged ones too, that a checkpoint of tensors does not need."""
    return sorted(name for name in _globals(file) if not ALLOWED_GLOBALS.fullmatch(name))


def only_harmless(names: list[str]) -> bool:
    """Return whether these names make values and do nothing else."""
    return all(HARMLESS_GLOBALS.fullmatch(name) for name in names)


def _globals(file: IO[bytes]) -> set[str]:
    names: set[str] = set()
    pushed: list[Any] = []
    memo: dict[str, Any] = {}
    for opcode, argument in _opcodes(file):
        if opcode in ("GLOBAL", "INST"):
            names.add(str(argument).replace(" ", "."))
        elif opcode == "STACK_GLOBAL":
            names.add(".".join(map(str, pushed[-2:])))
        if opcode == "PROTO":
            memo = {}
        elif opcode == "MEMOIZE":
            memo[str(len(memo))] = pushed[-1] if pushed else None
        elif opcode.endswith("PUT"):
            memo[str(argument)] = pushed[-1] if pushed else None
        elif opcode.endswith("GET"):
            pushed.append(memo.get(str(argument)))
        else:
            pushed.append(argument)
    return names


def _opcodes(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield the opcodes of consecutive pickles, up to damage or the limit."""
    count = 0
    while file.read(1) == b"\x80":
        file.seek(-1, io.SEEK_CUR)
        try:
            for opcode, argument, _ in pickletools.genops(file):
                yield opcode.name, argument
                count += 1
                if count > MAX_OPCODES:
                    return
        except Exception:  # damaged: the names before it are known
            return
