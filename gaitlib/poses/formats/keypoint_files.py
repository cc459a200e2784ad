"""What the readers of keypoint files have in common: folders in order, JSON that may be damaged, arrays that may be wrong.

Lists of numbers are gathered first and turned into an array once, so that reading costs little more than parsing.
"""

import os
import re
import struct
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import orjson

from gaitlib.poses.formats.files import LONGEST_NUMBER, folders_with, natural
from gaitlib.poses.sequences import Detections, Unusable

#: No image is that large; a coordinate beyond it is damage.
LARGEST_COORDINATE = 1e6

#: Where the numbers of the frames jump by more than this many times their count, they are no numbers of frames.
LONGEST_JUMP = 50

_DIGITS = re.compile(r"(\d+)")
_LAST = re.compile(r"(?:.*\D)?(\d+)\D*", re.DOTALL)


def single_files(source: Path, suffix: str) -> Iterator[tuple[str, Path]]:
    """(path of the sequence, file) where each file with this suffix is a walk; the path has no suffix."""
    if not source.is_dir():
        yield source.stem, source
        return
    for folders, names in folders_with(source, (suffix,)):
        for name in names:
            yield "/".join((*folders, name[: -len(suffix)])), source.joinpath(*folders, name)


def first_contents(source: Path, count: int = 3) -> Iterator[tuple[str, object]]:
    """(file, content) of the first JSON files of a source that hold something, to recognize a format by.

    Damaged files and walks in which nobody was found tell nothing; many of them in a row are not waited for.
    """
    files = [source] if source.suffix.lower() == ".json" else []
    if source.is_dir():
        files = (file for _, file in single_files(source, ".json"))
    for file in islice(files, 10 * count):
        try:
            content = read_json(file)
        except Unusable:
            continue
        if content:
            yield (str(file.relative_to(source)) if source.is_dir() else file.name), content
            count -= 1
            if not count:
                return


def _bytes(path: Path | str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # twice as fast as open() for small files
        try:
            size = os.fstat(file).st_size
            raw = os.read(file, size + 1)
        finally:
            os.close(file)
        return raw if len(raw) == size else Path(path).read_bytes()  # more than one call reads, or it grew
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from None


def read_json(path: Path):
    """The content of a JSON file; NaN and Infinity, which Python writes and JSON has not, become None.

    Raises Unusable for a file that cannot be read, is empty, or is no JSON in UTF-8.
    """
    raw = _bytes(path)
    if not raw or raw.isspace():
        raise Unusable("is empty")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    for constant in (b"NaN", b"-Infinity", b"Infinity"):
        raw = raw.replace(constant, b"null")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "UTF-8" in error.msg:
            raise Unusable("is no text in UTF-8") from None
        raise Unusable(f"is no JSON, or a damaged one, from line {error.lineno}, column {error.colno} on") from None


def to_array(lists: list, per_keypoint: int = 3) -> np.ndarray:
    """Lists of numbers, one a detection, as float64 [D, K, per_keypoint]; None becomes NaN.

    lists: each either flat, x, y, score, x, y, score, ..., or a list a keypoint.
    Raises Unusable where they differ in length, or hold anything but numbers.
    """
    first = lists[0]
    if isinstance(first, list) and first and isinstance(first[0], list):
        try:
            if {len(keypoint) for keypoint in chain.from_iterable(lists)} != {per_keypoint}:
                raise Unusable(f"a keypoint has not {per_keypoint} numbers")
            lists = [list(chain.from_iterable(keypoints)) for keypoints in lists]
        except TypeError:
            raise Unusable("its keypoints are no lists of numbers") from None
    if set(map(type, lists)) != {list}:
        raise Unusable("its keypoints are no lists of numbers")
    counts = set(map(len, lists))
    if len(counts) > 1:
        raise Unusable(f"its detections have different numbers of keypoints: {min(counts)} and {max(counts)} values")
    count = counts.pop()
    if not count or count % per_keypoint:
        raise Unusable(f"a detection has {count} values, not {per_keypoint} for each keypoint")
    try:
        pack = struct.Struct(f"{count}d").pack  # twice as fast as any way of numpy
        values = np.frombuffer(b"".join([pack(*numbers) for numbers in lists]))
    except (struct.error, OverflowError):
        values = _with_missing(lists)
    return values.reshape(len(lists), -1, per_keypoint)


def _with_missing(lists: list) -> np.ndarray:
    flat = list(chain.from_iterable(lists))
    if not all(value is None or isinstance(value, int | float) for value in flat):
        raise Unusable("its keypoints hold something that is no number")
    return np.array(flat, dtype=np.float64)


def detections(
    frame: np.ndarray,
    frames: int,
    keypoints: np.ndarray,
    person: np.ndarray | None = None,
    remarks: tuple[str, ...] = (),
) -> Detections:
    """Detections of checked keypoints, in the order of the frames.

    frame: integers [D]. keypoints: float [D, K, 3] of x, y and score; one at 0, 0, with no score, or with a number that is
    not finite, is missing. Scores are cut to 0..1.
    person: integers [D] of a tracker, or None; they are not used where a number occurs twice in a frame.
    Raises Unusable for coordinates that no image has, and where no keypoint is left.
    """
    if (frame[1:] < frame[:-1]).any():
        order = np.argsort(frame, kind="stable")
        frame, keypoints = frame[order], keypoints[order]
        person = None if person is None else person[order]
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and missing
        planes = keypoints.transpose(2, 1, 0).astype(np.float32, order="C")  # numpy is slow along an axis of three
    points, score = planes[:2], planes[2]
    if planes.min() > 0 and points.max() < LARGEST_COORDINATE and score.max() <= 1:  # the usual case: nothing is missing
        confidence = score
    else:
        here = np.isfinite(planes).all(0) & (score > 0) & points.any(0)
        if not here.any():
            raise Unusable("nobody was found in any frame")
        largest = np.abs(np.where(here, points, 0)).max()
        if largest > LARGEST_COORDINATE:
            raise Unusable(f"a coordinate is {largest:.3g}, which is in no image")
        points, confidence = np.where(here, points, np.float32(np.nan)), np.where(here, np.minimum(score, 1), 0)
    if person is None or len(set(zip(frame.tolist(), person.tolist(), strict=True))) < len(frame):
        person = np.full(len(frame), -1)
    return Detections(
        frame=frame.astype(np.int64, copy=False),
        frames=frames,
        keypoints=points.transpose(2, 1, 0),
        confidence=confidence.T,
        person=person.astype(np.int64, copy=False),
        remarks=remarks,
    )


def number_frames(names: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The frame of each image by the numbers in its name, from 0, and remarks.

    The number is the last one in the names that is not the same in all of them. Where every second image was taken, every
    second number is a frame, which is remarked. Numbers that jump wildly are only used for the order.
    """
    distinct = list(dict.fromkeys(names))
    numbers = list(map(int, _changing(distinct)))
    if numbers and numbers == list(range(numbers[0], numbers[0] + len(distinct))):
        return dict(zip(distinct, range(len(distinct)), strict=True)), ()
    if len(set(numbers)) < len(distinct):
        if len(distinct) > 1:
            ranked = sorted(distinct, key=natural)
            return dict(zip(ranked, range(len(ranked)), strict=True)), ("its images have no numbers of their own",)
        return dict.fromkeys(distinct, 0), ()
    frame = np.array(numbers) - min(numbers)
    stride = max(int(np.gcd.reduce(frame)), 1)
    frame //= stride
    if frame.max() > LONGEST_JUMP * len(frame):
        frame = np.argsort(np.argsort(frame))
        return dict(zip(distinct, frame.tolist(), strict=True)), ("the numbers of its images jump, so they only give the order",)
    remarks = (f"the numbers of its images rise by {stride}; they were taken as consecutive",) if stride > 1 else ()
    return dict(zip(distinct, frame.tolist(), strict=True)), remarks


def _changing(names: list[str]) -> list[str]:
    """The last number in each name, or rather the last that is not the same in all where all have as many; without long ones."""
    found = _LAST.fullmatch(names[0])
    numbers = numbers_between(names, names[0][: found.start(1)], names[0][found.end(1) :]) if found else []
    if numbers and max(map(len, numbers)) < LONGEST_NUMBER:
        return numbers
    numbers = [_DIGITS.findall(name) for name in names]
    if len(set(map(len, numbers))) == 1:
        columns = list(zip(*numbers, strict=True))
        last = next((c for c in reversed(columns) if len(set(c)) > 1), ())
    else:
        last = [n[-1] for n in numbers if n]
    return [n for n in last if len(n) < LONGEST_NUMBER]


def numbers_between(names: list[str], start: str, stop: str) -> list[str]:
    """What lies between `start` and `stop` in each name where that is a number in all of them, else nothing."""
    numbers = "\n".join(names).removeprefix(start).removesuffix(stop).split(f"{stop}\n{start}")
    return numbers if len(numbers) == len(names) and all(numbers) and "".join(numbers).isdecimal() else []
