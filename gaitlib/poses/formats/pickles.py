"""Arrays from pickles of strangers, without running anything that a pickle asks for.

A pickle is a program for a small stack machine, and Python's own machine calls whatever the program names. The one here
knows numbers, text, lists, tuples, dicts, and how numpy (1 and 2, protocols 0 to 5) writes arrays. It imports nothing and
calls nothing by name: a name is compared with the few below, and what numpy would do for it is done here, with the
arguments checked. Everything else is refused by its name.
"""

import io
import math
import pickletools
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gaitlib.poses.sequences import Unusable

#: One walk of ten minutes with 136 keypoints in float64 is 60 MB; a file beyond this is no walk.
LARGEST_FILE = 2**27
#: Steps of the machine: an array takes about 60, a walk of 1,000 frames as nested lists 60,000; these take a second.
MOST_STEPS = 500_000
#: Elements that a file may unfold to beyond its length, for values that are mentioned many times, such as empty frames.
SHARED = 2**20
#: Containers inside containers; a walk needs three.
DEEPEST = 16

_RECONSTRUCT = "numpy.core.multiarray._reconstruct"
_SCALAR = "numpy.core.multiarray.scalar"
_FROM_BUFFER = "numpy.core.numeric._frombuffer"
_ENCODE = "_codecs.encode"
_ARRAY, _TYPE, _ORDERED, _BYTES = "numpy.ndarray", "numpy.dtype", "collections.OrderedDict", "builtins.bytes"
_ADMITTED = {_RECONSTRUCT, _SCALAR, _FROM_BUFFER, _ENCODE, _ARRAY, _TYPE, _ORDERED, _BYTES}

#: Booleans, integers, floats of numpy; and objects, whose elements were read by the same machine.
_KIND = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|O8?)")

_CONSTANTS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_SIMPLE = (str, bytes, bytearray, int, float, bool, type(None))


@dataclass
class _Name:
    """What a pickle would have imported."""

    name: str


@dataclass
class _Type:
    """A dtype while it is read; its byte order comes later."""

    kind: str
    order: str = "="


@dataclass
class _Array:
    """An array while it is read: an ndarray, or the list of its objects, and its shape."""

    values: Any = None
    shape: tuple[int, ...] = ()


def load_arrays(path: Path) -> Any:
    """What a pickle holds, made of numpy arrays, dict, list, tuple, str, bytes, numbers and None.

    Nothing is executed or imported, whatever the file says. Arrays of objects come with their elements read the same way.
    The values together are not much larger than the file. Arrays may be read-only.
    Raises Unusable for a file that asks for more, is damaged, too large, or nested without end.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from None
    if not content:
        raise Unusable("is empty")
    if len(content) > LARGEST_FILE:
        raise Unusable(f"is larger than {LARGEST_FILE >> 20} MiB, which no single walk is")
    try:
        value = _run(content)
    except Unusable:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, EOFError, OverflowError, MemoryError, struct.error):
        raise Unusable("is no pickle, or a damaged or cut off one") from None
    return _Result(len(content) + SHARED).plain(value)


def _run(content: bytes) -> Any:
    """Run the machine to its end and give what lies on top of the stack, arrays still as _Array."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        if len(items) != len(stack) - start:
            raise IndexError
        del stack[start:]
        return items

    for steps, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(content))):
        if steps >= MOST_STEPS:
            raise Unusable(f"takes more than {MOST_STEPS:,} steps to read, which no single walk does")
        match opcode.name:
            case name if name in _CONSTANTS:
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [_exactly(count, stack[-count:])]
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                stack.append(since_mark())
            case "APPEND":
                item = stack.pop()
                _of(list, stack[-1]).append(item)
            case "APPENDS":
                items = since_mark()
                _of(list, stack[-1]).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = since_mark()
                stack.append({})
                _store(stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _store(stack[-1], [key, value])
            case "SETITEMS":
                items = since_mark()
                _store(stack[-1], items)
            case "GLOBAL":
                stack.append(_name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = _of(str, stack.pop()), _of(str, stack.pop())
                stack.append(_name(module, name))
            case "INST":
                _name(*argument.split(" ", 1))
                raise Unusable("refuses to make objects, since only arrays and plain containers are read from a pickle")
            case "REDUCE":
                arguments = _of(tuple, stack.pop())
                stack.append(_make(_of(_Name, stack.pop()).name, arguments))
            case "BUILD":
                state = stack.pop()
                _complete(stack[-1], state)
            case "POP":
                stack.pop()
            case "PROTO" | "FRAME" | "STOP":
                pass
            case other:
                raise Unusable(f"refuses the step {other}, since only arrays and plain containers are read from a pickle")
    return stack.pop()


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _exactly(count: int, items: list[Any]) -> tuple:
    if len(items) != count:
        raise IndexError
    return tuple(items)


def _store(target: Any, items: list[Any]) -> None:
    """Keys and values in turn into a dict; keys are simple, so that hashing one cannot take long or nest."""
    keys, values = items[0::2], items[1::2]
    if not all(type(key) in _SIMPLE and type(key) is not bytearray for key in keys):
        raise TypeError
    _of(dict, target).update(zip(keys, values, strict=True))


def _name(module: str, name: str) -> _Name:
    full = f"{module}.{name}".replace("numpy._core.", "numpy.core.").replace("__builtin__.", "builtins.")
    if full not in _ADMITTED:
        shown = "".join(c if c.isprintable() else "?" for c in f"{module}.{name}"[:80])
        raise Unusable(f"refuses {shown}, since only arrays and plain containers are read from a pickle")
    return _Name(full)


def _make(name: str, arguments: tuple) -> Any:
    """What calling `name` gives."""
    if name == _RECONSTRUCT:
        kind, _, _ = arguments
        if _of(_Name, kind).name != _ARRAY:
            raise TypeError
        return _Array()
    if name == _TYPE:
        match = _KIND.fullmatch(_text(arguments[0]))
        if not match:
            raise Unusable(f"holds an array of type {_text(arguments[0])[:20]!r}, not of numbers")
        return _Type(match[1], match[0][0] if match[0][0] in "<>" else "=")
    if name == _SCALAR:
        kind, data = arguments
        return _array(kind, (), data).values.item()
    if name == _FROM_BUFFER:
        data, kind, shape, order = arguments
        return _array(kind, shape, data, fortran={"C": False, "F": True}[order])
    if name == _ENCODE:
        text, encoding = arguments
        return _of(str, text).encode({"latin1": "latin1", "latin-1": "latin1"}[encoding])
    if name == _ORDERED and not arguments:
        return {}
    if name == _ORDERED:
        (pairs,) = arguments
        ordered: dict = {}
        _store(ordered, [part for pair in _of(list, pairs) for part in _exactly(2, list(pair))])
        return ordered
    if name == _BYTES and not arguments:
        return b""
    raise TypeError


def _complete(target: Any, state: Any) -> None:
    """Give a dtype its byte order, an array its values."""
    state = _of(tuple, state)
    if type(target) is _Type:
        _, order, *fields = state
        if any(field is not None for field in fields[:3]):
            raise Unusable("holds an array of records, not of numbers")
        target.order = order if order in ("<", ">") else "="
    elif type(target) is _Array:
        shape, kind, fortran, data = state[-4:]
        whole = _array(kind, shape, data, bool(fortran))
        target.values, target.shape = whole.values, whole.shape
    else:
        raise TypeError


def _array(kind: Any, shape: Any, data: Any, fortran: bool = False) -> _Array:
    """Bytes, or a list of objects, as an array of a shape that fits them exactly."""
    kind = _of(_Type, kind)
    shape = tuple(_size(n) for n in _of(tuple, shape))
    if len(shape) > 8:
        raise TypeError
    if kind.kind[0] == "O":
        if len(_of(list, data)) != math.prod(shape):
            raise ValueError
        # an array of no objects may have any shape, which says nothing
        return _Array(data, shape if data else (0,))
    if type(data) is str:  # Python 2 wrote bytes as text
        data = data.encode("latin1")
    if type(data) not in (bytes, bytearray):
        raise TypeError
    dtype = np.dtype(kind.kind).newbyteorder(kind.order)
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError
    return _Array(np.frombuffer(bytes(data), dtype).reshape(shape, order="F" if fortran else "C"))


def _size(number: Any) -> int:
    if type(number) is not int or not 0 <= number < 2**40:
        raise ValueError
    return number


def _text(value: Any) -> str:
    return value.decode("latin1") if type(value) is bytes else _of(str, value)


class _Result:
    """Turns what the machine left into arrays and containers, and weighs it.

    A pickle may mention one list many times, and lists of such lists: a hundred bytes that unfold to terabytes. So the
    unfolded size, in elements, is counted.
    """

    def __init__(self, most: int):
        self.most = most
        self.done: dict[int, _Weighed] = {}
        self.open: set[int] = set()

    def plain(self, value: Any) -> Any:
        return self._weighed(value, 0).result

    def _weighed(self, value: Any, depth: int) -> "_Weighed":
        kind = type(value)
        if kind in _SIMPLE:
            return _Weighed(value, 1, 0)
        known = self.done.get(id(value))
        if id(value) in self.open or depth + (known.height if known else 0) > DEEPEST:
            raise Unusable(f"holds containers nested more than {DEEPEST} deep")
        if known:
            return known
        if kind in (_Name, _Type) or (kind is _Array and value.values is None):
            raise Unusable("holds no array, only the name or type of one")
        self.open.add(id(value))
        inner = [] if kind is _Array and type(value.values) is np.ndarray else self._inside(value, depth + 1)
        items = [part.result for part in inner]
        if kind is list:
            result = items
        elif kind is tuple:
            result = tuple(items)
        elif kind is dict:
            result = dict(zip(value, items, strict=True))
        else:
            result = _objects(items, value.shape) if type(value.values) is list else value.values
        own = result.size if kind is _Array else 0
        weighed = _Weighed(result, 1 + own + sum(p.weight for p in inner), 1 + max((p.height for p in inner), default=0))
        if weighed.weight > self.most:
            raise Unusable("unfolds to many more values than the file has bytes")
        self.open.remove(id(value))
        self.done[id(value)] = weighed
        return weighed

    def _inside(self, value: Any, depth: int) -> "list[_Weighed]":
        values = value.values() if type(value) is dict else value.values if type(value) is _Array else value
        return [self._weighed(v, depth) for v in values]


class _Weighed(NamedTuple):
    """A finished value, how many elements it unfolds to, and how deep it is."""

    result: Any
    weight: int
    height: int


def _objects(items: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):  # one by one: numpy would take arrays of one length apart
        array[i] = item
    return array.reshape(shape)
