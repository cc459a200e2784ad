"""Shared by the readers of all formats: folders in the order a person would list them, frames by number, people in frames.

Lists of numbers are collected first and converted to one array at the end, so that reading costs little more than parsing.
"""

import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gaitlib import InputError
from gaitlib.files import MOST_TEXT, Unreadable, read_bytes, why_not
from gaitlib.poses.sequences import Detections, Unusable

#: From this many digits on, a number is not a frame number, and does not fit into 64 bits.
_LONGEST_NUMBER = 19
#: If the numbers span more than this many times their count, they are not frame numbers.
_LONGEST_JUMP = 50
_DEEPEST = 12
_NUMBER = re.compile(r"(\d+)")
_LAST = re.compile(r"(?:.*\D)?(\d+)\D*", re.DOTALL)
#: Bytes of one walk: ten minutes of 136 keypoints in float64 take 60 MB; a larger file is not a walk.
LARGEST_WALK = 2**27
#: No image is that large; a coordinate beyond this is damaged.
_LARGEST_COORDINATE = 1e6


def check_source(source: Path) -> None:
    """Raise InputError if `source` is not an accessible file or folder."""
    shown = str(source)[:200]
    try:
        mode = os.stat(source).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{shown} does not exist; give the file or folder to read.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with NUL
        raise InputError(f"{shown!r} cannot be read: {why_not(error)}; give the file or folder to read.") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InputError(f"{shown} cannot be read: it is neither a folder nor a file; give the file or folder to read.")


def usable(read: Callable, *arguments, **options) -> Any:
    """Call a reader of gaitlib.files, raising Unusable in place of Unreadable."""
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
    """Every folder at or below this one that holds files with one of the suffixes.

    Yields the folder names on the path, after `parts`, and the file names, in order. Hidden entries and links back to a parent
    folder are skipped. Anything that is not a folder counts as a file, even a pipe or a broken link: opening it then reports
    the problem. Raises InputError for a folder that cannot be read or is nested too deeply.
    """
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                links = entry.is_symlink() and os.path.isdir(entry.path)  # also False if a link leads to itself
                if entry.name.startswith(".") or (links and _leads_back(entry.path, folder)):
                    continue
                if links or entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.name.lower().endswith(suffixes):
                    files.append(entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {why_not(error)}; change its permissions, or move it away.") from None
    if files:
        yield parts, in_order(files)
    if folders and len(parts) == _DEEPEST:
        raise InputError(f"{folder} has folders nested more than {_DEEPEST} deep; give one nearer to the walks, or remove links.")
    for name in in_order(folders):
        yield from folders_with(f"{folder}{os.sep}{name}", suffixes, (*parts, name))


def _leads_back(link: str, folder: str) -> bool:
    return (os.path.realpath(folder) + os.sep).startswith(os.path.realpath(link) + os.sep)


def each_file(source: Path, *suffixes: str) -> Iterator[tuple[str, Path]]:
    """(path below the source without suffix, file) of each file with one of the suffixes, or of the source if it is a file."""
    if not source.is_dir():
        yield source.stem, source
        return
    for folders, names in folders_with(source, suffixes):
        for name in names:
            yield "/".join((*folders, name.rpartition(".")[0])), source.joinpath(*folders, name)


def number_frames(names: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The frame of each image or file by the number in its name, from 0, and the remarks of `count_frames`.

    The number used is the last one that differs between names.
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
    remarks = ("its frames have no frame numbers",) if len(distinct) > 1 else ()
    return {name: frame for frame, name in enumerate(ranked)}, remarks


def count_frames(numbers: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames from 0 by distinct numbers, int64 [T], where missing numbers are empty frames; and remarks.

    If every second image was used, every second number is a frame, and a remark says so. Numbers that jump wildly only give
    the order.
    """
    frame = numbers - numbers.min()
    stride = max(int(np.gcd.reduce(frame)), 1)
    frame //= stride
    if frame.max() > _LONGEST_JUMP * len(frame):
        return np.argsort(np.argsort(frame)), ("its frame numbers jump, so they only give the order",)
    return frame, (f"its frame numbers increase by {stride}; they were taken as consecutive",) if stride > 1 else ()


def numbers_between(names: list[str], start: str, stop: str) -> list[str]:
    """The part between `start` and `stop` in each name, if it is a number in all of them, else nothing; fast for many names."""
    numbers = "\n".join(names).removeprefix(start).removesuffix(stop).split(f"{stop}\n{start}")
    return numbers if len(numbers) == len(names) and all(numbers) and "".join(numbers).isdecimal() else []


def read_json(path: Path | str, most: int = MOST_TEXT) -> Any:
    """The content of a JSON file; NaN and Infinity, which Python writes although JSON lacks them, become None.

    Raises Unusable for a file that cannot be read, has more than `most` bytes, is empty, or is not JSON in UTF-8.
    """
    content = usable(read_bytes, path, most)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        content = re.sub(rb"NaN|-?Infinity", b"null", content.removeprefix(b"\xef\xbb\xbf"))
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if not content or content.isspace():
            raise Unusable("is empty") from None
        if "UTF-8" in error.msg:
            raise Unusable("is not UTF-8 text") from None
        raise Unusable(f"is not JSON, or is damaged, at line {error.lineno}, column {error.colno}") from None


def first_contents(source: Path, count: int = 3) -> Iterator[tuple[str, Any]]:
    """(file, content) of the first JSON files of a source that are not empty, to recognize a format by.

    Damaged files and walks in which nobody was found say nothing; after many of them the search stops.
    """
    files = each_file(source, ".json") if source.is_dir() or source.suffix.lower() == ".json" else iter(())
    for _, file in islice(files, 10 * count):
        try:
            content = read_json(file)
        except Unusable:
            continue
        if content:
            yield (str(file.relative_to(source)) if source.is_dir() else file.name), content
            count -= 1
            if not count:
                return


def from_people(people: list[tuple[str, list, Any]], frames: list[str], remarks: tuple[str, ...] = ()) -> Detections:
    """Detections of people as listed in JSON files.

    people: for each the name of the frame; the keypoints, as x, y, score, x, y, score, ... or one list [x, y, score] per
    keypoint, with None for NaN; and the track number, or None. frames: the names of all frames, including empty ones.
    Raises Unusable if keypoints have another form or differ in number, and as `detections` does.
    """
    if not people:
        raise Unusable("nobody was found in any frame")
    frame_of, keypoints, numbers = map(list, zip(*people, strict=True))
    number_of, more = number_frames(frames)
    frame = np.array([number_of[name] for name in frame_of])
    return detections(frame, _to_array(keypoints), _tracked(numbers), remarks + more)


def _to_array(lists: list) -> np.ndarray:
    """Lists of numbers, one per person, as float64 [D, K, 3]."""
    first = lists[0]
    try:
        if isinstance(first, list) and first and isinstance(first[0], list):
            if {len(keypoint) for keypoint in chain.from_iterable(lists)} != {3}:
                raise Unusable("a keypoint does not have 3 numbers")
            lists = [list(chain.from_iterable(keypoints)) for keypoints in lists]
        if set(map(type, lists)) != {list}:
            raise TypeError
    except TypeError:
        raise Unusable("its keypoints are not lists of numbers") from None
    count, *others = sorted(set(map(len, lists)))
    if others:
        raise Unusable(f"its people have different numbers of keypoints: {count} and {others[-1]} values")
    if not count or count % 3:
        raise Unusable(f"a person has {count} values, not x, y and score of each keypoint")
    try:
        pack = struct.Struct(f"{count}d").pack  # twice as fast as anything in numpy
        values = np.frombuffer(b"".join([pack(*numbers) for numbers in lists]))
    except (struct.error, OverflowError):
        flat = list(chain.from_iterable(lists))
        if not all(value is None or isinstance(value, int | float) for value in flat):
            raise Unusable("its keypoints hold something that is not a number") from None
        values = np.array(flat, dtype=np.float64)
    return values.reshape(len(lists), -1, 3)


def _tracked(numbers: list) -> np.ndarray | None:
    """The track number of each person, or None if not all have one; trackers write 3, 3.0 or [3].

    If all numbers are 0, nobody was tracked: AlphaPose writes 0 without a tracker.
    """
    try:
        found = np.array(numbers, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return None
    usable = len(found) == len(numbers) and ((found >= 0) & (found < 2**53)).all() and found.any()
    return found.astype(np.int64) if usable else None


def detections(
    frame: np.ndarray,
    keypoints: np.ndarray,
    person: np.ndarray | None = None,
    remarks: tuple[str, ...] = (),
    *,
    zero_is_missing: bool = True,
) -> Detections:
    """Detections of keypoints in any order.

    frame: integers [D]. keypoints: float [D, K, 2 or 3], x, y and optionally score; a keypoint without x or y is
    missing, and with zero_is_missing also one at 0, 0 or without a score. Scores are clipped to 0..1.
    person: track numbers, integers [D], or None; ignored if a number occurs twice in a frame.
    Raises Unusable for impossible image coordinates, or if no keypoint is left.
    """
    if not keypoints.size:
        raise Unusable("nobody was found in any frame")
    if (frame[1:] < frame[:-1]).any():
        order = np.argsort(frame, kind="stable")
        frame, keypoints = frame[order], keypoints[order]
        person = None if person is None else person[order]
    with np.errstate(over="ignore", invalid="ignore"):  # values too large for float32 become infinite, some bytes are not numbers
        planes = keypoints.transpose(2, 1, 0).astype(np.float32, order="C")  # numpy is slow along an axis of three
    points, score = planes[:2], planes[2] if len(planes) == 3 else np.ones_like(planes[0])
    if planes.min() > 0 and points.max() < _LARGEST_COORDINATE and score.max() <= 1:  # the usual case: nothing is missing
        confidence = score
    else:
        missing = np.isnan(points).any(0)
        if zero_is_missing:
            missing |= ~(score > 0) | ~points.any(0)
        if missing.all():
            raise Unusable("nobody was found in any frame")
        largest = np.where(missing, 0, np.abs(points)).max((0, 1))
        if largest.max() > _LARGEST_COORDINATE:
            row = int(largest.argmax())
            raise Unusable(f"frame {frame[row]} holds {largest[row]:.3g}, which cannot be an image coordinate")
        points = np.where(missing, np.float32(np.nan), points)
        confidence = np.where(missing, 0, np.nan_to_num(score).clip(0, 1))
    if person is None or len(set(zip(frame.tolist(), person.tolist(), strict=True))) < len(frame):
        person = np.full(len(frame), -1)
    frame, person = frame.astype(np.int64, copy=False), person.astype(np.int64, copy=False)
    return Detections(frame, points.transpose(2, 1, 0), confidence.T, person, remarks)
