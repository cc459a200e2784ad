"""Arrays from pickles of strangers, without running anything that a pickle asks for.

A pickle is a program, and what it can call is what `find_class` gives it. Here that are the few names by which numpy (1 and 2,
protocols 0 to 5) writes arrays, each replaced by something of ours that checks its arguments. Before it runs, its steps are
looked through: none may make other objects, use dictionaries, whose keys could be nested without end, or ask for room that
the file does not fill.
"""

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from gaitlib.files import read_bytes
from gaitlib.poses.formats.files import usable
from gaitlib.poses.formats.keypoints import LARGEST_WALK
from gaitlib.poses.sequences import Unusable

#: Steps of the machine: an array takes about 60, a walk of 1,000 frames as nested lists 60,000; these take a second.
MOST_STEPS = 500_000
#: Numbers that a file may unfold to, for lists that are mentioned many times.
_MOST_NUMBERS = 2**23
#: Lists inside lists; a walk needs three.
_DEEPEST = 16
_NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
_STEPS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
    "GET", "BINGET", "LONG_BINGET", "MARK", "POP", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE",
    "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "PROTO", "FRAME", "STOP",
}  # fmt: skip


def load_array(path: Path) -> np.ndarray:
    """The array of numbers that a pickle holds, also as lists of arrays, of lists or of numbers that are all alike.

    Nothing is executed or imported, whatever the file says. Raises Unusable for a file that holds or asks for anything else, is
    damaged, too large, or nested without end.
    """
    content = usable(read_bytes, path, LARGEST_WALK)
    if not content:
        raise Unusable("is empty")
    try:
        _check_steps(content)
        value = _Arrays(content).load()
    except (pickle.UnpicklingError, ValueError, LookupError, TypeError, AttributeError, EOFError, OverflowError, MemoryError):
        raise Unusable("is no pickle, or a damaged or cut off one") from None
    value, count = _unwrapped(value, {})
    if count > _MOST_NUMBERS:
        raise Unusable("unfolds to many more values than a walk has")
    if not isinstance(value, np.ndarray | list):
        raise Unusable(f"holds a {type(value).__name__.strip('_').lower()}, not an array")
    try:
        return value if isinstance(value, np.ndarray) else np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise Unusable("holds a list of things that are no numbers, or not alike in every frame") from None


def _check_steps(content: bytes) -> None:
    for count, (step, argument, _) in enumerate(pickletools.genops(content)):
        if count >= MOST_STEPS:
            raise Unusable(f"takes more than {MOST_STEPS:,} steps to read, which no single walk does")
        if "DICT" in step.name or "SETITEM" in step.name:
            raise Unusable("holds a dict, not an array")
        if step.name not in _STEPS:
            raise Unusable(f"refuses the step {step.name}, since only arrays and lists are read from a pickle")
        if "PUT" in step.name and argument > MOST_STEPS:  # places up to that number would be made
            raise ValueError


class _Type:
    """In place of numpy.dtype; the byte order comes as its state."""

    def __init__(self, kind: str | bytes, *flags: Any):
        kind = _text(kind)
        if not _NUMBERS.fullmatch(kind):
            raise Unusable(f"holds an array of type {kind[:20]!r}, not of numbers")
        self.dtype = np.dtype(kind)

    def __setstate__(self, state: tuple) -> None:
        _, order, *fields = state
        if any(field is not None for field in fields[:3]):
            raise Unusable("holds an array of records, not of numbers")
        self.dtype = self.dtype.newbyteorder(_text(order)) if _text(order) in ("<", ">") else self.dtype


class _Array:
    """In place of numpy.ndarray, also as _reconstruct makes it, empty; shape and bytes come as its state."""

    def __init__(self, *arguments: Any):
        self.values = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        shape, kind, fortran, data = state[-4:]
        self.values = _from_bytes(data, kind, shape, "F" if fortran else "C")


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value  # Python 2 wrote text as bytes


def _from_bytes(data: bytes | bytearray, kind: _Type, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Bytes as an array of a shape that fits them exactly, without a copy."""
    fits = len(shape) <= 8 and all(type(n) is int and 0 <= n < 2**40 for n in shape)
    if not fits or len(data) != math.prod(shape) * kind.dtype.itemsize:
        raise ValueError
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order)


_NAMES = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": lambda kind, data: _from_bytes(data, kind, (), "C").item(),
    "numpy.core.numeric._frombuffer": _from_bytes,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Type,
    "builtins.bytes": lambda: b"",  # how protocols 0 to 2 write no bytes
}


class _Arrays(pickle.Unpickler):
    """An unpickler that finds what makes numpy's arrays, and nothing else."""

    def __init__(self, content: bytes):
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.room = len(content)

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for here. Raises Unusable for any other."""
        full = f"{module}.{name}".replace("numpy._core.", "numpy.core.").replace("__builtin__.", "builtins.")
        if full == "_codecs.encode":
            return self._encode
        if full not in _NAMES:
            shown = "".join(c if c.isprintable() else "?" for c in f"{module}.{name}"[:80])
            raise Unusable(f"refuses {shown}, since only arrays and lists are read from a pickle")
        return _NAMES[full]

    def _encode(self, text: str, encoding: str) -> bytes:
        """Bytes as protocols 0 to 2 write them; in all no more than the file has, however often one text is mentioned."""
        self.room -= len(text)
        if self.room < 0 or encoding not in ("latin1", "latin-1"):
            raise ValueError
        return text.encode("latin1")


def _unwrapped(value: Any, known: dict[int, tuple[Any, int]], depth: int = 0) -> tuple[Any, int]:
    """The value with arrays for what stands in their place, and how many numbers its lists unfold to.

    Each list is looked at once, however often it is mentioned.
    """
    if isinstance(value, _Array | np.ndarray):
        values = value.values if isinstance(value, _Array) else value
        return values, values.size
    if not isinstance(value, list | tuple):
        return value, 1
    if depth == _DEEPEST:
        raise Unusable(f"holds lists nested more than {_DEEPEST} deep")
    if id(value) not in known:
        items = [_unwrapped(item, known, depth + 1) for item in value]
        known[id(value)] = [item for item, _ in items], 1 + sum(count for _, count in items)
    return known[id(value)]
