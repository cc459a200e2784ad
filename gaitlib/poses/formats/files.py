"""Folders of files in the order a person would list them, and the numbers of frames in their names."""

import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from gaitlib import InputError

_NUMBER = re.compile(r"(\d+)")
_DEEPEST = 12
#: Digits from which on they are no number of a frame, and more than 64 bits hold.
LONGEST_NUMBER = 19
#: What reading .npy and .npz files may raise where they are damaged; a header of version 1 goes through Python's tokenizer.
NUMPY_DAMAGE = (
    OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, SyntaxError, RecursionError, MemoryError,
    OverflowError, NotImplementedError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def natural(name: str) -> list:
    """A sorting key by which 2 comes before 10."""
    parts = filter(None, _NUMBER.split(name))
    return [(0, int(part), "") if part.isdecimal() and len(part) < LONGEST_NUMBER else (1, 0, part) for part in parts]


def in_order(names: list[str]) -> list[str]:
    """The names sorted, numbers inside them by value."""
    if len({len(name) for name in names}) <= 1:
        return sorted(names)
    return sorted(names, key=natural)


def folders_with(source: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every folder at or below `source` that holds files with one of the suffixes, one after the other.

    Yields the names of the folders on the way from `source`, and those of the files, in order; hidden ones, and links back to a
    folder on the way, are passed over. Raises InputError for a folder that cannot be read, or lies too deep.
    """
    yield from _below(os.fspath(source), (), suffixes)


def _below(folder: str, parts: tuple[str, ...], suffixes: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(suffixes) and entry.is_file():  # no pipe, which would never end
                    files.append(entry.name)
                elif entry.is_dir() and not (entry.is_symlink() and _leads_back(entry.path, folder)):
                    folders.append(entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); allow it to be read, or move it away.") from None
    if files:
        yield parts, in_order(files)
    if folders and len(parts) == _DEEPEST:
        raise InputError(f"{folder} holds folders more than {_DEEPEST} deep; give one nearer to the walks, or undo links in it.")
    for name in in_order(folders):
        yield from _below(f"{folder}{os.sep}{name}", (*parts, name), suffixes)


def _leads_back(link: str, folder: str) -> bool:
    return (os.path.realpath(folder) + os.sep).startswith(os.path.realpath(link) + os.sep)


def frame_number(name: str) -> int:
    """The last number in the name of an image or of a frame's file, -1 where there is none."""
    numbers = _NUMBER.findall(name.rpartition(".")[0] or name)
    return int(numbers[-1]) if numbers and len(numbers[-1]) <= 15 else -1
