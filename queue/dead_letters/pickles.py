"""The dead letters' job data: pickles of plain data only, checked before they are loaded.

Refusing globals isn't enough: eight bytes of pickle can ask for gigabytes of memory. So every opcode is checked
first, against an allow-list and limits. Memo references may name texts and bytes only, because nested references
let a small pickle expand exponentially. Deep nesting is refused too: hashing, printing or encoding such a value
recurses, in C without a limit, and a thread's stack may be small.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, NoReturn

LARGEST_BYTES = 4 << 20  # a job with a full history of answers takes less than 1 MB
MOST_OPCODES = 20_000  # such a job has 2,500; each opcode may make an object many times its size
DEEPEST = 20  # containers within each other; such a job has 3
_FLAT = {"SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES"}
_CONTAINERS = {"EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_FILLERS = {"MARK", "SETITEM", "SETITEMS", "APPEND", "APPENDS"}
_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE"}
# How many values an opcode takes off the stack; None: all down to the mark.
_TAKES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "TUPLE": None}
_TAKES |= {"APPEND": 1, "APPENDS": None, "SETITEM": 2, "SETITEMS": None}
_MARK = -1
_ALLOWED = _FLAT | _CONTAINERS | _FILLERS | _NUMBERS | {"PROTO", "FRAME", "MEMOIZE", "STOP"}

# What the unpickler raises for opcodes that are allowed one by one but make no sense together.
_DAMAGED = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError)


class UnsafePickleError(Exception):
    """The bytes are not a job that Stash Courier wrote. They were not loaded."""


class _PlainUnpickler(pickle.Unpickler):
    """The second line of defense: it never looks up a global."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise UnsafePickleError(f"it names {module}.{name}")


def dumps(job: dict[str, Any]) -> bytes:
    """Pickles a dict of texts, bytes, numbers, None, lists and dicts."""
    return pickle.dumps(job, protocol=4)


def loads(data: bytes) -> dict[str, Any]:
    """Loads what ``dumps`` wrote.

    Raises:
        UnsafePickleError: the bytes are anything else; the message says what was found.
    """
    if len(data) > LARGEST_BYTES:
        raise UnsafePickleError(f"it has {len(data)} bytes, more than {LARGEST_BYTES}")
    _check(data)
    try:
        job = _PlainUnpickler(io.BytesIO(data)).load()
    except _DAMAGED as error:
        raise UnsafePickleError(f"it is damaged ({error})") from error
    if not isinstance(job, dict):
        raise UnsafePickleError(f"it holds a {type(job).__name__}")
    return job


def _check(data: bytes) -> None:
    memo: list[str] = []  # the opcode that made each remembered object
    depths: list[int] = []  # of the values on the unpickler's stack
    previous = ""
    end = 0
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            name = opcode.name
            if count >= MOST_OPCODES:
                raise UnsafePickleError(f"it has more than {MOST_OPCODES} opcodes")
            if name in {"BINGET", "LONG_BINGET"}:
                if not isinstance(argument, int) or argument >= len(memo) or memo[argument] not in _FLAT:
                    raise UnsafePickleError("it has a reference to something that can hold other values")
            elif name not in _ALLOWED:
                raise UnsafePickleError(f"it holds the opcode {name}")
            if name == "MEMOIZE":
                memo.append(previous)
            if _step(depths, name) > DEEPEST:
                raise UnsafePickleError(f"it has more than {DEEPEST} containers within each other")
            previous, end = name, position or 0
    except (ValueError, IndexError) as error:
        raise UnsafePickleError(f"it is damaged ({error})") from error
    if end + 1 != len(data):
        raise UnsafePickleError("something follows it")


def _step(depths: list[int], name: str) -> int:
    """Does to the depths of the stack's values what an opcode does to the values. Returns the last one's depth.

    Raises:
        IndexError: the opcode takes more than there is.
    """
    if name in _TAKES:
        count = _TAKES[name]
        if count is None:
            count = depths[::-1].index(_MARK) + 1
        taken = [depths.pop() for _ in range(count)]
        depth = 1 + max(taken, default=0)
        if name.startswith("TUPLE"):
            depths.append(max(depth, 1))
        else:
            depths[-1] = max(depths[-1], depth)
    elif name == "MARK":
        depths.append(_MARK)
    elif name.startswith("EMPTY"):
        depths.append(1)
    elif name not in {"PROTO", "FRAME", "MEMOIZE", "STOP"}:
        depths.append(0)
    return depths[-1] if depths else 0
