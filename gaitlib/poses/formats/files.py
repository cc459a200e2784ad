"""Folders of files in the order a person would list them, and the numbers of frames in their names."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gaitlib import InputError
from gaitlib.files import Unreadable, why_not
from gaitlib.poses.sequences import Unusable

#: Digits from which on they are no number of a frame, and more than 64 bits hold.
_LONGEST_NUMBER = 19
#: Where the numbers of the frames jump by more than this many times their count, they are no numbers of frames.
_LONGEST_JUMP = 50
_DEEPEST = 12
_NUMBER = re.compile(r"(\d+)")
_LAST = re.compile(r"(?:.*\D)?(\d+)\D*", re.DOTALL)


def check_source(source: Path) -> None:
    """Raise InputError where `source` is no file or folder that can be looked at."""
    shown = str(source)[:200]
    try:
        mode = os.stat(source).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{shown} does not exist; give the file or folder to read.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with NUL
        raise InputError(f"{shown!r} cannot be read: {why_not(error)}; give the file or folder to read.") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InputError(f"{shown} cannot be read: it is neither a folder nor a regular file; give the file or folder to read.")


def usable(read: Callable, *arguments, **options) -> Any:
    """What a reader of gaitlib.files gives, with Unusable in place of Unreadable."""
    try:
        return read(*arguments, **options)
    except Unreadable as error:
        raise Unusable(f"cannot be read: {error.why}") from None


def in_order(names: list[str]) -> list[str]:
    """The names sorted, numbers inside them by value: 2 comes before 10."""
    return sorted(names, key=_natural if len(set(map(len, names))) > 1 else None)


def _natural(name: str) -> list:
    parts = filter(None, _NUMBER.split(name))
    return [(0, int(part), "") if part.isdecimal() and len(part) < _LONGEST_NUMBER else (1, 0, part) for part in parts]


def folders_with(
    folder: str | Path, suffixes: tuple[str, ...], parts: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every folder at or below this one that holds files with one of the suffixes, one after the other.

    Yields the names of the folders on the way, after `parts`, and those of the files, in order; hidden ones, and links back to a
    folder on the way, are passed over. What is no folder counts as a file, also a pipe or a broken link, so that opening it
    tells what it is. Raises InputError for a folder that cannot be read, or lies too deep.
    """
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                links = entry.is_symlink() and os.path.isdir(entry.path)  # also False where a link leads to itself
                if entry.name.startswith(".") or (links and _leads_back(entry.path, folder)):
                    continue
                if links or entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.name.lower().endswith(suffixes):
                    files.append(entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {why_not(error)}; allow it to be read, or move it away.") from None
    if files:
        yield parts, in_order(files)
    if folders and len(parts) == _DEEPEST:
        raise InputError(f"{folder} holds folders more than {_DEEPEST} deep; give one nearer to the walks, or undo links in it.")
    for name in in_order(folders):
        yield from folders_with(f"{folder}{os.sep}{name}", suffixes, (*parts, name))


def _leads_back(link: str, folder: str) -> bool:
    return (os.path.realpath(folder) + os.sep).startswith(os.path.realpath(link) + os.sep)


def each_file(source: Path, *suffixes: str) -> Iterator[tuple[str, Path]]:
    """(path below the source without the suffix, file) of each file with one of the suffixes; of any file given as source."""
    if not source.is_dir():
        yield source.stem, source
        return
    for folders, names in folders_with(source, suffixes):
        for name in names:
            yield "/".join((*folders, name.rpartition(".")[0])), source.joinpath(*folders, name)


def number_frames(names: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The frame of each image or file by the numbers in its name, from 0, and remarks as `count_frames` makes them.

    The number is the last one in the names that is not the same in all of them.
    """
    distinct = list(dict.fromkeys(names))
    last = _LAST.fullmatch(distinct[0])
    numbers = numbers_between(distinct, distinct[0][: last.start(1)], distinct[0][last.end(1) :]) if last else []
    if not numbers:
        each = [_NUMBER.findall(name) for name in distinct]
        if len(set(map(len, each))) == 1:
            columns = reversed(list(zip(*each, strict=True)))
            numbers = next((column for column in columns if len(set(column)) > 1), ())
        else:
            numbers = [found[-1] for found in each if found]
    numbers = [int(number) for number in numbers if len(number) < _LONGEST_NUMBER]
    if len(set(numbers)) == len(distinct):
        frame, remarks = count_frames(np.array(numbers, dtype=np.int64))
        return dict(zip(distinct, frame.tolist(), strict=True)), remarks
    ranked = sorted(distinct, key=_natural)
    remarks = ("its frames have no numbers of their own",) if len(distinct) > 1 else ()
    return {name: frame for frame, name in enumerate(ranked)}, remarks


def count_frames(numbers: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames from 0 by distinct numbers, int64 [T], which leave out empty ones, and remarks.

    Where every second image was taken, every second number is a frame, which is remarked. Numbers that jump wildly are only
    used for the order.
    """
    frame = numbers - numbers.min()
    stride = max(int(np.gcd.reduce(frame)), 1)
    frame //= stride
    if frame.max() > _LONGEST_JUMP * len(frame):
        return np.argsort(np.argsort(frame)), ("the numbers of its frames jump, so they only give the order",)
    return frame, (f"the numbers of its frames rise by {stride}; they were taken as consecutive",) if stride > 1 else ()


def numbers_between(names: list[str], start: str, stop: str) -> list[str]:
    """What lies between `start` and `stop` in each name where that is a number in all of them, else nothing; soon, for many."""
    numbers = "\n".join(names).removeprefix(start).removesuffix(stop).split(f"{stop}\n{start}")
    return numbers if len(numbers) == len(names) and all(numbers) and "".join(numbers).isdecimal() else []
