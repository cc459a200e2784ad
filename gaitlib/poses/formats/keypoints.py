"""From people with keypoints in frames to `Detections`: what the readers of all formats of two dimensions end in.

Lists of numbers are gathered first and turned into an array once, so that reading costs little more than parsing.
"""

import re
import struct
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gaitlib.files import MOST_TEXT, read_bytes
from gaitlib.poses.formats.files import each_file, number_frames, usable
from gaitlib.poses.sequences import Detections, Unusable

#: Bytes of one walk: ten minutes with 136 keypoints in float64 are 60 MB; a file beyond this is no walk.
LARGEST_WALK = 2**27
#: No image is that large; a coordinate beyond it is damage.
_LARGEST_COORDINATE = 1e6


def read_json(path: Path | str, most: int = MOST_TEXT) -> Any:
    """The content of a JSON file; NaN and Infinity, which Python writes and JSON has not, become None.

    Raises Unusable for a file that cannot be read, has more than `most` bytes, is empty, or is no JSON in UTF-8.
    """
    content = usable(read_bytes, path, most).removeprefix(b"\xef\xbb\xbf")
    if not content or content.isspace():
        raise Unusable("is empty")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        content = re.sub(rb"NaN|-?Infinity", b"null", content)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if "UTF-8" in error.msg:
            raise Unusable("is no text in UTF-8") from None
        raise Unusable(f"is no JSON, or a damaged one, from line {error.lineno}, column {error.colno} on") from None


def first_contents(source: Path, count: int = 3) -> Iterator[tuple[str, Any]]:
    """(file, content) of the first JSON files of a source that hold something, to recognize a format by.

    Damaged files and walks in which nobody was found tell nothing; many of them in a row are not waited for.
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
    """Detections of people as JSON files have them.

    people: of each the name of the frame, the keypoints, as x, y, score, x, y, score, ... or a list [x, y, score] a keypoint
    with None for NaN, and the number that a tracker wrote, None for nothing. frames: the names of all, also of empty ones.
    Raises Unusable where keypoints are anything else or differ in number, and as `detections` does.
    """
    if not people:
        raise Unusable("nobody was found in any frame")
    frame_of, keypoints, numbers = map(list, zip(*people, strict=True))
    number_of, more = number_frames(frames)
    frame = np.array([number_of[name] for name in frame_of])
    return detections(frame, _to_array(keypoints), _tracked(numbers), remarks + more)


def _to_array(lists: list) -> np.ndarray:
    """Lists of numbers, one a person, as float64 [D, K, 3]."""
    first = lists[0]
    try:
        if isinstance(first, list) and first and isinstance(first[0], list):
            if {len(keypoint) for keypoint in chain.from_iterable(lists)} != {3}:
                raise Unusable("a keypoint has not 3 numbers")
            lists = [list(chain.from_iterable(keypoints)) for keypoints in lists]
        if set(map(type, lists)) != {list}:
            raise TypeError
    except TypeError:
        raise Unusable("its keypoints are no lists of numbers") from None
    count, *others = sorted(set(map(len, lists)))
    if others:
        raise Unusable(f"its people have different numbers of keypoints: {count} and {others[-1]} values")
    if not count or count % 3:
        raise Unusable(f"a person has {count} values, not x, y and score of each keypoint")
    try:
        pack = struct.Struct(f"{count}d").pack  # twice as fast as any way of numpy
        values = np.frombuffer(b"".join([pack(*numbers) for numbers in lists]))
    except (struct.error, OverflowError):
        flat = list(chain.from_iterable(lists))
        if not all(value is None or isinstance(value, int | float) for value in flat):
            raise Unusable("its keypoints hold something that is no number") from None
        values = np.array(flat, dtype=np.float64)
    return values.reshape(len(lists), -1, 3)


def _tracked(numbers: list) -> np.ndarray | None:
    """The number of each person, or None where not all have one; trackers write 3, 3.0 or [3].

    Where everybody is 0 nobody was tracked: AlphaPose without a tracker writes so.
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

    frame: integers [D]. keypoints: float [D, K, 2 or 3], x, y and, where it is there, score; a keypoint without x or y is
    missing, and with zero_is_missing also one at 0, 0 or with no score. Scores are cut to 0..1.
    person: integers [D] of a tracker, or None; they are not used where a number occurs twice in a frame.
    Raises Unusable for coordinates that no image has, and where no keypoint is left.
    """
    if not keypoints.size:
        raise Unusable("nobody was found in any frame")
    if (frame[1:] < frame[:-1]).any():
        order = np.argsort(frame, kind="stable")
        frame, keypoints = frame[order], keypoints[order]
        person = None if person is None else person[order]
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite, some bytes are no number
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
            raise Unusable(f"frame {frame[row]} holds {largest[row]:.3g}, which is no coordinate in an image")
        points = np.where(missing, np.float32(np.nan), points)
        confidence = np.where(missing, 0, np.nan_to_num(score).clip(0, 1))
    if person is None or len(set(zip(frame.tolist(), person.tolist(), strict=True))) < len(frame):
        person = np.full(len(frame), -1)
    frame, person = frame.astype(np.int64, copy=False), person.astype(np.int64, copy=False)
    return Detections(frame, points.transpose(2, 1, 0), confidence.T, person, remarks)
