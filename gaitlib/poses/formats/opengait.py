"""Pickled arrays of keypoints, one file per walk, as OpenGait and FastPoseGait prepare them; nothing in a pickle is executed.

A pickle is a program that can call what `find_class` returns. Here these are the few names with which numpy (1 and 2, protocols
0 to 5) writes arrays, each replaced by an object of ours that checks its arguments. The steps are checked beforehand: none may
create other objects, use dictionaries, whose keys could be nested without limit, or request more memory than the file fills.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gaitlib.files import read_bytes
from gaitlib.poses.formats.files import LARGEST_WALK, detections, folders_with, usable
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable

#: COCO, and COCO with the neck as OpenPose writes it.
_KEYPOINTS = (17, 18)
#: `_recognize` looks at no more files than this: the first may be a pickle of silhouettes, a whole folder is not.
_TRIED = 5
#: Pickle steps: an array takes about 60, a walk of 1,000 frames as nested lists 60,000; this many take a second.
MOST_STEPS = 500_000
#: Numbers that a file may expand to, as lists can be referenced many times.
_MOST_NUMBERS = 2**23
#: Nested lists; a walk needs three.
_DEEPEST = 16
_NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
_STEPS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
    "GET", "BINGET", "LONG_BINGET", "MARK", "POP", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE",
    "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "PROTO", "FRAME", "STOP",
}  # fmt: skip


def _recognize(source: Path) -> str:
    for sequence in islice(_find(source), _TRIED):
        try:
            shape = list(_keypoints(sequence).shape)
        except Unusable:
            continue
        return f"{sequence.files[0].name} holds a pickled array {shape}"
    return ""


def _find(source: Path) -> Iterator[Sequence]:
    """No file is opened."""
    if source.is_file():
        if source.suffix.lower() in (".pkl", ".pickle"):
            yield Sequence(source.stem, (source,))
        return
    for folders, names in folders_with(source, (".pkl", ".pickle")):
        for name in names:
            stem = name.rpartition(".")[0]
            # the file's name counts only if it adds something to the folders
            repeats = folders and stem in (folders[-1], "-".join(folders[-3:]))
            alone = len(names) == 1 and len(folders) >= 3 and not stem.isdecimal()
            path = folders if repeats or alone else (*folders, stem)
            yield Sequence("/".join(path), (source.joinpath(*folders, name),))


def _load(sequence: Sequence) -> Detections:
    array = _keypoints(sequence)
    if array.shape[2] == 3 and not array[..., 2].any():  # there are no scores
        array = array[..., :2]
    frame = np.arange(len(array))
    return detections(frame, array, np.zeros_like(frame))


def _keypoints(sequence: Sequence) -> np.ndarray:
    array = load_array(sequence.files[0])
    if array.ndim != 3 or array.shape[1] not in _KEYPOINTS or array.shape[2] not in (2, 3):
        raise Unusable(f"holds an array {list(array.shape)}, not [frames, 17 or 18 keypoints, 2 or 3]")
    return array


def load_array(path: Path) -> np.ndarray:
    """The array of numbers in a pickle, also given as regular lists of arrays, lists or numbers.

    Nothing is executed or imported, whatever the file says. Raises Unusable for a file that holds or requests anything else, is
    damaged, too large, or nested too deeply.
    """
    content = usable(read_bytes, path, LARGEST_WALK)
    if not content:
        raise Unusable("is empty")
    try:
        _check_steps(content)
        value = _Unpickler(content).load()
    except (pickle.UnpicklingError, ValueError, LookupError, TypeError, AttributeError, EOFError, OverflowError, MemoryError):
        raise Unusable("is not a pickle, or is damaged or cut off") from None
    if _count(value, {}) > _MOST_NUMBERS:
        raise Unusable("expands to many more values than a walk has")
    if not isinstance(value, np.ndarray | _Array | list | tuple):
        raise Unusable(f"holds a {type(value).__name__.strip('_').lower()}, not an array")
    try:
        return np.asarray(value, dtype=np.float64 if isinstance(value, list | tuple) else None)
    except (ValueError, TypeError, OverflowError):
        raise Unusable("holds a list of things that are not numbers, or that differ from frame to frame") from None


def _check_steps(content: bytes) -> None:
    for count, (step, argument, _) in enumerate(pickletools.genops(content)):
        if count >= MOST_STEPS:
            raise Unusable(f"takes more than {MOST_STEPS:,} steps to read, more than any single walk")
        if "DICT" in step.name or "SETITEM" in step.name:
            raise Unusable("holds a dict, not an array")
        if step.name not in _STEPS:
            raise Unusable(f"contains the step {step.name}, but only arrays and lists are read from a pickle")
        if "PUT" in step.name and argument > MOST_STEPS:  # memory would be reserved up to that number
            raise ValueError


def _count(value: Any, known: dict[int, int], depth: int = 0) -> int:
    """How many numbers a value expands to; each list is counted once, however often it is referenced."""
    if not isinstance(value, list | tuple):
        return np.asarray(value).size if isinstance(value, np.ndarray | _Array) else 1
    if depth == _DEEPEST:
        raise Unusable(f"holds lists nested more than {_DEEPEST} deep")
    if id(value) not in known:
        known[id(value)] = 1 + sum(_count(item, known, depth + 1) for item in value)
    return known[id(value)]


class _Type:
    """Replaces numpy.dtype; the byte order comes as its state."""

    def __init__(self, kind: str | bytes, *flags: Any):
        if not _NUMBERS.fullmatch(_text(kind)):
            raise Unusable(f"holds an array of type {_text(kind)[:20]!r}, not of numbers")
        self.dtype = np.dtype(_text(kind))

    def __setstate__(self, state: tuple) -> None:
        _, order, *fields = state
        if any(field is not None for field in fields[:3]):
            raise Unusable("holds an array of records, not of numbers")
        if _text(order) in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(_text(order))


class _Array:
    """Replaces numpy.ndarray, also the empty one made by _reconstruct; shape and bytes come as its state."""

    def __init__(self, *arguments: Any):
        self.values = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        shape, kind, fortran, data = state[-4:]
        self.values = _from_bytes(data, kind, shape, "F" if fortran else "C")

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self.values.astype(dtype or self.values.dtype)


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value  # Python 2 wrote text as bytes


def _from_bytes(data: bytes | bytearray, kind: _Type, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Bytes as an array of a shape that must fit them exactly, without a copy."""
    fits = len(shape) <= 8 and all(type(n) is int and 0 <= n < 2**40 for n in shape)
    if not fits or len(data) != math.prod(shape) * kind.dtype.itemsize:
        raise ValueError
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order)


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes):
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.room = len(content)
        self.known = {
            "numpy.core.multiarray._reconstruct": _Array,
            "numpy.core.multiarray.scalar": lambda kind, data: _from_bytes(data, kind, (), "C").item(),
            "numpy.core.numeric._frombuffer": _from_bytes,
            "numpy.ndarray": _Array,
            "numpy.dtype": _Type,
            "builtins.bytes": lambda: b"",  # how protocols 0 to 2 write no bytes
            "_codecs.encode": self._encode,
        }

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}".replace("numpy._core.", "numpy.core.").replace("__builtin__.", "builtins.")
        if full not in self.known:
            shown = "".join(c if c.isprintable() else "?" for c in f"{module}.{name}"[:80])
            raise Unusable(f"contains {shown}, but only arrays and lists are read from a pickle")
        return self.known[full]

    def _encode(self, text: str, encoding: str) -> bytes:
        """Bytes as protocols 0 to 2 write them; never more in all than the file has, however often a text is referenced."""
        self.room -= len(text)
        if self.room < 0 or encoding not in ("latin1", "latin-1"):
            raise ValueError
        return text.encode("latin1")


OPENGAIT = Format(
    name="opengait",
    summary="pickled arrays as OpenGait and FastPoseGait prepare them",
    files="""\
SOURCE/SSS/CC-NN/VVV/*.pkl   subject, condition-run, view (001/nm-01/090); one pickled array per walk,
                             [frames, 17, 3] or [frames, 18, 3] in COCO order: x, y, score; or without score
                             (only arrays and lists are read from a pickle; nothing in it is executed)""",
    recognize=_recognize,
    find=_find,
    load=_load,
)
